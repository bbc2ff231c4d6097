"""The writer: a bounded queue whose first waiter leads the batch.

No thread of its own: the thread that finds nobody writing takes what is queued, runs it as one batch, wakes the others
and hands the lead to the first that came meanwhile (LevelDB's way: `DBImpl::Write`). A lone caller thus never waits for
another thread to wake up. Thread-safe.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfastd.errors import DeadlineExceeded, Exhausted, Stopping
from holdfastd.model.call import Call
from holdfastd.writer.batch import Batcher
from holdfastd.writer.waiter import Waiter

Publish = Callable[[Sequence[Any]], None]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Alone:
    """Not a command of the store: work that needs the writer to stand still."""

    work: Callable[[], Any]


def _alone(waiter: Waiter) -> bool:
    return isinstance(waiter.command, Alone)


class Writer:
    """Applies commands one batch at a time, in the order in which they came.

    queue_max: commands that may wait. batch_max: commands in one transaction.
    publish: called after each batch with its results, in order, before their callers are woken.
    """

    def __init__(self, batcher: Batcher, publish: Publish, *, queue_max: int, batch_max: int) -> None:
        self._batcher = batcher
        self._publish = publish
        self._queue_max = queue_max
        self._batch_max = batch_max
        self._lock = threading.Lock()
        self._queue: deque[Waiter] = deque()
        self._led = False
        self._stopping = False
        self._idle = threading.Condition(self._lock)

    @property
    def queued(self) -> int:
        """How many commands wait."""
        return len(self._queue)

    def submit(self, command: object, call: Call) -> Any:
        """Applies the command durably and returns its result.

        Raises what refused it; RESOURCE_EXHAUSTED when the queue is full, DEADLINE_EXCEEDED or CANCELLED when the caller
        gave up before it was begun, UNAVAILABLE when the daemon is stopping. After an error nothing of it is applied.
        """
        waiter = Waiter(command, call)
        if not self._enqueue(waiter):
            self._await_turn(waiter)
        if not waiter.done:
            self._lead()
        return waiter.outcome()

    def alone(self, work: Callable[[], Result], call: Call) -> Result:
        """Does something in the writer's turn while no transaction is open, such as the end of a checkpoint."""
        result: Result = self.submit(Alone(work), call)
        return result

    def _enqueue(self, waiter: Waiter) -> bool:
        """Whether the waiter leads at once."""
        with self._lock:
            if self._stopping:
                raise Stopping("The daemon is stopping; nothing was applied. Reconnect and try again.")
            if len(self._queue) >= self._queue_max:
                raise Exhausted(
                    f"{self._queue_max:,} commits wait for the writer already; nothing was applied. Try again shortly.",
                    retry_delay_s=0.1,
                    limit=self._queue_max,
                )
            self._queue.append(waiter)
            if self._led:
                return False
            self._led = True
            return True

    def _await_turn(self, waiter: Waiter) -> None:
        """Returns when the waiter is done or leads; raises when its time is up before it was begun."""
        if waiter.wait(waiter.call.remaining_s()):
            return
        with self._lock:
            if not waiter.begun and not waiter.leads:
                self._queue.remove(waiter)
                raise DeadlineExceeded(
                    "The deadline passed in the writer's queue; nothing was applied. Try again with a longer one."
                )
        waiter.wait(None)

    def _lead(self) -> None:
        batch = self._take()
        try:
            self._run(batch)
        except BaseException as error:
            for each in batch:
                each.fail(error if isinstance(error, Exception) else Stopping("The daemon is stopping."))
            raise
        finally:
            self._hand_over()
            self._wake(batch)

    def _take(self) -> list[Waiter]:
        """What runs next: one that wants to be alone, or all that came before the next such one."""
        with self._lock:
            batch = [self._queue.popleft()]
            while self._queue and len(batch) < self._batch_max and not _alone(batch[-1]) and not _alone(self._queue[0]):
                batch.append(self._queue.popleft())
            for each in batch:
                each.begun = True
            return batch

    def _run(self, batch: Sequence[Waiter]) -> None:
        command = batch[0].command
        if isinstance(command, Alone):
            batch[0].result = command.work()
            return
        applied = self._batcher.run(batch)
        self._publish([each.result for each in applied])

    def _hand_over(self) -> None:
        with self._lock:
            if self._queue:
                self._queue[0].leads = True
                self._queue[0].wake()
            else:
                self._led = False
                self._idle.notify_all()

    def _wake(self, batch: Sequence[Waiter]) -> None:
        leader = batch[0]
        leader.done = True
        for each in batch[1:]:
            each.done = True
            each.wake()

    def stop(self, timeout_s: float) -> bool:
        """Refuses what comes from now on and waits for what is queued; whether all of it is done."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._stopping = True
            while self._led:
                if not self._idle.wait(deadline - time.monotonic()):
                    return False
        return True
