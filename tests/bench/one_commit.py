"""The lower bound of a durable append: the entry's row in its own transaction, committed in the caller's process.

The schema and the settings of the connection are the daemon's, on the same disk. So it measures SQLite and the disk alone,
without revision, change, request id and RPC.
"""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from types import TracebackType

from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import migrate
from tests.bench.crew import Sample, repeat
from tests.bench.entries import CONTENT, ROLE

_JOURNAL = (
    "INSERT INTO journal (journal_id, workspace, journal, parent_kind, parent_id, first_number)"
    " VALUES (1, 'default', 'transcript', 'session', 'bench', 1)"
)
_INSERT = (
    "INSERT INTO transcript (journal_id, number, revision, create_time, task_id, phase, iteration, role, content)"
    " VALUES (1, ?, ?, ?, '', '', 0, ?, ?)"
)


class OneCommit:
    """A store and a loop that commits one entry at a time."""

    def __init__(self, path: Path) -> None:
        self._connection = Database(path).open_writer()
        for _ in migrate(self._connection, path.parent / "snapshots"):
            pass
        self._connection.execute(_JOURNAL)
        self._numbers = count(1)

    def sample(self, seconds: float) -> Sample:
        """One round. It empties the log first, so that no round pays for the log of the previous one."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return repeat(self._commit, seconds)

    def _commit(self) -> int:
        number = next(self._numbers)
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(_INSERT, (number, number, time.time_ns(), ROLE, CONTENT))
        self._connection.execute("COMMIT")
        return 1

    def __enter__(self) -> OneCommit:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()
