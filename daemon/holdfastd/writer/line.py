"""The writer's queue. Light commands are taken in the order in which they came; larger ones by connection, in turn.

There are three classes, by rows and bytes. A batch has commands of one class:

1. Light: up to `batch_max` in a batch.
2. Heavy: a batch has at most BATCH_ROWS and BATCH_BYTES. Such a batch takes up to 15 ms.
3. Huge: larger than a whole batch of heavy ones, so each is a batch of its own. A commit of 16 MiB takes 0.2 to 0.4 s.

Light batches alternate with the others. After a huge command that other commands waited for, the next one begins only when REST
times as long has passed. So however many are queued, a caller waits for at most one of them, and a caller that makes one small
call after another meets one in fewer than 1 of 100 calls. Without other commands, huge ones follow each other at once.

Not thread-safe: the writer locks it.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

from holdfastd.writer.batch import Waiter

LIGHT_ROWS, LIGHT_BYTES = 16, 256 * 2**10
# One batch of heavy commands has at most this much. 256 inserts take about 15 ms.
BATCH_ROWS, BATCH_BYTES = 256, 8 * 2**20
REST = 4

Queue = deque[Waiter[Any]]


class _Turns:
    """Commands that are taken by connection, in turn."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, Queue] = OrderedDict()  # by connection, the next one first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, waiter: Waiter[Any]) -> None:
        self._queues.setdefault(waiter.call.peer.connection, deque()).append(waiter)
        self._count += 1

    def first(self) -> Waiter[Any]:
        """The command that `popleft` takes. There must be one."""
        return next(iter(self._queues.values()))[0]

    def popleft(self) -> Waiter[Any]:
        connection, queue = next(iter(self._queues.items()))
        self._count -= 1
        self._queues.move_to_end(connection)
        waiter = queue.popleft()
        if not queue:
            del self._queues[connection]
        return waiter

    def remove_where(self, is_wanted: Callable[[Waiter[Any]], bool]) -> list[Waiter[Any]]:
        removed = [each for queue in self._queues.values() for each in _remove_where(queue, is_wanted)]
        self._queues = OrderedDict((connection, queue) for connection, queue in self._queues.items() if queue)
        self._count -= len(removed)
        return removed


class Line:
    """The commands that wait.

    Call `take` again when the batch that it returned is done: from that the line knows how long a huge command took.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._light: Queue = deque()
        self._heavy, self._huge = _Turns(), _Turns()
        self._larger_turn = False
        self._huge_began_s: float | None = None
        self._rest = REST
        self._rest_until_s = 0.0
        self._others_came = False  # since the last huge command

    def __len__(self) -> int:
        return len(self._light) + len(self._heavy) + len(self._huge)

    def append(self, waiter: Waiter[Any]) -> None:
        """Adds a command at the end."""
        if waiter.rows <= LIGHT_ROWS and waiter.size_bytes <= LIGHT_BYTES:
            self._light.append(waiter)
        elif waiter.rows <= BATCH_ROWS and waiter.size_bytes <= BATCH_BYTES:
            self._heavy.append(waiter)
        else:
            self._huge.append(waiter)

    def put_back(self, waiters: Iterable[Waiter[Any]]) -> None:
        """Puts commands that were taken, but not begun, at the front."""
        for each in waiters:
            each.begun = False
        self._light.extendleft(reversed(list(waiters)))

    def remove(self, waiter: Waiter[Any]) -> None:
        """Removes a command. Does nothing when it is not in the queue."""
        self._remove_where(lambda each: each is waiter)

    def remove_dead(self) -> list[Waiter[Any]]:
        """Removes the commands whose callers no longer wait, and returns them."""
        return self._remove_where(lambda each: not each.call.is_active())

    def take(self, batch_max: int) -> list[Waiter[Any]]:
        """The next batch: one exclusive or huge command, or up to `batch_max` others. Empty when none may begin yet."""
        if self._huge_began_s is not None:
            now_s = self._clock_s()
            self._rest_until_s = now_s + self._rest * (now_s - self._huge_began_s)
            self._huge_began_s = None
        batch = self._take_larger(batch_max) if self._larger_turn or not self._light else []
        self._larger_turn = not batch
        if not batch:
            batch = self._take_light(batch_max)
        for each in batch:
            each.begun = True
        return batch

    def rest_s(self) -> float | None:
        """After `take` returned nothing: how long until a huge command may begin; None when the queue is empty."""
        return max(0.0, self._rest_until_s - self._clock_s()) if self._huge else None

    def end_rests(self) -> None:
        """From now on, huge commands follow each other at once; for the daemon's stop."""
        self._rest, self._rest_until_s = 0, 0.0

    def _take_larger(self, batch_max: int) -> list[Waiter[Any]]:
        if not self._huge or (self._others_came and self._clock_s() < self._rest_until_s):
            return self._take_heavy(batch_max)
        self._huge_began_s = self._clock_s()
        self._others_came = False
        return [self._huge.popleft()]

    def _take_light(self, batch_max: int) -> list[Waiter[Any]]:
        light = self._light
        batch = [light.popleft()] if light else []
        if batch and not batch[0].command.exclusive:
            self._others_came = True
            while light and len(batch) < batch_max and not light[0].command.exclusive:
                batch.append(light.popleft())
        return batch

    def _take_heavy(self, batch_max: int) -> list[Waiter[Any]]:
        batch: list[Waiter[Any]] = []
        rows = size = 0
        while self._heavy and len(batch) < batch_max:
            first = self._heavy.first()
            rows += first.rows
            size += first.size_bytes
            if batch and (rows > BATCH_ROWS or size > BATCH_BYTES):
                break
            batch.append(self._heavy.popleft())
            self._others_came = True
        return batch

    def _remove_where(self, is_wanted: Callable[[Waiter[Any]], bool]) -> list[Waiter[Any]]:
        return [*_remove_where(self._light, is_wanted), *self._heavy.remove_where(is_wanted), *self._huge.remove_where(is_wanted)]


def _remove_where(queue: Queue, is_wanted: Callable[[Waiter[Any]], bool]) -> list[Waiter[Any]]:
    found = [each for each in queue if is_wanted(each)]
    for each in found:
        queue.remove(each)
    return found
