"""How the database is opened, and how it is read.

The one place where a connection is made (a key will be given here), where the pragmas stand, and where SQLite's errors
become ours, by their code. The writer, the checkpointer and the migrations open what they need; every read of a
caller goes through `Readers`, so that no reader can hold a snapshot longer than its caller waits.

sqlcipher3 gives primary result codes only (`SQLITE_CONSTRAINT`, never `SQLITE_CONSTRAINT_FOREIGNKEY`; `SQLITE_IOERR`,
never `SQLITE_IOERR_FSYNC`). Who needs to know which constraint asks before the statement; every I/O error of the writer
has to be taken for a failed fsync.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlcipher3.dbapi2 as sqlite

from holdfastd.errors import Cancelled, DataLoss, DiskFull, Exhausted, HoldfastError, SetupError, Stopping
from holdfastd.model.call import Call

Connection = sqlite.Connection
Cursor = sqlite.Cursor
Error = sqlite.Error

BUSY_TIMEOUT_S = 5.0
CACHED_STATEMENTS = 512
WRITER_CACHE_KIB = 16 * 1024
READER_CACHE_KIB = 4 * 1024
PATIENCE_S = 30.0
# How many steps of SQLite's machine between two looks at the caller: some 5 ms. An interrupt that comes between two
# statements is lost, and nobody rings when a deadline passes; this finds both.
STEPS_BETWEEN_CHECKS = 200_000


def open_writer(path: Path) -> Connection:
    """The connection that may write; makes the database file when there is none.

    Raises DATA_LOSS when the file is no database. Checkpoints are left to the checkpointer.
    """
    with foreign_errors():
        connection = _open(path, "rwc")
        # Only before the first page is written does auto_vacuum take: nothing may come before it.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
        return connection


def open_reader(path: Path) -> Connection:
    """A connection that cannot write. The database has to exist."""
    with foreign_errors():
        connection = _open(path, "ro")
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
        return connection


def _open(path: Path, mode: str) -> Connection:
    connection = sqlite.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def error_code(error: Error) -> int:
    """SQLite's primary result code; 0 when the error did not come from SQLite."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_constraint(error: Error) -> bool:
    """Whether a UNIQUE, CHECK, NOT NULL or FOREIGN KEY constraint refused the statement."""
    return error_code(error) == sqlite.SQLITE_CONSTRAINT


def is_io_failure(error: Error) -> bool:
    """Whether the disk failed; from the writer's connection this may have been an fsync (see the head of this module)."""
    return error_code(error) == sqlite.SQLITE_IOERR


def translate(error: Error) -> HoldfastError | None:
    """Our error for SQLite's, by its code; None when it is not one that a caller can do something about."""
    code = error_code(error)
    if code == sqlite.SQLITE_FULL:
        return DiskFull("The disk is full; nothing was written. Free some space and try again.")
    if code == sqlite.SQLITE_INTERRUPT:
        return Cancelled("The caller has gone; the read was given up.")
    if code in (sqlite.SQLITE_CORRUPT, sqlite.SQLITE_NOTADB):
        return DataLoss("The database file is damaged, or is none. Run verify, and restore a backup.", reason="DATABASE_DAMAGED")
    if code == sqlite.SQLITE_IOERR:
        return DataLoss("The disk reported an error. Look at the system's log and at the disk.", reason="IO_ERROR")
    if code in (sqlite.SQLITE_CANTOPEN, sqlite.SQLITE_READONLY, sqlite.SQLITE_PERM):
        return SetupError("The database cannot be opened for writing. Look at who owns the data directory, and at its mode.")
    if code == sqlite.SQLITE_BUSY:
        return Exhausted("The database is busy; try again.", reason="DATABASE_BUSY", retry_delay_s=0.1)
    return None


@contextmanager
def foreign_errors() -> Iterator[None]:
    """Within it SQLite's errors come out as ours, where `translate` knows one."""
    try:
        yield
    except Error as error:
        if (known := translate(error)) is None:
            raise
        raise known from error


class _Reader:
    """One connection of the pool and the call that uses it, if any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.call: Call | None = None
        self.connection = self._connect()

    def _connect(self) -> Connection:
        connection = open_reader(self._path)
        connection.set_progress_handler(self._is_abandoned, STEPS_BETWEEN_CHECKS)
        return connection

    def _is_abandoned(self) -> bool:
        call = self.call
        return call is not None and not call.is_active()

    def end_snapshot(self) -> None:
        """Leaves the connection without a transaction; a new one takes its place when it cannot be had clean."""
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        except Error:
            # A cursor left open keeps a late interrupt alive, and that hits the ROLLBACK as well.
            self.connection.close()
            self.connection = self._connect()


class Readers:
    """A few read-only connections, lent out a snapshot at a time. Thread-safe."""

    def __init__(self, path: Path, count: int = 4, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._all = [_Reader(path) for _ in range(count)]
        self._free = list(self._all)
        self._watched: weakref.WeakSet[Call] = weakref.WeakSet()
        self._closed = False

    @contextmanager
    def snapshot(self, call: Call) -> Iterator[Connection]:
        """One consistent state of the store, for as long as the block runs; never yield to gRPC inside it.

        Waits for a free connection as long as the caller does, and no longer than the pool's patience. Raises
        RESOURCE_EXHAUSTED when that is over, CANCELLED or DEADLINE_EXCEEDED when the caller is gone (what SQLite was
        doing is interrupted), UNAVAILABLE when the daemon stops.
        """
        self._watch(call)
        reader = self._take(call)
        try:
            with foreign_errors():
                reader.connection.execute("BEGIN")
                yield reader.connection
        except Cancelled:
            call.check()  # says DEADLINE_EXCEEDED when it was that
            raise
        finally:
            self._give_back(reader)

    def close(self, timeout_s: float = 5.0) -> None:
        """Lets no new snapshot begin, waits for those that run, interrupts them after `timeout_s`, closes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(self._is_idle, timeout_s)
            for reader in self._all:
                if reader.call is not None:
                    reader.connection.interrupt()
            self._changed.wait_for(self._is_idle, timeout_s)
            for reader in self._free:
                reader.connection.close()

    def _is_idle(self) -> bool:
        return len(self._free) == len(self._all)

    def _watch(self, call: Call) -> None:
        # Once a call: a stream takes a snapshot for each page, and callbacks are only dropped when the call ends.
        with self._changed:
            if call in self._watched:
                return
            self._watched.add(call)
        weakly = weakref.ref(call)
        call.on_end(lambda: self._interrupt(weakly()))

    def _interrupt(self, call: Call | None) -> None:
        with self._changed:
            for reader in self._all:
                if call is not None and reader.call is call:
                    reader.connection.interrupt()
            self._changed.notify_all()

    def _take(self, call: Call) -> _Reader:
        give_up = time.monotonic() + self._patience_s
        with self._changed:
            while True:
                call.check()
                if self._closed:
                    raise Stopping("The daemon is stopping; connect again.")
                if self._free:
                    reader = self._free.pop()
                    reader.call = call
                    return reader
                if (left := give_up - time.monotonic()) <= 0:
                    raise Exhausted("All read connections are busy; try again.", reason="READERS_BUSY", retry_delay_s=0.5)
                remaining = call.remaining_s()
                self._changed.wait(left if remaining is None else min(left, remaining))

    def _give_back(self, reader: _Reader) -> None:
        with self._changed:
            reader.call = None  # from here on no interrupt is meant for this connection
        try:
            reader.end_snapshot()
        finally:
            with self._changed:
                self._free.append(reader)
                self._changed.notify()
