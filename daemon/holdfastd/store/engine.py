"""What the store asks of a database engine. `store/sqlite` implements it; the writer and the use cases know only this.

An engine opens the connections, puts a batch into one transaction, and says what its driver's errors mean. The SQL is not
its own: `store/*.py` is one text with `?` for values, and what engines spell differently is in the connection's `dialect`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from holdfastd.errors import HoldfastError
from holdfastd.model.call import Call
from holdfastd.model.jobs import Job
from holdfastd.store.dialect import Dialect

Alone = Callable[[Callable[[], Any], Call], Any]
"""Runs the work in the writer's turn, while no transaction is open."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What refused a statement. `columns` are those of a UNIQUE constraint, in its order, and empty for every other."""

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest durable commit, as a batch finds it and leaves it.

    writer: the daemon that committed it; after a COMMIT without an answer it tells whether the batch went in.
    epoch: rises when the store moves to another place; a daemon that was opened on an older one must not write.
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
        """Whether a transaction is open. After an error it may not be: some engines roll the whole of it back."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor: ...

    def insert_rows(self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
        """Adds the rows in few statements, or in a bulk copy. `table` and `columns` are quoted where they need it."""

    def together(self) -> AbstractContextManager[Any]:
        """A block whose statements may be sent without waiting for each answer; none of them may read.

        An error may come from any statement of the block, or at its end.
        """

    def close(self) -> None: ...


class Readers(Protocol):
    """Connections that cannot write, lent out a snapshot at a time. Thread-safe."""

    @property
    def dialect(self) -> Dialect: ...

    def snapshot(self, call: Call) -> AbstractContextManager[Connection]:
        """One consistent state of the store for the time of the block; never yield to gRPC inside it.

        Raises RESOURCE_EXHAUSTED when no connection becomes free in time, CANCELLED or DEADLINE_EXCEEDED when the caller is
        gone, UNAVAILABLE when the daemon stops.
        """

    def close(self) -> None:
        """Lets no new snapshot begin, waits for those that run, closes."""


class Engine(Protocol):
    """One database. Thread-safe; the batch methods belong to the thread that holds the writer's connection."""

    def open_writer(self) -> Connection:
        """A connection that may write."""

    def open_readers(self, count: int) -> Readers:
        """A pool of `count` connections that cannot write."""

    def begin_batch(self, connection: Connection) -> Head:
        """Opens the transaction of a batch, which no other can overlap, and gives the head that it stands on."""

    def end_batch(self, connection: Connection, head: Head) -> None:
        """Makes the batch durable, with `head` as the newest commit. After an error nobody in the batch is acknowledged."""

    def refusal(self, error: Exception) -> Constraint | None:
        """The constraint that refused a statement; None when the error is something else. Asks the database nothing."""

    def translate(self, error: Exception) -> HoldfastError | None:
        """Our error for the driver's; None when it is not one that a caller can do something about."""

    def is_sync_failure(self, error: Exception) -> bool:
        """Whether an error of the writer's connection may have been a failed sync, after which the process must end."""

    def follow(self, wake: Callable[[], None]) -> None:
        """Calls `wake`, in any thread, whenever another process has committed. This process's own commits do not count."""

    def jobs(self, interval_s: float, alone: Alone, on_sync_failure: Callable[[BaseException], None]) -> tuple[Job, ...]:
        """The jobs that only this engine needs, to be run every `interval_s`."""

    def close(self, on_sync_failure: Callable[[BaseException], None]) -> None:
        """What is to be done last, when writer and readers are gone."""

    def size_bytes(self) -> int:
        """The bytes that the database takes."""

    def empty_pages(self, connection: Connection) -> int:
        """How many pages hold nothing; 0 from an engine that gives space back by itself."""

    def free_pages(self, connection: Connection, limit: int) -> int:
        """Gives up to `limit` empty pages back to the file system; returns how many are still empty."""

    def check(self, connection: Connection) -> Iterator[tuple[str, str, str]]:
        """The engine's own check of its files and references: reason, subject and detail of each fault."""
