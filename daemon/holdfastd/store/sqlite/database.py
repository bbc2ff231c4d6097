"""The engine of SQLite. Only this module opens the database file.

One `Database(path)` opens all connections to its store: the writer's, the readers', the checkpointer's and that of
`holdfastd migrate`. It sets the pragmas; an encryption key would be set here too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast
from urllib.parse import quote

import sqlcipher3.dbapi2 as sqlite

from holdfastd.errors import HoldfastError
from holdfastd.model.jobs import Job
from holdfastd.store import changes, engine
from holdfastd.store.engine import Alone, Constraint, Head
from holdfastd.store.sqlite import errors, migrate
from holdfastd.store.sqlite.checkpoint import (
    LogCheckpointer,
    LogCheckpointJob,
    empty_log,
    log_file,
    log_index_file,
    size_and_time,
)
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.errors import foreign_errors
from holdfastd.store.sqlite.log_stamp import Stamps
from holdfastd.store.sqlite.log_watch import LogWatch
from holdfastd.store.sqlite.readers import PATIENCE_S, Readers

BUSY_TIMEOUT_S = 5.0
# More than the start and all writes prepare on one connection. The driver's cache evicts what was used least: when it is full,
# new statements evict each other, and each is prepared again each time it runs (an update of a task: 144 us instead of 31).
CACHED_STATEMENTS = 4096
WRITER_CACHE_KIB = 16 * 1024
READER_CACHE_KIB = 4 * 1024
MAX_FAULTS = 100  # faults that `check` reports of each type


class Database:
    """Implements `Engine` for the file at `path`. The constructor does not touch the file; opening a connection does.

    has_room: whether the disk has room for the file with the log's index. Without room, the index is kept in memory, so that the
    database can be read on a full disk; then no other process can open it (https://sqlite.org/vfs.html, unix-excl).
    """

    def __init__(self, path: Path, *, has_room: bool = True) -> None:
        self.path = path
        self._vfs = "" if has_room else "&vfs=unix-excl"
        self._head: Head | None = None
        self._stamps = Stamps(path, log_file(path))
        self._checkpointer = LogCheckpointer(path, self.open_writer)
        self._log_watch: LogWatch | None = None
        self._check_ground: Callable[[], None] = lambda: None

    def open_writer(self) -> Connection:
        """The connection that may write; creates the database file when it is missing.

        Raises DATA_LOSS when the file is not a database. SQLite's own checkpoints are off: see `checkpoint.py`.
        """
        with foreign_errors():
            connection = self._open("rwc")
            if not connection.execute("PRAGMA page_count").fetchone()[0]:
                # It takes effect only before the first page is written. Later it would begin a log without a stamp.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # These two matter only on macOS, as `durable.py` explains: https://www.sqlite.org/pragma.html#pragma_fullfsync
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA checkpoint_fullfsync = ON")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
            return connection

    def open_reader(self) -> Connection:
        """A connection that cannot write. The database must exist."""
        with foreign_errors():
            connection = self._open("ro")
            connection.execute("PRAGMA query_only = ON")
            connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
            return connection

    def open_watcher(self) -> Connection:
        """A connection that cannot write, and that keeps the log where it is, if it is closed after all others."""
        connection = self.open_reader()
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # opens the log
        return connection

    def open_readers(self, count: int = 6, patience_s: float = PATIENCE_S) -> Readers:
        """A pool of connections that cannot write. A call waits at most `patience_s` for one of them."""
        return Readers(self.open_reader, count, patience_s, lambda: self._check_ground())

    def _open(self, mode: str) -> Connection:
        connection = sqlite.connect(
            f"file:{quote(str(self.path))}?mode={mode}{self._vfs}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=CACHED_STATEMENTS,
            factory=Connection,
        )
        connection.engine = self
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection

    def begin_batch(self, connection: engine.Connection) -> Head:
        """Takes the write lock. Reads the head from the database only the first time, because no other process writes."""
        connection.execute("BEGIN IMMEDIATE")
        # After BEGIN: a checkpoint that ends later cannot make this batch begin a new log.
        self._stamps.begin(cast(Connection, connection), self._checkpointer.ended, self._checkpointer.begun)
        if self._head is None:
            self._head = Head(*changes.newest(connection))
        return self._head

    def end_batch(self, connection: engine.Connection, head: Head) -> None:
        """Commits. The first batch after a checkpoint also writes a stamp into the log: see `log_stamp.py`."""
        self._stamps.write_if_due(cast(Connection, connection))
        connection.execute("COMMIT")
        self._stamps.committed()
        self._head = head

    def refusal(self, error: Exception) -> Constraint | None:
        return errors.refusal(error)

    def translate(self, error: Exception) -> HoldfastError | None:
        if errors.is_sql_error(error) and self._has_changed_definitions():
            return errors.schema_damaged()
        return errors.translate(error)

    def _has_changed_definitions(self) -> bool:
        """Whether a table is not defined as the migrations say. Looks with a connection of its own."""
        with foreign_errors(), closing(self.open_reader()) as connection:
            return bool(migrate.changed_definitions(connection))

    def is_sync_failure(self, error: Exception) -> bool:
        return errors.is_io_failure(error)

    def follow(self, wake: Callable[[], None]) -> None:
        """Does nothing: no other process writes, and the writer wakes the followers of this process."""

    def jobs(
        self,
        interval_s: float,
        alone: Alone,
        has_room_for_log: Callable[[], bool],
        on_sync_failure: Callable[[BaseException], None],
    ) -> tuple[Job, ...]:
        checkpoint = LogCheckpointJob(self.path, self._checkpointer, alone, has_room_for_log, on_sync_failure)
        return (Job("checkpoint", checkpoint.run, interval_s, checkpoint.is_due, log_level=logging.DEBUG),)

    def close(self, on_sync_failure: Callable[[BaseException], None], *, keeps_log: bool = False) -> None:
        """Runs the last checkpoint, unless it `keeps_log`, then closes the checkpointer's connection."""
        try:
            if not keeps_log:
                empty_log(self._checkpointer, on_sync_failure)
        finally:
            self._checkpointer.close()

    def held_files(self) -> tuple[Path, ...]:
        index = () if self._vfs else (log_index_file(self.path),)
        return tuple(each for each in (self.path, log_file(self.path), *index) if each.exists())

    def foreign_write(self) -> str:
        """Compares the log only while its index is in a file: SQLite does not show the one that it keeps in memory."""
        return self._checkpointer.foreign_write() or (self._log_watch.foreign_write() if self._log_watch else "")

    def guard(self, check: Callable[[], None]) -> None:
        if not self._vfs:
            self._log_watch = LogWatch(log_file(self.path), log_index_file(self.path))
        self._check_ground = check
        self._checkpointer.guard(check)

    def growth_bytes(self) -> int:
        """The size of the log: each of its pages may be new."""
        return size_and_time(log_file(self.path))[0]

    def size_bytes(self) -> int:
        return sum(each.stat().st_size for each in (self.path, log_file(self.path)) if each.exists())

    def empty_pages(self, connection: engine.Connection) -> int:
        return int(connection.execute("PRAGMA freelist_count").fetchone()[0])

    def free_pages(self, connection: engine.Connection, limit: int) -> int:
        """Works only on a database that was created with auto_vacuum=INCREMENTAL, as `open_writer` does."""
        connection.execute(f"PRAGMA incremental_vacuum({limit:d})").fetchall()
        return self.empty_pages(connection)

    def check(self, connection: engine.Connection) -> Iterator[tuple[str, str, str]]:
        """SQLite's own checks, of pages, indexes and foreign keys; and whether the schema is that of the migrations."""
        for (text,) in connection.execute(f"PRAGMA integrity_check({MAX_FAULTS})"):
            if text != "ok":
                yield "database_damaged", "database", text
        for name in migrate.changed_definitions(connection):
            yield "schema_damaged", name, "its definition differs from that of the migrations"
        for step in migrate.renamed_steps(connection):
            yield "schema_damaged", step, "no migration has this number and name"
        for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(MAX_FAULTS):
            yield "reference_dangling", f"{table} row {rowid}", f"refers to a row of {parent} that does not exist"
