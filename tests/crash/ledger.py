"""What the clients of the crash tests write down, outside the store: each operation before it is tried, and its outcome.

A line is written by one `write` to a file opened for appending, so it survives the writer's SIGKILL. Every effect of an
operation has a key that occurs nowhere else: a mark inside the record or entry that it makes, or `-kind/id` for a delete.
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
    """One operation as the ledgers tell it. `entries` are marks of entries of the session `parent`."""

    id: str
    worker: str
    what: str
    keys: list[str]
    entries: list[str]
    parent: str
    streamed: bool  # acknowledged piece by piece; otherwise all or nothing
    stage: str = TRIED
    acknowledged: int = 0  # of a streamed one: how many entries
    outcome: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """The ledger of one worker, for writing."""

    def __init__(self, directory: Path, worker: str) -> None:
        self._descriptor = os.open(directory / f"{worker}.ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._worker = worker
        self._count = 0

    def new_id(self) -> str:
        """The name of the next operation, which is also the beginning of its marks."""
        self._count += 1
        return f"{self._worker}-{self._count}"

    def tried(
        self, id: str, what: str, keys: Sequence[str], entries: Sequence[str] = (), parent: str = "", streamed: bool = False
    ) -> None:
        """Before the call."""
        self._write([TRIED, id, what, list(keys), list(entries), parent, streamed])

    def done(self, id: str, /, **outcome: Any) -> None:
        """The store has acknowledged all of it."""
        self._write([DONE, id, outcome])

    def partly(self, id: str, acknowledged: int) -> None:
        """The store has acknowledged the first entries of a streamed operation."""
        self._write([PARTLY, id, acknowledged])

    def refused(self, id: str, reason: str) -> None:
        """The store has said that it did nothing."""
        self._write([REFUSED, id, reason])

    def seen(self, problem: str) -> None:
        """Something that must not be, found by the worker itself."""
        self._write([SEEN, problem])

    def _write(self, line: list[Any]) -> None:
        os.write(self._descriptor, json.dumps(line, separators=(",", ":")).encode() + b"\n")


class Ledgers:
    """All ledgers of a directory, read on from where the last reading ended."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._offsets: dict[Path, int] = {}
        self.operations: dict[str, Operation] = {}
        self.problems: list[str] = []

    def read(self) -> None:
        """Takes in what was written since; afterwards `operations` has each in its worker's order."""
        for path in sorted(self._directory.glob("*.ledger")):
            for line in self._new_lines(path):
                self._take(path.stem, line)

    def _new_lines(self, path: Path) -> Iterator[list[Any]]:
        with path.open("rb") as file:
            file.seek(self._offsets.get(path, 0))
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offsets[path] = self._offsets.get(path, 0) + len(line)
                yield json.loads(line)

    def _take(self, worker: str, line: list[Any]) -> None:
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
