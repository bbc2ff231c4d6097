"""The log of a recording: changes of the file system, begins and ends of syncs, and the clients' ledgers, in one order.

An inode number names a file or directory for good; ROOT is the directory that is mounted. The recorder appends each record as a
pickle. A recorder that is killed may leave half a record at the end, which is not read.
"""

from __future__ import annotations

import json
import pickle
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tests.durability.ledger import Ledgers

ROOT = 1
FAR_FUTURE_NS = 1 << 62


class Began(NamedTuple):
    """What the disk holds at first: inode → mode, and the content of a file or the names in a directory. The first record."""

    nodes: dict[int, tuple[int, bytes | dict[str, int]]]


class Made(NamedTuple):
    """A file or directory was created; `mode` tells which."""

    parent: int
    name: str
    ino: int
    mode: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Linked(NamedTuple):
    parent: int
    name: str
    ino: int


class Removed(NamedTuple):
    """A name was removed by unlink or rmdir."""

    parent: int
    name: str


class Renamed(NamedTuple):
    parent: int
    name: str
    new_parent: int
    new_name: str
    ino: int


class Written(NamedTuple):
    ino: int
    offset: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class Truncated(NamedTuple):
    ino: int
    size: int


class SyncBegan(NamedTuple):
    """What was changed in `ino` before this record is durable from the SyncEnded with the same token on."""

    ino: int
    token: int


class SyncEnded(NamedTuple):
    token: int


class Noted(NamedTuple):
    """A client wrote `data` into its ledger, which is not on the disk under test."""

    ledger: str
    data: bytes
    time_ns: int


Record = Began | Made | Linked | Removed | Renamed | Written | Truncated | SyncBegan | SyncEnded | Noted
Log = Sequence[Record]


def append(file: IO[bytes], record: Record) -> None:
    """Appends the record; the file may be buffered."""
    pickle.dump(record, file, protocol=5)


def read(path: Path) -> list[Record]:
    """Returns the whole records of a log."""
    records: list[Record] = []
    with path.open("rb") as file:
        while True:
            try:
                records.append(pickle.load(file))
            except (EOFError, pickle.UnpicklingError):
                return records


class LedgersSoFar(Ledgers):
    """The ledgers as they are at a point of the log; `advance` moves the point on. `before`: operations before the recording."""

    def __init__(self, log: Log, before: Ledgers | None = None) -> None:
        super().__init__()
        self.operations.update(before.operations if before else {})
        self._log = log
        self._at = 0
        self._halves: dict[str, bytes] = {}

    def advance(self, point: int) -> None:
        """Takes the lines that were written before `point`."""
        for record in self._log[self._at : point]:
            if isinstance(record, Noted):
                for line in self._lines(record):
                    self.take(record.ledger, line)
        self._at = max(self._at, point)

    def _lines(self, record: Noted) -> Iterator[list[Any]]:
        *lines, rest = (self._halves.get(record.ledger, b"") + record.data).split(b"\n")
        self._halves[record.ledger] = rest
        yield from map(json.loads, lines)


def time_of(log: Log, point: int) -> int:
    """A time in ns at which the power was gone, if it was cut at `point`: that of the next note."""
    rest = (log[index] for index in range(point, len(log)))
    return next((each.time_ns for each in rest if isinstance(each, Noted)), FAR_FUTURE_NS)
