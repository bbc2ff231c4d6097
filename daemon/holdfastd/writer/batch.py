"""One batch: many commands in one transaction, each under its own savepoint, made durable by one sync.

The steps are numbered; between them stand the failpoints of the crash tests. SQLite rolls the whole transaction back
on a full disk and on some other errors, under a savepoint's feet (https://www.sqlite.org/lang_transaction.html), so after
any error `in_transaction` is asked, and when the batch is gone nobody in it is acknowledged: each runs again alone, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfastd import failpoints
from holdfastd.errors import DiskFull, HoldfastError
from holdfastd.model.blobs import DiscardFile, EmptyTrash, SweepBlobs
from holdfastd.model.commands import Commit, ExpireRequests, FreePages
from holdfastd.model.mutations import Delete
from holdfastd.store.engine import Connection, Head
from holdfastd.store.ledger import Ledger
from holdfastd.writer.waiter import Waiter

Handler = Callable[[Connection, Any, int], Any]


class _BatchGone(Exception):
    """SQLite has rolled the transaction back; `waiter` is the one whose command did it, `cause` why."""

    def __init__(self, waiter: Waiter | None, cause: Exception) -> None:
        super().__init__(str(cause))
        self.waiter = waiter
        self.cause = cause


class Batcher:
    """Runs batches on the writer's connection. Used by one thread at a time; `revision`, the newest that is durable, by all."""

    def __init__(
        self,
        connection: Connection,
        ledger: Ledger,
        handlers: Mapping[type, Handler],
        clock_ns: Callable[[], int],
        on_sync_failure: Callable[[Exception], None],
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._connection = connection
        self._engine = connection.engine
        self._ledger = ledger
        self._handlers = handlers
        self._clock_ns = clock_ns
        self._on_sync_failure = on_sync_failure
        self._has_room = has_room
        self._is_full = False
        self.revision = ledger.revision

    def run(self, batch: Sequence[Waiter]) -> list[Waiter]:
        """Applies the batch and returns the waiters whose results are durable; every other one has its error set."""
        try:
            return self._attempt(batch)
        except _BatchGone as gone:
            survivors = [each for each in batch if each is not gone.waiter]
            if gone.waiter is not None:
                gone.waiter.fail(self._known(gone.cause))
            if len(batch) == 1:
                batch[0].fail(self._known(gone.cause))
                return []
        return [done for each in survivors for done in self._alone(each)]

    def _alone(self, waiter: Waiter) -> list[Waiter]:
        waiter.error = None
        try:
            return self._attempt([waiter])
        except _BatchGone as gone:
            waiter.fail(self._known(gone.cause))
            return []

    def _attempt(self, batch: Sequence[Waiter]) -> list[Waiter]:
        start = self._ledger.mark()
        try:
            self._begin(batch)  # 1. take the write lock
            applied = [each for each in batch if self._apply(each)]  # 2. each under its savepoint
            self._flush()  # 3. the history of all of them
            self._commit()  # 4. sync
            self.revision = self._ledger.revision
        except BaseException:
            self._ledger.reset(start)
            self._ledger.forget()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return applied  # 5. the caller acknowledges

    def _begin(self, batch: Sequence[Waiter]) -> None:
        self._is_full = not self._has_room()
        try:
            head = self._engine.begin_batch(self._connection)
            self._ledger.begin(head, self._connection, [each.command for each in batch])
        except self._connection.Error as error:
            raise _BatchGone(None, error) from error

    def _prepare(self, waiter: Waiter) -> None:
        try:
            self._ledger.prepare(self._connection, waiter.command)
        except self._connection.Error as error:
            raise _BatchGone(None, error) from error

    def _flush(self) -> None:
        try:
            self._ledger.flush(self._connection)
        except self._connection.Error as error:
            raise _BatchGone(None, error) from error

    def _commit(self) -> None:
        failpoints.hit("writer.before_commit")
        try:
            self._engine.end_batch(self._connection, Head(self._ledger.revision, self._ledger.commit_time))
        except self._connection.Error as error:
            if self._engine.is_sync_failure(error):
                self._on_sync_failure(error)
            raise _BatchGone(None, error) from error
        failpoints.hit("writer.after_commit")

    def _apply(self, waiter: Waiter) -> bool:
        """Applies one command; False when it was refused and has left no trace."""
        try:
            waiter.call.check()
            self._check_room(waiter.command)
        except HoldfastError as refusal:
            waiter.fail(refusal)
            return False
        self._prepare(waiter)
        start, guarded = self._ledger.mark(), not self._ledger.cannot_be_refused(waiter.command)
        try:
            if guarded:
                self._connection.execute("SAVEPOINT command")
            waiter.result = self._handlers[type(waiter.command)](self._connection, waiter.command, self._clock_ns())
            failpoints.hit("writer.in_batch")
            if guarded:
                self._connection.execute("RELEASE command")
        except Exception as error:  # whatever it is, it concerns this command only, unless the transaction is gone
            self._ledger.reset(start)
            self._undo(waiter, error, guarded)
            waiter.fail(self._known(error))
            return False
        return True

    def _known(self, error: Exception) -> Exception:
        return self._engine.translate(error) or error

    def _check_room(self, command: object) -> None:
        """Refuses what needs space while there is some left. SQLite without any may report an I/O error that cannot be told from
        a failed sync; and what gives space back needs a little itself."""
        if self._is_full and not _gives_space(command):
            raise DiskFull("The disk is full; nothing was written. Free some space and try again.", retry_delay_s=5.0)

    def _undo(self, waiter: Waiter, error: Exception, guarded: bool) -> None:
        if self._engine.is_sync_failure(error):  # a large transaction syncs the log's header before its COMMIT
            self._on_sync_failure(error)
        if not guarded or not self._connection.in_transaction:
            raise _BatchGone(waiter, error) from error
        try:
            self._connection.execute("ROLLBACK TO command")
            self._connection.execute("RELEASE command")
        except self._connection.Error as second:
            raise _BatchGone(waiter, error) from second


def _gives_space(command: object) -> bool:
    if isinstance(command, Commit):
        return all(isinstance(each, Delete) for each in command.mutations)
    return isinstance(command, SweepBlobs | EmptyTrash | DiscardFile | ExpireRequests | FreePages)
