"""Counts the calls that a connection begins, from the frames that its caller sends (HTTP/2, RFC 9113, section 4.1).

gRPC bounds the calls of a connection, but not those of a process with many connections, and the serving thread takes 0.2 to
0.4 ms for each, also when its connection has ended. A process that opened connection after connection, with 60 calls begun in
each, had half a million of them waiting after ten seconds: 4 GB, and every other call failed. So the first calls of each
connection count for its process for a while, and above a limit its new connections wait, and those that are new are not read.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfastd.rpc.refusal import PREFACE

CALLS_MAX = 256  # the first calls of a connection, which count; so many it may have at once
FRAMES_MAX = 1_000  # then the connection counts as one with CALLS_MAX, so that small frames cost the door no time
CALL_S, FREE_S, MOST_S = 0.001, 0.6, 8.0

_HEAD_BYTES, _HEADERS = 9, 1


class Begun:
    """The first calls of one connection."""

    __slots__ = ("_calls", "_frames", "_head", "_skip", "is_over", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.is_over = False  # nothing is counted any more
        self._calls = self._frames = 0
        self._head = b""  # the begun head of a frame
        self._skip = len(PREFACE)  # bytes until the next head

    def take(self) -> int:
        """How many calls were begun since the last time."""
        calls, self._calls = self._calls, 0
        return calls

    def read(self, data: memoryview) -> None:
        """Reads what the caller sent next."""
        place, calls = self._skip, 0
        if self._head:
            data = memoryview(self._head + bytes(data))
        while place + _HEAD_BYTES <= len(data):
            head = data[place : place + _HEAD_BYTES]
            self._frames += 1
            calls += head[3] == _HEADERS
            if self._frames >= FRAMES_MAX or calls >= CALLS_MAX:
                self.is_over, calls = True, CALLS_MAX
                break
            place += _HEAD_BYTES + (head[0] << 16 | head[1] << 8 | head[2])
        self._calls += calls
        self._head = bytes(data[place:])
        self._skip = max(0, place - len(data))


class Spent:
    """What the calls of each process count for, in seconds; it decreases as time passes. For the door's thread."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}  # by pid

    def add(self, pid: int, calls: int, now: float) -> None:
        """New connections of this process began so many calls."""
        self._until[pid] = min(max(self._until.get(pid, now), now) + calls * CALL_S, now + MOST_S)

    def free_at(self, pid: int) -> float:
        """From when on the process may begin more."""
        return self._until.get(pid, 0.0) - FREE_S

    def forget_old(self, now: float) -> None:
        """Forgets the processes that nothing counts for any more."""
        self._until = {pid: until for pid, until in self._until.items() if until > now}


class Waits:
    """What goes on when its process may begin more calls. For the door's thread."""

    def __init__(self, spent: Spent) -> None:
        self._spent = spent
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._until = 0.0  # when the first of them goes on, or later

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, pid: int, then: Callable[[], None]) -> None:
        """Calls `then` from `end` as soon as the process may begin more."""
        until = self._spent.free_at(pid)
        self._until = min(self._until, until) if self._waiting else until
        self._waiting.append((pid, then))

    def due(self) -> list[float]:
        """When to call `end`; empty if nothing waits."""
        return [self._until] if self._waiting else []

    def end(self, now: float) -> None:
        """Goes on with what need not wait any longer."""
        if now < self._until:
            return
        waiting, self._waiting = self._waiting, []
        for pid, then in waiting:
            if self._spent.free_at(pid) <= now:
                then()
            else:
                self.add(pid, then)
