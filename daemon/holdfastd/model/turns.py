"""Places for work of which little may run at once, such as reading; given out by caller, in turn.

A connection may hold as many places as are free, and a process with several connections twice as many. So one with many calls or
connections leaves some for the others. A place that is given back goes to the caller whose turn it is
(`rounds.py`). With a semaphore, one caller's lists would wait in front of another's get.

Long work may hold half of the places, and a process as many of these as are free. So however many long reads there are, short
ones wait only for each other.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from holdfastd.model.budget import Holder, Patience
from holdfastd.model.rounds import Rounds, path_of


class Work(Patience, Protocol):
    """What needs a place; `model.call.Call` is one. is_long: whether it may take much longer than a look-up."""

    @property
    def peer(self) -> Holder: ...

    @property
    def is_long(self) -> bool: ...


class _Wait:
    """Work that waits for a place."""

    __slots__ = ("ended", "taken", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.taken = False
        self.ended = threading.Event()


class Shares:
    """What each process and each connection holds of places whose number the caller knows. Not thread-safe."""

    def __init__(self) -> None:
        self._processes: dict[tuple[int, int], int] = {}
        self._connections: dict[str, int] = {}

    def admits(self, caller: Holder, free: int) -> bool:
        """Whether the connection may hold one more while so many are free."""
        of_process = self._processes.get((caller.uid, caller.pid), 0)
        return self._connections.get(caller.connection, 0) < free and of_process < 2 * free

    def admits_process(self, caller: Holder, free: int) -> bool:
        """Whether the process may hold one more while so many are free, whatever its connection holds."""
        return self._processes.get((caller.uid, caller.pid), 0) < free

    def add(self, caller: Holder, count: int) -> None:
        """Notes that the caller holds more; less when negative."""
        process = (caller.uid, caller.pid)
        self._processes[process] = of_process = self._processes.get(process, 0) + count
        self._connections[caller.connection] = of_connection = self._connections.get(caller.connection, 0) + count
        if not of_connection:  # keep the tables as small as the number of callers of now
            del self._connections[caller.connection]
            if not of_process:
                del self._processes[process]


class Turns:
    """The places. Thread-safe. Taking one that is free takes two microseconds."""

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free, self._free_long = places, max(1, places // 2)
        self._short, self._long = Shares(), Shares()
        self._short_waits: Rounds[_Wait] = Rounds()
        self._long_waits: Rounds[_Wait] = Rounds()
        self._closed = False

    @contextmanager
    def place(self, work: Work) -> Iterator[None]:
        """Waits for a place and holds it while the block runs. Raises CANCELLED or DEADLINE_EXCEEDED when the caller goes."""
        is_long = work.is_long
        while not self.take(work):
            work.check()
        try:
            yield
        finally:
            self.give(work.peer, is_long)

    def take(self, work: Work, patience_s: float | None = None) -> bool:
        """Takes a place; waits for it while the caller waits, at most `patience_s`. Returns whether it did. `give` it back."""
        with self._lock:
            if self._closed:
                return False
            if not self._waits(work.is_long) and self._admits(work):
                self._add(work.peer, work.is_long, 1)
                return True
            wait = _Wait(work)
            self._waits(work.is_long).append(path_of(work.peer), wait)
            self._admit_waiting()  # it may be the turn of this caller although others wait
        return wait.taken or self._wait(wait, patience_s)

    def give(self, caller: Holder, is_long: bool) -> None:
        """Gives a place back."""
        with self._lock:
            self._add(caller, is_long, -1)
            self._admit_waiting()

    def close(self) -> None:
        """Ends all waits without a place, also those to come."""
        with self._lock:
            self._closed = True
            waits = self._short_waits.remove_where(lambda _: True) + self._long_waits.remove_where(lambda _: True)
        for each in waits:
            each.ended.set()

    def _wait(self, wait: _Wait, patience_s: float | None) -> bool:
        wait.work.on_end(wait.ended.set)
        remaining_s = wait.work.remaining_s()
        limits_s = [each for each in (patience_s, remaining_s) if each is not None]
        wait.ended.wait(min(limits_s) if limits_s else None)
        with self._lock:
            if not wait.taken:
                self._waits(wait.work.is_long).remove_where(lambda each: each is wait)
        return wait.taken

    def _waits(self, is_long: bool) -> Rounds[_Wait]:
        return self._long_waits if is_long else self._short_waits

    def _admits(self, work: Work) -> bool:
        if work.is_long:
            return self._free > 0 and self._long.admits_process(work.peer, self._free_long)
        return self._short.admits(work.peer, self._free)

    def _add(self, caller: Holder, is_long: bool, count: int) -> None:
        self._free -= count
        if is_long:
            self._free_long -= count
        (self._long if is_long else self._short).add(caller, count)

    def _admit_waiting(self) -> None:
        for waits in (self._short_waits, self._long_waits):
            while waits and self._free and (wait := waits.pop_first(lambda each: self._admits(each.work))) is not None:
                self._add(wait.work.peer, wait.work.is_long, 1)
                wait.taken = True
                wait.ended.set()
