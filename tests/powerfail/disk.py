"""The disk at a point of a log: what is durable for certain, and what was changed since and may be lost.

Durable is what an fsync covers that began after the change and ended before the point: the data and size of a file by an fsync
of the file, the names in a directory by an fsync of the directory (fsync(2)). `states.py` chooses what is kept of the rest.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field

from tests.powerfail.records import (
    Began,
    Linked,
    Log,
    Made,
    Record,
    Removed,
    Renamed,
    SyncBegan,
    SyncEnded,
    Truncated,
    Written,
)


@dataclass(slots=True)
class File:
    """`durable` is the content for certain. `pending` are the changes since, in order, with the index of each in the log."""

    mode: int
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, Written | Truncated]] = field(default_factory=list)


@dataclass(slots=True)
class NameChange:
    """In one directory `name` becomes `ino`, or is removed when that is 0. Both sides of a rename have the same `index`.

    between: whether it is one side of a rename from one directory to another.
    durable: covered by a sync, while an earlier change of the directory is not.
    """

    index: int
    name: str
    ino: int
    between: bool = False
    durable: bool = False


@dataclass(slots=True)
class Directory:
    """`durable` are the names for certain. `pending` are the changes since, in order."""

    mode: int
    durable: dict[str, int] = field(default_factory=dict)
    pending: list[NameChange] = field(default_factory=list)


class Disk:
    """Starts before the first record. `advance` moves the point on.

    journal: the index before which every change of a name is durable on a file system with one journal for all names.
    durable_renames: the indexes of renames between directories of which one side is durable.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._syncs: dict[int, tuple[int, int]] = {}  # token: inode, index of the begin
        self.files: dict[int, File] = {}
        self.directories: dict[int, Directory] = {}
        self.durable_renames: set[int] = set()
        self.journal = 0
        self.point = 0

    def advance(self, point: int) -> None:
        """Takes the records before `point`."""
        for index in range(self.point, point):
            self._take(index, self._log[index])
        self.point = max(self.point, point)

    def _take(self, index: int, record: Record) -> None:
        match record:
            case Began(nodes):
                self._begin(nodes)
            case Made(parent, name, ino, mode):
                if record.is_directory:
                    self.directories[ino] = Directory(mode)
                else:
                    self.files[ino] = File(mode)
                self._change(parent, NameChange(index, name, ino))
            case Linked(parent, name, ino):
                self._change(parent, NameChange(index, name, ino))
            case Removed(parent, name):
                self._change(parent, NameChange(index, name, 0))
            case Renamed(parent, name, new_parent, new_name, ino):
                between = parent != new_parent
                self._change(parent, NameChange(index, name, 0, between))
                self._change(new_parent, NameChange(index, new_name, ino, between))
            case Written(ino) | Truncated(ino):
                self.files[ino].pending.append((index, record))
            case SyncBegan(ino, token):
                self._syncs[token] = (ino, index)
            case SyncEnded(token):
                self._synced(*self._syncs.pop(token))

    def _begin(self, nodes: dict[int, tuple[int, bytes | dict[str, int]]]) -> None:
        for ino, (mode, content) in nodes.items():
            if isinstance(content, dict):
                self.directories[ino] = Directory(mode, dict(content))
            else:
                assert stat.S_ISREG(mode)
                self.files[ino] = File(mode, bytearray(content))

    def _change(self, parent: int, change: NameChange) -> None:
        self.directories[parent].pending.append(change)

    def _synced(self, ino: int, began: int) -> None:
        self.journal = max(self.journal, began)
        if ino in self.files:
            file = self.files[ino]
            while file.pending and file.pending[0][0] < began:
                apply(file.durable, file.pending.pop(0)[1])
        else:
            self._synced_names(self.directories[ino], began)

    def _synced_names(self, directory: Directory, began: int) -> None:
        for each in directory.pending:
            if each.index < began:
                each.durable = True
                if each.between:
                    self.durable_renames.add(each.index)
        while directory.pending and directory.pending[0].durable:
            rename(directory.durable, directory.pending.pop(0))

    def unsynced(self) -> list[int]:
        """The indexes of the changes that are not durable, in order."""
        data = [index for each in self.files.values() for index, _ in each.pending]
        names = [each.index for one in self.directories.values() for each in one.pending if not each.durable]
        return sorted(data + names)


def apply(content: bytearray, change: Written | Truncated) -> None:
    """Applies the change; a gap before a write reads as zeros."""
    match change:
        case Truncated(_, size):
            del content[size:]
            content.extend(bytes(size - len(content)))
        case Written(_, offset, data):
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data


def rename(names: dict[str, int], change: NameChange) -> None:
    """Applies the change."""
    if change.ino:
        names[change.name] = change.ino
    else:
        names.pop(change.name, None)
