"""The writer's queue. Light commands are taken in the order in which they came; heavy ones by connection, in turn.

A heavy commit may take a tenth of a second, so a batch has either light commands or heavy ones, and they alternate while both
wait: a light command waits for at most one batch of heavy ones, however many are queued. Not thread-safe: the writer locks it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

from holdfastd.writer.batch import Waiter

LIGHT_ROWS, LIGHT_BYTES = 16, 256 * 2**10
# One batch of heavy commands has at most this much, or one command. 256 inserts take about 15 ms.
BATCH_ROWS, BATCH_BYTES = 256, 8 * 2**20

Queue = deque[Waiter[Any]]


class Line:
    """The commands that wait."""

    def __init__(self) -> None:
        self._light: Queue = deque()
        self._heavy: OrderedDict[str, Queue] = OrderedDict()  # by connection, the next one first
        self._heavy_count = 0
        self._heavy_turn = False

    def __len__(self) -> int:
        return len(self._light) + self._heavy_count

    def append(self, waiter: Waiter[Any]) -> None:
        """Adds a command at the end."""
        if waiter.command.rows <= LIGHT_ROWS and waiter.call.claim.held_bytes <= LIGHT_BYTES:
            self._light.append(waiter)
        else:
            self._heavy.setdefault(waiter.call.peer.connection, deque()).append(waiter)
            self._heavy_count += 1

    def put_back(self, waiters: Iterable[Waiter[Any]]) -> None:
        """Puts commands that were taken, but not begun, at the front."""
        for each in waiters:
            each.begun = False
        self._light.extendleft(reversed(list(waiters)))

    def remove(self, waiter: Waiter[Any]) -> None:
        """Removes a command. ValueError when it is not in the queue."""
        self._remove_where(lambda each: each is waiter)

    def remove_dead(self) -> list[Waiter[Any]]:
        """Removes the commands whose callers no longer wait, and returns them."""
        return self._remove_where(lambda each: not each.call.is_active())

    def take(self, batch_max: int) -> list[Waiter[Any]]:
        """The next batch: one exclusive command, or up to `batch_max` others. Empty when nothing waits."""
        self._heavy_turn = bool(self._heavy) and (self._heavy_turn or not self._light)
        batch = self._take_heavy(batch_max) if self._heavy_turn else self._take_light(batch_max)
        self._heavy_turn = not self._heavy_turn
        for each in batch:
            each.begun = True
        return batch

    def _take_light(self, batch_max: int) -> list[Waiter[Any]]:
        light = self._light
        batch = [light.popleft()] if light else []
        if batch and not batch[0].command.exclusive:
            while light and len(batch) < batch_max and not light[0].command.exclusive:
                batch.append(light.popleft())
        return batch

    def _take_heavy(self, batch_max: int) -> list[Waiter[Any]]:
        batch: list[Waiter[Any]] = []
        rows = size = 0
        while self._heavy and len(batch) < batch_max:
            connection, queue = next(iter(self._heavy.items()))
            rows += queue[0].command.rows
            size += queue[0].call.claim.held_bytes
            if batch and (rows > BATCH_ROWS or size > BATCH_BYTES):
                break
            batch.append(queue.popleft())
            self._heavy_count -= 1
            self._heavy.move_to_end(connection)
            if not queue:
                del self._heavy[connection]
        return batch

    def _remove_where(self, is_wanted: Callable[[Waiter[Any]], bool]) -> list[Waiter[Any]]:
        removed = []
        for queue in (self._light, *self._heavy.values()):
            found = [each for each in queue if is_wanted(each)]
            for each in found:
                queue.remove(each)
            removed += found
        for connection in [each for each, queue in self._heavy.items() if not queue]:
            del self._heavy[connection]
        self._heavy_count = sum(map(len, self._heavy.values()))
        return removed
