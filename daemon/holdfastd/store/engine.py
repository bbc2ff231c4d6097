"""The interface of a database engine. `store/sqlite` implements it; the writer and the use cases depend only on this.

An engine opens connections, runs a batch in one transaction, and translates its driver's errors. The SQL is in `store/*.py`, the
same for all engines; the few expressions that differ are in the connection's `dialect`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from holdfastd.errors import HoldfastError
from holdfastd.model.call import Call
from holdfastd.model.jobs import Job
from holdfastd.store.dialect import Dialect

Alone = Callable[[Callable[[], Any], Call], Any]
"""Runs the work in the writer's thread, while no transaction is open."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """The constraint that refused a statement. `columns`: of a UNIQUE constraint, in its order; empty for any other."""

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest durable commit. A batch reads it when it begins and writes it when it ends. `time`: nanoseconds since 1970 UTC.

    writer: the daemon that committed it; when a COMMIT got no answer, it shows whether the batch was committed.
    epoch: raised when the store moves to another place; a daemon that opened an older epoch must not write.
    """

    revision: int
    time: int
    writer: str = ""
    epoch: int = 0


class Cursor(Protocol):
    """The rows of a statement (PEP 249)."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchmany(self, size: int, /) -> list[Any]: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """One connection (PEP 249, as far as the store needs it), used by one thread at a time."""

    @property
    def engine(self) -> Engine: ...
    @property
    def dialect(self) -> Dialect: ...
    @property
    def Error(self) -> type[Exception]:  # noqa: N802 (PEP 249 names it)
        """The class of the driver's errors."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open. Check it after an error: some engines roll back the whole transaction."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor: ...

    def insert_rows(self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
        """Inserts the rows in few statements, or with a bulk copy. The caller quotes `table` and `columns` if they need it."""

    def together(self) -> AbstractContextManager[Any]:
        """A block whose statements may be sent without waiting for each result. None of them may read.

        Any statement of the block, or its end, may raise the error of an earlier statement.
        """

    def close(self) -> None: ...


class Readers(Protocol):
    """A pool of connections that cannot write, each lent out for one snapshot. Thread-safe."""

    @property
    def dialect(self) -> Dialect: ...

    def snapshot(self, call: Call) -> AbstractContextManager[Connection]:
        """Holds one consistent state of the store while the block runs; do not yield to gRPC inside it.

        Raises RESOURCE_EXHAUSTED when no connection becomes free in time, CANCELLED or DEADLINE_EXCEEDED when the caller no
        longer waits, UNAVAILABLE when the daemon stops.
        """

    def close(self) -> None:
        """Refuses new snapshots, waits for the open ones, and closes the connections."""


class Engine(Protocol):
    """One database. Thread-safe; the batch methods belong to the thread that holds the writer's connection."""

    def open_writer(self) -> Connection:
        """A connection that may write."""

    def open_readers(self, count: int) -> Readers:
        """A pool of `count` connections that cannot write."""

    def begin_batch(self, connection: Connection) -> Head:
        """Begins the transaction of a batch, with the write lock. Returns the head that the batch continues from."""

    def end_batch(self, connection: Connection, head: Head) -> None:
        """Commits the batch durably, with `head` as the newest commit. After an error no command of it may be acknowledged."""

    def refusal(self, error: Exception) -> Constraint | None:
        """The constraint that refused a statement; None for any other error. Sends no statement to the database."""

    def translate(self, error: Exception) -> HoldfastError | None:
        """Our error for the driver's; None when a caller could do nothing about it."""

    def is_sync_failure(self, error: Exception) -> bool:
        """Whether an error of the writer's connection may be a failed fsync, after which the process must end."""

    def follow(self, wake: Callable[[], None]) -> None:
        """Calls `wake`, in any thread, whenever another process has committed. This process's own commits do not count."""

    def jobs(
        self,
        interval_s: float,
        alone: Alone,
        has_room_for_log: Callable[[], bool],
        on_sync_failure: Callable[[BaseException], None],
    ) -> tuple[Job, ...]:
        """The jobs that only this engine needs. They run every `interval_s`. has_room_for_log: whether the disk has room for
        the log beside a checkpoint."""

    def close(self, on_sync_failure: Callable[[BaseException], None], *, keeps_log: bool = False) -> None:
        """The last work on the database, after writer and readers have ended. keeps_log: leave the files as they are."""

    def held_files(self) -> tuple[Path, ...]:
        """The files that the open connections hold; empty when the database is behind a server."""

    def foreign_write(self) -> str:
        """What another process wrote into a held file, as the end of a message; empty for nothing. Takes microseconds."""

    def guard(self, check: Callable[[], None]) -> None:
        """From now on calls `check` before any work on the held files that is not part of a batch. It raises to prevent that."""

    def growth_bytes(self) -> int:
        """By how much the database's files may still grow from what is committed; 0 when it is behind a server."""

    def size_bytes(self) -> int:
        """The size of the database on disk."""

    def empty_pages(self, connection: Connection) -> int:
        """The number of free pages; 0 from an engine that gives space back by itself."""

    def free_pages(self, connection: Connection, limit: int) -> int:
        """Gives up to `limit` free pages back to the file system. Returns the number still free."""

    def check(self, connection: Connection) -> Iterator[tuple[str, str, str]]:
        """Runs the engine's own checks of its files and foreign keys. Yields reason, subject and detail of each fault."""
