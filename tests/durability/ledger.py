"""The log that each client of the crash and power-cut tests keeps: every operation before the call, and its outcome.

Each line is one `write` to a file opened with O_APPEND, so it survives SIGKILL of the client. Every effect of an operation
has a unique key: a mark inside the record or entry that it creates, or `-kind/id` for a delete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TRIED, DONE, REFUSED, PARTLY, SEEN = "tried", "done", "refused", "partly", "seen"


@dataclass(slots=True)
class Operation:
    """One operation as read from the ledgers. `entries` are the marks of entries that it appends to the session `parent`."""

    id: str
    worker: str
    what: str
    keys: list[str]
    entries: list[str]
    parent: str
    streamed: bool  # acknowledged in parts; any other operation is all or nothing
    stage: str = TRIED
    acknowledged: int = 0  # number of acknowledged entries of a streamed operation
    outcome: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """Writes the ledger of one worker."""

    def __init__(self, directory: Path, worker: str) -> None:
        self._descriptor = os.open(directory / f"{worker}.ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._worker = worker
        self._count = 0

    def new_id(self) -> str:
        """The id of the next operation. Its marks start with it."""
        self._count += 1
        return f"{self._worker}-{self._count}"

    def tried(
        self, id: str, what: str, keys: Sequence[str], entries: Sequence[str] = (), parent: str = "", streamed: bool = False
    ) -> None:
        """Written before the call."""
        self._write([TRIED, id, what, list(keys), list(entries), parent, streamed])

    def done(self, id: str, /, **outcome: Any) -> None:
        """The store acknowledged the whole operation."""
        self._write([DONE, id, outcome])

    def partly(self, id: str, acknowledged: int) -> None:
        """The store acknowledged the first `acknowledged` entries of a streamed operation."""
        self._write([PARTLY, id, acknowledged])

    def refused(self, id: str, reason: str) -> None:
        """The store refused the operation, so nothing of it may be found."""
        self._write([REFUSED, id, reason])

    def seen(self, problem: str) -> None:
        """The worker itself found a problem."""
        self._write([SEEN, problem])

    def _write(self, line: list[Any]) -> None:
        os.write(self._descriptor, json.dumps(line, separators=(",", ":")).encode() + b"\n")


class Ledgers:
    """What the ledgers hold so far. `operations` has every operation, in the order of each worker."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.problems: list[str] = []

    @property
    def acknowledged(self) -> int:
        """The number of operations that the store acknowledged as a whole."""
        return sum(1 for each in self.operations.values() if each.stage == DONE)

    def read(self) -> None:
        """Takes what is new in the source of the lines; this class has none, its user calls `take`."""

    def take(self, worker: str, line: list[Any]) -> None:
        """Adds the next line of a worker's ledger."""
        stage, rest = line[0], line[1:]
        if stage == SEEN:
            self.problems.append(f"{worker}: {rest[0]}")
        elif stage == TRIED:
            id, what, keys, entries, parent, streamed = rest
            self.operations[id] = Operation(id, worker, what, keys, entries, parent, streamed)
        else:
            self._settle(self.operations[rest[0]], stage, rest[1])

    @staticmethod
    def _settle(operation: Operation, stage: str, outcome: Any) -> None:
        if stage == PARTLY:
            operation.acknowledged = outcome
            return
        operation.stage = stage
        if stage == DONE:
            operation.outcome = outcome
            operation.acknowledged = len(operation.entries)


class LedgerFiles(Ledgers):
    """The ledgers of a directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._offsets: dict[Path, int] = {}

    def read(self) -> None:
        """Takes the lines that were written since the last call."""
        for path in sorted(self._directory.glob("*.ledger")):
            for line in self._new_lines(path):
                self.take(path.stem, line)

    def _new_lines(self, path: Path) -> Iterator[list[Any]]:
        with path.open("rb") as file:
            file.seek(self._offsets.get(path, 0))
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offsets[path] = self._offsets.get(path, 0) + len(line)
                yield json.loads(line)
