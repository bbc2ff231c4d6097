"""One batch: many commands in one transaction, each under its own savepoint, made durable by one sync.

The steps are numbered in `_attempt`; the failpoints of the crash tests are between them. On a full disk and some other errors
SQLite rolls back the whole transaction, not only the savepoint (https://www.sqlite.org/lang_transaction.html). So after any
error `in_transaction` is checked; when the transaction is gone, no command of the batch is acknowledged, and each is run once
more in a batch of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from holdfastd import failpoints
from holdfastd.errors import DiskFull, HoldfastError, StoreReplaced
from holdfastd.model.call import Call
from holdfastd.model.commands import Command
from holdfastd.store.commands import Handlers
from holdfastd.store.engine import Connection, Head
from holdfastd.store.ledger import Ledger

R = TypeVar("R")

MAX_IMAGE_BYTES = 16 * 2**20  # images of a batch; a few small updates of large records make many


class Waiter(Generic[R]):
    """A command in the writer's queue, its caller, and its outcome.

    tell: called once with this waiter when the outcome is known, usually in the writer's thread. It must be quick and not raise.
    begun: whether the waiter has left the queue.
    rows, size_bytes: how large the command is; the bytes are what its call holds of the memory budget.
    """

    __slots__ = ("begun", "call", "command", "error", "result", "rows", "size_bytes", "tell")

    def __init__(self, command: Command[R], call: Call, tell: Callable[[Waiter[R]], None]) -> None:
        self.command = command
        self.call = call
        self.tell = tell
        self.result: R | None = None
        self.error: Exception | None = None
        self.begun = False
        self.rows = command.rows
        self.size_bytes = call.claim.held_bytes if command.is_held else 0

    def fail(self, error: Exception) -> None:
        """Sets the error with which the command was refused."""
        self.result = None
        self.error = error

    def outcome(self) -> R:
        """Returns the result or raises the error. Call it only after `tell` was called."""
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # without an error it was set, to None where R has it


class Disk(Protocol):
    """The room on the store's disk."""

    def has_room(self) -> bool:
        """Whether there is room for every command."""

    def has_room_to_free(self) -> bool:
        """Whether there is room for commands that free space."""

    def refusal(self, *, frees: bool) -> DiskFull:
        """The error for a command that there is no room for. `frees`: it would have freed space."""


class _EndlessDisk:
    def has_room(self) -> bool:
        return True

    def has_room_to_free(self) -> bool:
        return True

    def refusal(self, *, frees: bool) -> DiskFull:
        return DiskFull("The disk is full; nothing was written.")


_ENDLESS = _EndlessDisk()


def _refuses_none(command: Command[Any]) -> bool:
    return False


def _refuses_takers(command: Command[Any]) -> bool:
    return not command.gives_space


def _refuses_all(command: Command[Any]) -> bool:
    return True


class _BatchGone(Exception):
    """The transaction was lost because of `cause`, an error of the command of `waiter`; None: an error of the whole batch."""

    def __init__(self, waiter: Waiter[Any] | None, cause: Exception) -> None:
        super().__init__(str(cause))
        self.waiter = waiter
        self.cause = cause


