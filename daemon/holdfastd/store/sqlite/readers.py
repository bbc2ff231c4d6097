"""The pool of read connections. Every read of a caller borrows a connection with a snapshot, and gives it back.

The connections are given out by caller, in turn, and long reads get at most half of them (`turns.py`). A read is interrupted when
its caller goes or its deadline passes, so no snapshot is held longer than its caller waits.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfastd.errors import Cancelled, DataLoss, Exhausted, Stopping
from holdfastd.model.call import Call
from holdfastd.model.turns import Turns
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.dialect import SQLITE
from holdfastd.store.sqlite.errors import Error, foreign_errors, is_sql_error, schema_damaged
from holdfastd.store.sqlite.migrate import changed_definitions

PATIENCE_S = 30.0
# Progress-handler interval in VM instructions (about 5 ms). It catches what interrupt() misses: an interrupt between two
# statements, and a deadline.
STEPS_BETWEEN_CHECKS = 200_000


class _Reader:
    """One connection of the pool and the call that uses it, if any."""

    def __init__(self, open_reader: Callable[[], Connection]) -> None:
        self._open_reader = open_reader
        self.call: Call | None = None
        self.connection = self._connect()

    def _connect(self) -> Connection:
        connection = self._open_reader()
        connection.set_progress_handler(self._is_abandoned, STEPS_BETWEEN_CHECKS)
        return connection

    def _is_abandoned(self) -> bool:
        call = self.call
        return call is not None and not call.is_active()

    def end_snapshot(self) -> None:
        """Ends the transaction. When that fails, closes the connection and opens a new one."""
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        except Error:
            # While a cursor is open, a late interrupt stays in force and fails the ROLLBACK too.
            self.connection.close()
            self.connection = self._connect()


class Readers:
    """Implements `engine.Readers`: a few read-only connections, each lent out for one snapshot. Thread-safe."""

    dialect = SQLITE

    def __init__(
        self,
        open_reader: Callable[[], Connection],
        count: int,
        patience_s: float,
        check_ground: Callable[[], None] = lambda: None,
    ) -> None:
        """`check_ground` is called when a read finds damage. It raises StoreReplaced when the files are another store's now."""
        self._check_ground = check_ground
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._all = [_Reader(open_reader) for _ in range(count)]
        self._free = list(self._all)
        self._turns = Turns(count)
        self._watched: weakref.WeakSet[Call] = weakref.WeakSet()
        self._closed = False

    @contextmanager
    def snapshot(self, call: Call) -> Iterator[Connection]:
        """Holds one consistent state of the store while the block runs; do not yield to gRPC inside it.

        Waits for its turn while the caller waits, at most `patience_s`; then raises RESOURCE_EXHAUSTED. Raises CANCELLED
        or DEADLINE_EXCEEDED when the caller no longer waits (a running statement is interrupted), UNAVAILABLE when the daemon
        stops.
        """
        self._watch(call)
        is_long = call.is_long
        reader = self._take(call)
        try:
            with foreign_errors():
                reader.connection.execute("BEGIN")
                yield reader.connection
        except Error as error:
            self._check_ground()
            if is_sql_error(error) and changed_definitions(reader.connection):
                raise schema_damaged() from error
            raise
        except DataLoss:
            self._check_ground()
            raise
        except Cancelled:
            call.check()  # raises DEADLINE_EXCEEDED instead when the deadline has passed
            raise
        finally:
            try:
                self._give_back(reader)
            finally:
                self._turns.give(call.peer, is_long)

    def close(self, timeout_s: float = 5.0) -> None:
        """Refuses new snapshots, waits for the open ones, interrupts them after `timeout_s`, and closes the connections."""
        with self._changed:
            self._closed = True
            self._turns.close()
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
        # Register once for each call: a stream takes a snapshot for each page, and a call keeps its callbacks until it ends.
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

    def _take(self, call: Call) -> _Reader:
        is_admitted = self._turns.take(call, self._patience_s)
        try:
            call.check()
            with self._changed:
                if self._closed:
                    raise Stopping("The daemon is stopping; connect again.")
                if is_admitted:
                    reader = self._free.pop()
                    reader.call = call
                    return reader
            raise Exhausted("All read connections are busy; try again.", reason="READERS_BUSY", retry_delay_s=0.5)
        except BaseException:
            if is_admitted:
                self._turns.give(call.peer, call.is_long)
            raise

    def _give_back(self, reader: _Reader) -> None:
        with self._changed:
            reader.call = None  # from now on the call cannot interrupt this connection
        try:
            reader.end_snapshot()
        finally:
            with self._changed:
                self._free.append(reader)
                self._changed.notify()
