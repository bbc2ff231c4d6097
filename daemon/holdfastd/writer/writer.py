"""The writer: a bounded queue and the one thread that empties it, a batch at a time.

Who posts a command needs no thread of his own: he is told in the writer's thread when it is durable. While a batch is
synced the next one gathers, so eight callers cost one sync, one wake-up and no hand-over. Thread-safe.
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
from holdfastd.writer.waiter import Bell, Waiter

Publish = Callable[[Sequence[Any]], None]
Result = TypeVar("Result")

DROP_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class Alone:
    """Not a command of the store: work that needs the writer to stand still."""

    work: Callable[[], Any]


def _alone(waiter: Waiter) -> bool:
    return isinstance(waiter.command, Alone)


class Writer:
    """Applies commands one batch at a time, in the order in which they came.

    queue_max: commands that may wait. batch_max: commands in one transaction.
    publish: called after each batch with its results, in order, before their callers are told.
    """

    def __init__(self, batcher: Batcher, publish: Publish, *, queue_max: int, batch_max: int) -> None:
        self._batcher = batcher
        self._publish = publish
        self._queue_max = queue_max
        self._batch_max = batch_max
        self._lock = threading.Lock()
        self._queue: deque[Waiter] = deque()
        self._busy = self._stopping = self._stopped = False
        self._idle = threading.Condition(self._lock)
        self._next_drop = 0.0
        self._work = Bell()
        threading.Thread(target=self._serve, name="writer", daemon=True).start()

    @property
    def queued(self) -> int:
        """How many commands wait."""
        return len(self._queue)

    @property
    def revision(self) -> int:
        """The newest revision that is durable."""
        return self._batcher.revision

    def post(self, command: object, call: Call, tell: Callable[[Waiter], None]) -> None:
        """Queues the command; `tell` is called once, in the writer's thread, when it is durable or refused.

        Refused is what the store refuses, and what its caller gave up before it was begun: DEADLINE_EXCEEDED or CANCELLED.
        After an error nothing of it is applied. Raises what keeps it out of the queue, and then `tell` is not called:
        RESOURCE_EXHAUSTED when the queue is full, UNAVAILABLE when the daemon is stopping.
        """
        self._enqueue(Waiter(command, call, tell))

    def submit(self, command: object, call: Call) -> Any:
        """As `post`, but waits: returns the result or raises. A deadline that passes in the queue ends the wait at once."""
        bell = Bell()
        waiter = Waiter(command, call, lambda _: bell.ring())
        self._enqueue(waiter)
        if not bell.wait(call.remaining_s()):
            self._give_up(waiter)
            bell.wait()
        return waiter.outcome()

    def alone(self, work: Callable[[], Result], call: Call) -> Result:
        """Does something in the writer's turn while no transaction is open, such as the end of a checkpoint."""
        result: Result = self.submit(Alone(work), call)
        return result

    def stop(self, timeout_s: float) -> bool:
        """Refuses what comes from now on and waits for what is queued; whether all of it is done."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._stopping = True
            while self._busy:
                if not self._idle.wait(deadline - time.monotonic()):
                    return False
            if not self._stopped:
                self._stopped = True
                self._work.ring()
        return True

    def _enqueue(self, waiter: Waiter) -> None:
        if len(self._queue) >= self._queue_max:
            self._drop_dead()
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
            if self._busy:
                return
            self._busy = True
        self._work.ring()

    def _drop_dead(self) -> None:
        """Makes room in a full queue: those who have given up meanwhile go, and are told. Not often, for it looks at all."""
        with self._lock:
            if (now := time.monotonic()) < self._next_drop:
                return
            self._next_drop = now + DROP_INTERVAL_S
            dead = [each for each in self._queue if not each.call.is_active()]
            for each in dead:
                each.begun = True
            self._queue = deque(each for each in self._queue if not each.begun)
        for each in dead:
            each.fail(DeadlineExceeded("The caller gave up in the writer's queue; nothing was applied."))
            each.finish()

    def _give_up(self, waiter: Waiter) -> None:
        """Takes a waiter whose time is up out of the queue, unless it was begun."""
        with self._lock:
            if waiter.begun:
                return
            self._queue.remove(waiter)
        raise DeadlineExceeded("The deadline passed in the writer's queue; nothing was applied. Try again with a longer one.")

    def _serve(self) -> None:
        while True:
            self._work.wait()
            while batch := self._take():
                self._run(batch)
            if self._stopped:
                return

    def _take(self) -> list[Waiter]:
        """What runs next: one that wants to be alone, or all that came before the next such one. Empty when nothing is queued."""
        with self._lock:
            if not self._queue:
                self._busy = False
                self._idle.notify_all()
                return []
            batch = [self._queue.popleft()]
            while self._queue and len(batch) < self._batch_max and not _alone(batch[-1]) and not _alone(self._queue[0]):
                batch.append(self._queue.popleft())
            for each in batch:
                each.begun = True
            return batch

    def _run(self, batch: Sequence[Waiter]) -> None:
        try:
            self._apply(batch)
        except Exception as error:  # nobody foresaw it; each caller's own floor logs it
            for each in batch:
                each.fail(error)
        for each in batch:
            each.finish()

    def _apply(self, batch: Sequence[Waiter]) -> None:
        command = batch[0].command
        if isinstance(command, Alone):
            batch[0].result = command.work()
            return
        applied = self._batcher.run(batch)
        self._publish([each.result for each in applied])
