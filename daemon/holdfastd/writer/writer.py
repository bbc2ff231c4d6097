"""The writer: a bounded queue of commands and the one thread that applies them, a batch at a time.

`post` does not block; its callback runs in the writer's thread once the command is durable or refused. (When a full queue drops a
command whose caller has gone, it runs in the thread that posts the next one.) Commands that arrive while a batch is synced form
the next batch, so many callers share one sync. Thread-safe.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from holdfastd.errors import DeadlineExceeded, Exhausted, Stopping
from holdfastd.model.call import Call
from holdfastd.model.commands import Command, Exclusive
from holdfastd.writer.batch import Batcher, Waiter
from holdfastd.writer.line import Line

R = TypeVar("R")
Publish = Callable[[Sequence[Any]], None]

DROP_INTERVAL_S = 0.1


class Bell:
    """Wakes one waiting thread. It is one lock, so it is cheaper than a `threading.Event`."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wakes the waiting thread; if none waits, the next `wait` returns at once. Do not ring twice before a `wait`."""
        self._lock.release()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits for a ring. Returns False when there was none within `timeout_s`."""
        return self._lock.acquire(timeout=-1 if timeout_s is None else timeout_s)


class Writer:
    """Applies commands one batch at a time; `Line` says in which order.

    queue_max: the most commands in the queue. batch_max: the most commands in one transaction.
    publish: called after each batch with its durable results, in order, before the callbacks.
    """

    def __init__(self, batcher: Batcher, publish: Publish, *, queue_max: int, batch_max: int) -> None:
        self._batcher = batcher
        self._publish = publish
        self._queue_max = queue_max
        self._batch_max = batch_max
        self._lock = threading.Lock()
        self._queue = Line()
        self._stopping = self._stopped = False
        self._asleep = True  # the thread waits for a ring, or until `_rest_s` has passed
        self._rest_s: float | None = None
        self._idle = threading.Condition(self._lock)
        self._next_drop = 0.0
        self._work = Bell()
        self._thread = threading.Thread(target=self._serve, name="writer", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """The number of commands in the queue."""
        return len(self._queue)

    def is_alive(self) -> bool:
        """Whether the writer's thread runs. Without it no command is ever applied."""
        return self._thread.is_alive()

    @property
    def revision(self) -> int:
        """The newest durable revision."""
        return self._batcher.revision

    def post(self, command: Command[R], call: Call, tell: Callable[[Waiter[R]], None]) -> None:
        """Queues the command. Calls `tell` once, usually in the writer's thread, when the command is durable or refused.

        A refused command changes nothing. The error is the store's, or DEADLINE_EXCEEDED or CANCELLED when the caller no longer
        waits before the command is begun. A full queue fails its abandoned commands, in the thread of the next `post`. Raises
        RESOURCE_EXHAUSTED when the queue is full and UNAVAILABLE when the daemon is stopping; then `tell` is not called.
        """
        self._enqueue(Waiter(command, call, tell))

    def submit(self, command: Command[R], call: Call) -> R:
        """As `post`, but waits and returns the result or raises. A deadline that passes in the queue ends the wait at once."""
        bell = Bell()
        waiter = Waiter(command, call, lambda _: bell.ring())
        self._enqueue(waiter)
        if not bell.wait(call.remaining_s()):
            self._give_up(waiter)
            bell.wait()
        return waiter.outcome()

    def run_exclusively(self, work: Callable[[], R], call: Call) -> R:
        """Calls `work` in the writer's thread while no transaction is open, and returns its result; used by checkpoints."""
        return self.submit(Exclusive(work), call)

    def stop(self, timeout_s: float) -> bool:
        """Refuses new commands and waits for the queued ones. Returns False when some are not done after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._stopping = True
            self._queue.end_rests()
            if len(self._queue):
                self._wake()
            while len(self._queue) or not self._asleep:
                if not self._idle.wait(deadline - time.monotonic()):
                    return False
            if not self._stopped:
                self._stopped = True
                self._wake()
        return True

    def _enqueue(self, waiter: Waiter[Any]) -> None:
        if len(self._queue) >= self._queue_max:
            self._drop_dead()
        with self._lock:
            if self._stopping:
                raise Stopping("The daemon is stopping; nothing was applied. Reconnect and try again.")
            if len(self._queue) >= self._queue_max:
                raise Exhausted(
                    f"{self._queue_max:,} commits are waiting for the writer; nothing was applied. Try again shortly.",
                    retry_delay_s=0.1,
                    limit=self._queue_max,
                )
            self._queue.append(waiter)
            if not self._asleep:
                return
            self._asleep = False
        self._work.ring()  # without the lock, which the thread takes at once

    def _wake(self) -> None:
        """Rings unless the thread is awake. Call it with the lock held."""
        if self._asleep:
            self._asleep = False
            self._work.ring()

    def _drop_dead(self) -> None:
        """Makes room in a full queue: fails the commands whose callers no longer wait. Scans the queue every DROP_INTERVAL_S."""
        with self._lock:
            if (now := time.monotonic()) < self._next_drop:
                return
            self._next_drop = now + DROP_INTERVAL_S
            dead = self._queue.remove_dead()
            for each in dead:
                each.begun = True
        for each in dead:
            each.fail(DeadlineExceeded("The caller gave up in the writer's queue; nothing was applied."))
            each.tell(each)

    def _give_up(self, waiter: Waiter[Any]) -> None:
        """Removes a waiter whose deadline has passed from the queue and raises DEADLINE_EXCEEDED; nothing when it was begun."""
        with self._lock:
            if waiter.begun:
                return
            self._queue.remove(waiter)
        raise DeadlineExceeded("The deadline passed in the writer's queue; nothing was applied. Try again with a longer one.")

    def _serve(self) -> None:
        while True:
            self._sleep()
            while batch := self._take():
                self._run(batch)
            if self._stopped:
                return

    def _sleep(self) -> None:
        """Waits for a ring, or until a command that waits in the queue may begin."""
        if self._work.wait(self._rest_s):
            return
        with self._lock:
            is_rung = not self._asleep
            self._asleep = False
        if is_rung:  # since the wait ended; a ring that is left would be taken for the next one
            self._work.wait()

    def _take(self) -> list[Waiter[Any]]:
        """The next batch; empty when none may begin yet."""
        with self._lock:
            batch = self._queue.take(self._batch_max)
            if not batch:
                self._asleep = True
                self._rest_s = self._queue.rest_s()
                self._idle.notify_all()
            return batch

    def _run(self, batch: Sequence[Waiter[Any]]) -> None:
        try:
            self._apply(batch)
        except Exception as error:  # unexpected: every caller gets it, and rpc/ or the scheduler logs it
            for each in batch:
                each.fail(error)
        batch = batch[: len(batch) - self._put_back(self._batcher.left)]
        for each in batch:
            each.tell(each)

    def _put_back(self, left: Sequence[Waiter[Any]]) -> int:
        """Returns commands to the queue that the batch had no room for. Returns their number."""
        if left:
            with self._lock:
                self._queue.put_back(left)
        return len(left)

    def _apply(self, batch: Sequence[Waiter[Any]]) -> None:
        if batch[0].command.exclusive:
            self._batcher.run_exclusive(batch[0])
            return
        applied = self._batcher.run(batch)
        self._publish([each.result for each in applied])
