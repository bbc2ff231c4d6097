"""The writer's queue. Commands are taken by caller, in turn (`rounds.py`). Those of one connection and class keep their order.

There are three classes, by rows and bytes. A batch has commands of one class:

1. Light: a batch has at most `batch_max`, BATCH_ROWS and LIGHT_BATCH_BYTES. Beside 48 busy callers, batches of 1 MiB instead of
   8 MiB halve the longest waits (p99 369 to 467 ms, now 148 to 216), and 1,024 commits of 60 KB take the same time.
2. Heavy: a batch has at most `batch_max`, BATCH_ROWS and BATCH_BYTES. A batch of 256 inserts takes up to 15 ms.
3. Huge: larger than a whole batch of heavy ones, so each is a batch of its own. A commit of 16 MiB takes 0.2 to 0.4 s.

Light batches alternate with the others. After a huge command that other commands waited for, the next one begins only when REST
times as long has passed. So however many are queued, a caller waits for at most one of them, and a caller that makes one small
call after another meets one in fewer than 1 of 100 calls. Without other commands, huge ones follow each other at once.

Not thread-safe: the writer locks it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from holdfastd.model.rounds import Rounds, path_of, remove_where
from holdfastd.writer.batch import Waiter

LIGHT_ROWS, LIGHT_BYTES = 16, 256 * 2**10
# One batch of several commands has at most this much. 256 inserts take about 15 ms.
BATCH_ROWS, BATCH_BYTES, LIGHT_BATCH_BYTES = 256, 8 * 2**20, 2**20
REST = 4

Queue = deque[Waiter[Any]]
IsWanted = Callable[[Waiter[Any]], bool]


class _Apart:
    """Larger commands, taken by caller, in turn."""

    def __init__(self) -> None:
        self._turns: Rounds[Waiter[Any]] = Rounds()

    def __len__(self) -> int:
        return len(self._turns)

    def append(self, waiter: Waiter[Any]) -> None:
        self._turns.append(path_of(waiter.call.peer), waiter)

    def popleft(self) -> Waiter[Any]:
        return self._turns.popleft()

    def take(self, batch_max: int, before: Sequence[Waiter[Any]] = (), max_bytes: int = BATCH_BYTES) -> list[Waiter[Any]]:
        """As many as fit into a batch behind those `before`; an exclusive command alone."""
        batch = list(before)
        rows, size = sum(each.rows for each in batch), sum(each.size_bytes for each in batch)
        while self._turns and len(batch) < batch_max:
            first = self._turns.first()
            rows += first.rows
            size += first.size_bytes
            if batch and (rows > BATCH_ROWS or size > max_bytes or first.command.exclusive):
                break
            batch.append(self._turns.popleft())
            if first.command.exclusive:
                break
        return batch

    def remove_where(self, is_wanted: IsWanted) -> list[Waiter[Any]]:
        return self._turns.remove_where(is_wanted)


class _Light:
    """Light commands. As long as all that wait fit into a batch, they are one, in the order in which they came. When more wait,
    they are sorted by caller."""

    def __init__(self) -> None:
        self._front: Queue = deque()  # what was put back
        self._all: Queue = deque()
        self._rows = self._bytes = 0  # of `_all`
        self._exclusive = False  # whether one in `_all` is
        self._apart = _Apart()  # what came before those in `_all`

    def __len__(self) -> int:
        return len(self._front) + len(self._all) + len(self._apart)

    def append(self, waiter: Waiter[Any]) -> None:
        self._all.append(waiter)
        self._rows += waiter.rows
        self._bytes += waiter.size_bytes
        if waiter.command.exclusive:
            self._exclusive = True

    def put_back(self, waiters: Sequence[Waiter[Any]]) -> None:
        self._front.extendleft(reversed(waiters))

    def take(self, batch_max: int) -> list[Waiter[Any]]:
        """As many as fit into a batch; an exclusive command alone."""
        fits = self._rows <= BATCH_ROWS and self._bytes <= LIGHT_BATCH_BYTES and len(self._all) <= batch_max
        if fits and not (self._exclusive or self._apart or self._front):
            batch = list(self._all)
            self._all_taken()
            return batch
        for each in self._all:
            self._apart.append(each)
        self._all_taken()
        front = [self._front.popleft() for _ in range(min(batch_max, len(self._front)))]  # it fitted into a batch before
        return self._apart.take(batch_max, front, LIGHT_BATCH_BYTES)

    def _all_taken(self) -> None:
        self._all.clear()
        self._rows = self._bytes = 0
        self._exclusive = False

    def remove_where(self, is_wanted: IsWanted) -> list[Waiter[Any]]:
        removed = remove_where(self._front, is_wanted) + self._apart.remove_where(is_wanted)
        of_all = remove_where(self._all, is_wanted)
        self._rows -= sum(each.rows for each in of_all)
        self._bytes -= sum(each.size_bytes for each in of_all)
        return removed + of_all


class Line:
    """The commands that wait.

    Call `take` again when the batch that it returned is done: from that the line knows how long a huge command took.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._light = _Light()
        self._heavy, self._huge = _Apart(), _Apart()
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

    def put_back(self, waiters: Sequence[Waiter[Any]]) -> None:
        """Puts commands that were taken, but not begun, at the front."""
        for each in waiters:
            each.begun = False
        self._light.put_back(waiters)

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
        batch = self._light.take(batch_max)
        self._others_came |= bool(batch) and not batch[0].command.exclusive
        return batch

    def _take_heavy(self, batch_max: int) -> list[Waiter[Any]]:
        batch = self._heavy.take(batch_max)
        self._others_came |= bool(batch)
        return batch

    def _remove_where(self, is_wanted: IsWanted) -> list[Waiter[Any]]:
        return [each for queue in (self._light, self._heavy, self._huge) for each in queue.remove_where(is_wanted)]
