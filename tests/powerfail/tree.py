"""The recorder's file system: files and directories in memory. Each change is passed on as a record.

LEDGERS is a directory of the root that is not on the disk under test: what is written there is passed on as notes.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.powerfail.fuse import Attributes
from tests.powerfail.records import ROOT, Began, Linked, Made, Noted, Record, Removed, Renamed, Truncated, Written

LEDGERS = ".ledgers"


class Node:
    """A file or a directory. `ledger`: the name of a ledger, or LEDGERS for their directory; empty on the disk under test."""

    def __init__(self, ino: int, mode: int, ledger: str = "") -> None:
        self.ino = ino
        self.mode = mode
        self.ledger = ledger
        self.links = 1
        self.content = bytearray()
        self.names: dict[str, int] = {}
        self.mtime_ns = time.time_ns()

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def attributes(self) -> Attributes:
        return Attributes(self.ino, self.mode, self.links, len(self.content), self.mtime_ns)

    def resize(self, size_bytes: int) -> None:
        del self.content[size_bytes:]
        self.content.extend(bytes(size_bytes - len(self.content)))


class Tree:
    """All nodes by inode. `pass_on` gets each record. The methods raise OSError as the system calls do."""

    def __init__(self, pass_on: Callable[[Record], None], preload: Path | None) -> None:
        """Takes the content of the directory `preload` as durable."""
        self._pass_on = pass_on
        self._nodes: dict[int, Node] = {}
        root = self._new(stat.S_IFDIR | 0o755)
        assert root.ino == ROOT
        if preload is not None:
            self._load(preload, root)
        pass_on(Began({each.ino: (each.mode, self._content(each)) for each in self._nodes.values()}))
        root.names[LEDGERS] = self._new(stat.S_IFDIR | 0o700, LEDGERS).ino

    def __getitem__(self, ino: int) -> Node:
        return self._nodes[ino]

    def child(self, parent: int, name: str) -> Node:
        ino = self._nodes[parent].names.get(name)
        if ino is None:
            raise _error(errno.ENOENT)
        return self._nodes[ino]

    def make(self, parent: int, name: str, mode: int) -> Node:
        directory = self._nodes[parent]
        if name in directory.names:
            raise _error(errno.EEXIST)
        node = self._new(mode, name.removesuffix(".ledger") if directory.ledger else "")
        directory.names[name] = node.ino
        directory.mtime_ns = node.mtime_ns
        if not node.ledger:
            self._pass_on(Made(parent, name, node.ino, mode))
        return node

    def link(self, ino: int, parent: int, name: str) -> Node:
        if name in self._nodes[parent].names:
            raise _error(errno.EEXIST)
        self._nodes[parent].names[name] = ino
        self._nodes[ino].links += 1
        self._pass_on(Linked(parent, name, ino))
        return self._nodes[ino]

    def remove(self, parent: int, name: str, *, directory: bool) -> None:
        node = self.child(parent, name)
        if node.is_directory != directory:
            raise _error(errno.ENOTDIR if directory else errno.EISDIR)
        if node.names:
            raise _error(errno.ENOTEMPTY)
        del self._nodes[parent].names[name]
        node.links -= 1
        self._pass_on(Removed(parent, name))

    def rename(self, parent: int, name: str, new_parent: int, new_name: str) -> None:
        node = self.child(parent, name)
        replaced = self._nodes[new_parent].names.get(new_name)
        if replaced is not None:
            self._nodes[replaced].links -= 1
        del self._nodes[parent].names[name]
        self._nodes[new_parent].names[new_name] = node.ino
        self._pass_on(Renamed(parent, name, new_parent, new_name, node.ino))

    def write(self, ino: int, offset: int, data: bytes) -> None:
        node = self._nodes[ino]
        node.mtime_ns = time.time_ns()
        if node.ledger:
            self._pass_on(Noted(node.ledger, data, node.mtime_ns))
        else:
            self._pass_on(Written(ino, offset, data))
        if offset > len(node.content):
            node.resize(offset)
        node.content[offset : offset + len(data)] = data

    def truncate(self, ino: int, size_bytes: int) -> None:
        node = self._nodes[ino]
        if size_bytes != len(node.content) and not node.ledger:
            self._pass_on(Truncated(ino, size_bytes))
        node.resize(size_bytes)
        node.mtime_ns = time.time_ns()

    def entries(self, ino: int) -> list[tuple[str, int, int]]:
        """Name, inode and mode of each entry of a directory."""
        return [(name, child, self._nodes[child].mode) for name, child in self._nodes[ino].names.items()]

    def _new(self, mode: int, ledger: str = "") -> Node:
        node = Node(len(self._nodes) + ROOT, mode, ledger)
        self._nodes[node.ino] = node
        return node

    def _load(self, place: Path, node: Node) -> None:
        for path in _loadable(place):
            child = self._new(path.stat().st_mode)
            node.names[path.name] = child.ino
            if child.is_directory:
                self._load(path, child)
            else:
                child.content = bytearray(path.read_bytes())

    @staticmethod
    def _content(node: Node) -> bytes | dict[str, int]:
        return dict(node.names) if node.is_directory else bytes(node.content)


def _loadable(place: Path) -> Iterator[Path]:
    """The files and directories; not the sockets and links."""
    return (each for each in sorted(place.iterdir()) if not each.is_symlink() and (each.is_dir() or each.is_file()))


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
