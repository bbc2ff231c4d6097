"""States of a disk: what it may hold when the power is cut. What is durable is kept; of the rest a state keeps a part:

    synced    nothing                             all       everything, as after SIGKILL
    prefix    what came before a random earlier point
    journal   torn data; names as ext4 and XFS keep them: in order, and each sync of anything covers all names before it
    random    a random part, in any order         torn      random, and writes are cut at sectors of 512 or 4,096 bytes
    garbage   torn, and new space that was not written holds noise instead of zeros
    names     all data; a random part of the names, and a rename between directories may be kept on one side only
    nonames   all data, no names                  nodata    all names, no data

POSIX allows all of them; common file systems lose less than most. A sector is old or new, never a mixture. The same log, point,
mode and seed make the same state.
"""

from __future__ import annotations

import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.powerfail.disk import Disk, File, NameChange, apply, rename
from tests.powerfail.records import ROOT, Truncated, Written

MODES = ("synced", "all", "prefix", "journal", "random", "torn", "garbage", "names", "nonames", "nodata")
SECTOR = 512
_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
_TORN = 0.7  # the share of the pending writes that are torn in a torn state
_RECENT = 200

Keeps = Callable[[int], bool]  # by index in the log
Tree = dict[str, "tuple[int, bytearray | Tree]"]  # name: mode and content


@dataclass(frozen=True, slots=True)
class Choice:
    """What a state keeps. `torn_at` is the size of a torn write's pieces, 0 when no write is torn."""

    data: Keeps
    names: Keeps
    torn_at: int = 0
    noise: bool = False
    splits_renames: bool = False


def draw(disk: Disk, mode: str, seed: int) -> Tree:
    """Returns what the disk may hold when the power is cut at its point. Shares the content of files without pending changes."""
    rng = random.Random(seed)
    return _State(disk, choose(disk, mode, rng), rng).tree(ROOT)


def choose(disk: Disk, mode: str, rng: random.Random) -> Choice:
    """Draws what a state of this mode keeps."""
    share = rng.choice(_SHARES)

    def some(_: int) -> bool:
        return rng.random() < share

    torn_at = rng.choice((SECTOR, 8 * SECTOR))
    if mode in ("prefix", "journal"):
        recent = disk.unsynced()[-_RECENT:]
        end = rng.choice(recent) if recent else disk.point
        if mode == "prefix":
            return Choice(lambda index: index < end, lambda index: index < end)
        return Choice(some, lambda index: index < max(end, disk.journal), torn_at)
    return {
        "synced": Choice(_nothing, _nothing),
        "all": Choice(_everything, _everything),
        "random": Choice(some, some),
        "torn": Choice(some, some, torn_at),
        "garbage": Choice(some, some, torn_at, noise=True),
        "names": Choice(_everything, some, splits_renames=rng.random() < 0.5),
        "nonames": Choice(_everything, _nothing),
        "nodata": Choice(_nothing, _everything),
    }[mode]


def _everything(_: int) -> bool:
    return True


def _nothing(_: int) -> bool:
    return False


class _State:
    def __init__(self, disk: Disk, choice: Choice, rng: random.Random) -> None:
        self._disk = disk
        self._choice = choice
        self._rng = rng
        self._drawn: dict[tuple[int, int], bool] = {}

    def tree(self, ino: int) -> Tree:
        directory = self._disk.directories[ino]
        names = dict(directory.durable)
        for each in directory.pending:
            if self._keeps(each, ino):
                rename(names, each)
        return {name: self._node(child) for name, child in sorted(names.items())}

    def _node(self, ino: int) -> tuple[int, bytearray | Tree]:
        if ino in self._disk.directories:
            return self._disk.directories[ino].mode, self.tree(ino)
        file = self._disk.files[ino]
        return file.mode, self._content(file) if file.pending else file.durable

    def _keeps(self, change: NameChange, directory: int) -> bool:
        """A rename is one change: it is kept on both sides or on none, unless the choice splits renames."""
        splits = self._choice.splits_renames and change.between
        if change.durable or (not splits and change.index in self._disk.durable_renames):
            return True
        key = (change.index, directory if splits else 0)
        if key not in self._drawn:
            self._drawn[key] = self._choice.names(change.index)
        return self._drawn[key]

    def _content(self, file: File) -> bytearray:
        content, written = bytearray(file.durable), set[int]()
        for index, change in file.pending:
            for each in self._kept(index, change):
                apply(content, each)
                if isinstance(each, Written):
                    written.update(range(each.offset // SECTOR, -(-each.end // SECTOR)))
        if self._choice.noise:
            self._fill_with_noise(content, len(file.durable), written)
        return content

    def _kept(self, index: int, change: Written | Truncated) -> Iterator[Written | Truncated]:
        if self._choice.torn_at and isinstance(change, Written) and self._rng.random() < _TORN:
            yield from (piece for piece in pieces(change, self._choice.torn_at) if self._rng.random() < 0.5)
        elif self._choice.data(index):
            yield change

    def _fill_with_noise(self, content: bytearray, durable_bytes: int, written: set[int]) -> None:
        for sector in range(-(-durable_bytes // SECTOR), -(-len(content) // SECTOR)):
            if sector not in written:
                start = sector * SECTOR
                end = min(start + SECTOR, len(content))
                content[start:end] = self._rng.randbytes(end - start)


def pieces(write: Written, size: int) -> Iterator[Written]:
    """The parts of the write in each block of `size` bytes."""
    start = write.offset
    while start < write.end:
        end = min(write.end, start - start % size + size)
        yield Written(write.ino, start, write.data[start - write.offset : end - write.offset])
        start = end


def write_out(tree: Tree, place: Path) -> None:
    """Makes the state in the directory `place`, which is created."""
    place.mkdir(mode=0o700)
    for name, (mode, content) in tree.items():
        path = place / name
        if isinstance(content, dict):
            write_out(content, path)
            path.chmod(stat.S_IMODE(mode))
        else:
            path.write_bytes(content)
            path.chmod(stat.S_IMODE(mode))
