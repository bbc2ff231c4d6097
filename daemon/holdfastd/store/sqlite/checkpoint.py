"""WAL checkpoints (https://sqlite.org/wal.html#ckpt), on a connection of their own."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from holdfastd import failpoints
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.errors import foreign_errors


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """How many pages the log had, and how many of them are in the database now."""

    pages_in_log: int
    pages_copied: int
    busy: bool

    @property
    def complete(self) -> bool:
        return not self.busy and self.pages_copied >= self.pages_in_log


class Checkpointer:
    """Thread-safe; one checkpoint at a time."""

    def __init__(self, database: Database) -> None:
        self._connection = database.open_writer()
        self._lock = threading.Lock()

    def passive(self) -> Checkpointed:
        """Copies what no reader needs in the log any more, waiting for nobody. Synced when it returns."""
        failpoints.hit("checkpoint.before")
        done = self._checkpoint("PRAGMA wal_checkpoint(PASSIVE)")
        failpoints.hit("checkpoint.after")
        return done

    def truncate(self) -> Checkpointed:
        """Copies everything and empties the log; waits a few seconds for readers and the writer. For stopping."""
        failpoints.hit("checkpoint.before_truncate")
        done = self._checkpoint("PRAGMA wal_checkpoint(TRUNCATE)")
        failpoints.hit("checkpoint.after_truncate")
        return done

    def _checkpoint(self, statement: str) -> Checkpointed:
        with self._lock, foreign_errors():
            busy, in_log, copied = self._connection.execute(statement).fetchone()
        return Checkpointed(in_log, copied, bool(busy))

    def close(self) -> None:
        with self._lock:
            self._connection.close()