class Batcher:
    """Runs batches on the writer's connection, in one thread at a time.

    revision: the newest durable revision; any thread may read it.
    on_sync_failure: called after a failed fsync, when it is unknown what is on disk. In the daemon it ends the process.
    left: the commands of the last batch that it had no room for; they were not begun.
    disk: whether the disk has room for commands, and for those that free space.
    check_ground: called after each COMMIT and after an OSError. Raises when the files that it wrote to are gone; then nothing
    more is acknowledged.
    """

    def __init__(
        self,
        connection: Connection,
        ledger: Ledger,
        handlers: Handlers,
        clock_ns: Callable[[], int],
        on_sync_failure: Callable[[Exception], None],
        disk: Disk = _ENDLESS,
        check_ground: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._engine = connection.engine
        self._ledger = ledger
        self._handlers = handlers
        self._clock_ns = clock_ns
        self._on_sync_failure = on_sync_failure
        self._disk = disk
        self._check_ground = check_ground
        self._replaced: StoreReplaced | None = None
        self._refuses: Callable[[Command[Any]], bool] = _refuses_none
        self.left: Sequence[Waiter[Any]] = ()
        self.revision = ledger.revision

    def run(self, batch: Sequence[Waiter[Any]]) -> list[Waiter[Any]]:
        """Applies the batch. Returns the waiters whose results are durable; every other waiter has its error set."""
        self.left = ()
        try:
            return self._attempt(batch)
        except _BatchGone as gone:
            self._ground()
            self.left = ()
            survivors = [each for each in batch if each is not gone.waiter]
            if gone.waiter is not None:
                gone.waiter.fail(self._known(gone.cause))
            if len(batch) == 1:
                batch[0].fail(self._known(gone.cause))
                return []
        return [done for each in survivors for done in self._retry(each)]

    def run_exclusive(self, waiter: Waiter[Any]) -> None:
        """Applies an exclusive command, outside any transaction."""
        self.left = ()
        waiter.result = self._handlers[type(waiter.command)](self._connection, waiter.command, self._clock_ns())

    def _retry(self, waiter: Waiter[Any]) -> list[Waiter[Any]]:
        waiter.error = None
        try:
            return self._attempt([waiter])
        except _BatchGone as gone:
            waiter.fail(self._known(gone.cause))
            return []

    def _attempt(self, batch: Sequence[Waiter[Any]]) -> list[Waiter[Any]]:
        if self._replaced is not None:
            raise self._replaced
        start = self._ledger.mark()
        try:
            self._refuses = self._refused_by_disk()
            head = self._engine.begin_batch(self._connection)  # 1. take the write lock
            self._ledger.begin(head, self._connection, [each.command for each in batch])
            applied = self._apply_all(batch)  # 2. each under its savepoint
            self._ledger.flush(self._connection)  # 3. the history of all of them
            self._commit()  # 4. sync, and check that the files are still those at their paths
            self.revision = self._ledger.revision
        except BaseException as error:
            self._ledger.reset(start)
            self._ledger.forget()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, OSError):  # of a look at the files, which may be gone
                self._ground()
            if isinstance(error, self._connection.Error):
                raise _BatchGone(None, error) from error
            raise
        return applied  # 5. the caller acknowledges

    def _apply_all(self, batch: Sequence[Waiter[Any]]) -> list[Waiter[Any]]:
        """Applies commands until all are applied or the images of the batch fill its memory. Sets `left` to the others."""
        applied = []
        for place, each in enumerate(batch):
            if self._ledger.image_bytes > MAX_IMAGE_BYTES:
                self.left = batch[place:]
                break
            if self._apply(each):
                applied.append(each)
        return applied

    def _commit(self) -> None:
        failpoints.hit("writer.before_commit")
        try:
            self._engine.end_batch(self._connection, Head(self._ledger.revision, self._ledger.commit_time))
        except self._connection.Error as error:
            if self._engine.is_sync_failure(error):
                self._on_sync_failure(error)
            raise
        failpoints.hit("writer.after_commit")
        self._ground()

    def _ground(self) -> None:
        """As `check_ground`. Once it has raised, no batch is begun any more."""
        try:
            self._check_ground()
        except StoreReplaced as error:
            self._replaced = error
            raise

    def _apply(self, waiter: Waiter[Any]) -> bool:
        """Applies one command. Returns False when it was refused; then its changes are undone."""
        command = waiter.command
        try:
            waiter.call.check()
            self._check_room(command)
        except HoldfastError as refusal:
            waiter.fail(refusal)
            return False
        guarded = self._ledger.prepare(self._connection, command)
        start = self._ledger.mark()
        try:
            if guarded:
                self._connection.execute("SAVEPOINT command")
            waiter.result = self._handlers[type(command)](self._connection, command, self._clock_ns())
            failpoints.hit("writer.in_batch")
            if guarded:
                self._connection.execute("RELEASE command")
        except Exception as error:  # any error refuses only this command, unless the transaction is lost
            self._ledger.reset(start)
            self._undo(waiter, error, guarded)
            waiter.fail(self._known(error))
            return False
        return True

    def _refused_by_disk(self) -> Callable[[Command[Any]], bool]:
        """Which commands the disk has no room for."""
        if self._disk.has_room():
            return _refuses_none
        return _refuses_takers if self._disk.has_room_to_free() else _refuses_all

    def _check_room(self, command: Command[Any]) -> None:
        """Refuses commands that take space while the disk still has a little.

        Commands that free space need that, and checkpoints need the last of it. On a full disk SQLite may also report an I/O
        error that looks like a failed sync.
        """
        if self._refuses(command):
            raise self._disk.refusal(frees=command.gives_space)

    def _undo(self, waiter: Waiter[Any], error: Exception, guarded: bool) -> None:
        if self._engine.is_sync_failure(error):  # a large transaction syncs the log's header before its COMMIT
            self._on_sync_failure(error)
        if not guarded or not self._connection.in_transaction:
            raise _BatchGone(waiter, error) from error
        try:
            self._connection.execute("ROLLBACK TO command")
            self._connection.execute("RELEASE command")
        except self._connection.Error as second:
            raise _BatchGone(waiter, error) from second

    def _known(self, error: Exception) -> Exception:
        return self._engine.translate(error) or error
