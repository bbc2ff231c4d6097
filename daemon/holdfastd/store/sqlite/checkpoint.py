"""Checkpoints of the log (https://sqlite.org/wal.html#ckpt): the job `checkpoint`, and the last one when the daemon stops.

SQLite's own checkpoints are off, because they would run inside a caller's commit. The job runs a PASSIVE checkpoint while the
writer goes on; it blocks neither writer nor readers. When the log was larger than LOG_REUSE_BYTES, a second one follows in the
writer's thread, so that no commit adds a page meanwhile. Above LOG_MAX_BYTES, and on a full disk, that one is a TRUNCATE, which
empties the file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfastd import failpoints, logs
from holdfastd.errors import DataLoss, DiskFull
from holdfastd.model.call import Call
from holdfastd.model.jobs import JobRun
from holdfastd.store.engine import Alone
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.errors import foreign_errors

# SQLite writes the log from its beginning again only when every page of it has been copied. Under a steady load, commits add
# pages during each passive checkpoint, so the log would grow without limit. The sync of a commit that lengthens the file takes
# 345 us, of one that overwrites it 178. The checkpoint in the writer's thread has few pages left to copy.
LOG_REUSE_BYTES = 8 * 2**20
LOG_MAX_BYTES = 512 * 2**20  # the log reaches this size only when a reader holds a snapshot for long

log = logs.logger(__name__)


def log_file(database: Path) -> Path:
    """The path of a database's write-ahead log. The file exists while a connection is open or pages are not copied yet."""
    return database.with_name(database.name + "-wal")


def log_index_file(database: Path) -> Path:
    """The path of the index of a database's log, which the connections share."""
    return database.with_name(database.name + "-shm")


@dataclass(frozen=True, slots=True)
class LogCheckpoint:
    """The result of a checkpoint: pages in the log, and how many of them are copied to the database."""

    pages_in_log: int
    pages_copied: int
    busy: bool

    @property
    def complete(self) -> bool:
        return not self.busy and self.pages_copied >= self.pages_in_log


class LogCheckpointer:
    """Runs checkpoints on its own connection, which the first checkpoint opens. Thread-safe; one checkpoint at a time.

    Only checkpoints write to the database file, since commits write to the log. So a change of that file at any other time is
    another process's write, such as a backup that is copied over it.
    """

    def __init__(self, database: Path, open_connection: Callable[[], Connection]) -> None:
        self._database = database
        self._open_connection = open_connection
        self._connection: Connection | None = None
        self._check: Callable[[], None] = lambda: None
        self._left: tuple[int, int] | None = None  # size and modification time of the database after the last checkpoint
        self._lock = threading.Lock()
        self.begun = 0  # checkpoints that were begun, and those that have ended
        self.ended = 0

    def guard(self, check: Callable[[], None]) -> None:
        """Calls `check` before each checkpoint, and reports writes to the database from now on. `check` raises to prevent one."""
        with self._lock:
            self._check = check
            self._left = size_and_time(self._database)

    def foreign_write(self) -> str:
        """Which file another process wrote to, as the end of a message; empty for none, and while a checkpoint runs."""
        if not self._lock.acquire(blocking=False):
            return ""
        try:
            changed = self._left is not None and size_and_time(self._database) != self._left
        finally:
            self._lock.release()
        return f"another process wrote to {self._database}" if changed else ""

    def passive(self) -> LogCheckpoint:
        """Copies the pages that no reader needs in the log any more. Waits for no reader or writer. Durable when it returns."""
        failpoints.hit("checkpoint.before")
        done = self._checkpoint("PRAGMA wal_checkpoint(PASSIVE)")
        failpoints.hit("checkpoint.after")
        return done

    def truncate(self) -> LogCheckpoint:
        """Copies all pages and empties the log. Waits up to the busy timeout for readers and the writer."""
        failpoints.hit("checkpoint.before_truncate")
        done = self._checkpoint("PRAGMA wal_checkpoint(TRUNCATE)")
        failpoints.hit("checkpoint.after_truncate")
        return done

    def _checkpoint(self, statement: str) -> LogCheckpoint:
        self._check()
        with self._lock, foreign_errors():
            self.begun += 1
            try:
                self._connection = self._connection or self._open_connection()
                busy, in_log, copied = self._connection.execute(statement).fetchone()
            finally:
                self.ended += 1
                if self._left is not None:
                    self._left = size_and_time(self._database)
        return LogCheckpoint(in_log, copied, bool(busy))

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()


class LogCheckpointJob:
    """The job `checkpoint`. It is due when the log was written since the last run, or when that run did not copy all of it."""

    def __init__(
        self,
        database: Path,
        checkpointer: LogCheckpointer,
        alone: Alone,
        has_room_for_log: Callable[[], bool],
        on_sync_failure: Callable[[BaseException], None],
    ) -> None:
        self._log_file = log_file(database)
        self._checkpointer = checkpointer
        self._alone = alone
        self._has_room_for_log = has_room_for_log
        self._on_sync_failure = on_sync_failure
        self._seen: tuple[int, int] | None = None

    def _copy(self, log_bytes: int, call: Call) -> LogCheckpoint:
        if log_bytes and not self._has_room_for_log():
            # Not after a passive one: in between, commits would find the disk without room.
            done: LogCheckpoint = self._alone(self._checkpointer.truncate, call)
            return done
        done = self._checkpointer.passive()
        if log_bytes > LOG_MAX_BYTES:
            done = self._alone(self._checkpointer.truncate, call)
        elif log_bytes > LOG_REUSE_BYTES:
            done = self._alone(self._checkpointer.passive, call)
        return done

    def is_due(self) -> bool:
        return size_and_time(self._log_file) != self._seen

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Copies as many pages as readers allow. Counts: `pages_in_log`, `pages_copied`; in a dry run `log_bytes`."""
        looked = size_and_time(self._log_file)
        if run.dry_run:
            return {"log_bytes": looked[0]}
        try:
            done = self._copy(looked[0], run.call)
        except DataLoss as error:
            self._on_sync_failure(error)
            raise
        self._seen = looked if done.complete else None
        return {"pages_in_log": done.pages_in_log, "pages_copied": done.pages_copied}


def size_and_time(path: Path) -> tuple[int, int]:
    """Size and modification time of a file; zeros when it is missing."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (found.st_size, found.st_mtime_ns)


def empty_log(checkpointer: LogCheckpointer, on_sync_failure: Callable[[BaseException], None]) -> None:
    """Runs the last checkpoint, after writer and readers have ended. Then the database file alone has all rows.

    If some pages cannot be copied, the log stays, and the next daemon continues with it.
    """
    try:
        done = checkpointer.truncate()
    except DiskFull:
        log.warning("log_not_emptied", extra={"reason": DiskFull.reason})
        return
    except DataLoss as error:
        on_sync_failure(error)
        raise
    if not done.complete:
        log.warning("log_not_emptied", extra={"pages_in_log": done.pages_in_log, "pages_copied": done.pages_copied})
