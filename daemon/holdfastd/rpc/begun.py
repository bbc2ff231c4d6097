"""Counts the calls that a connection began, from the frames that its caller sends (HTTP/2, RFC 9113, section 4.1).

gRPC bounds the calls of a connection, and the front door the connections of a process. But when a connection ends, the serving
thread has yet to take each of its calls, in 0.2 to 0.4 ms. A process that opened connection after connection, with 60 calls
begun in each, had half a million of them waiting after ten seconds: 4 GB, and every other call failed. So the calls of a
connection that ended count for its process a while longer, and above a limit its next connections wait (`Spent`).
"""

from __future__ import annotations

from holdfastd.rpc.refusal import PREFACE

CALLS_MAX = 256  # as many as a connection may have at once
FRAMES_MAX = 1_000  # then the connection counts as one with CALLS_MAX, so that small frames cost the door no time
CALL_S, FREE_S, MOST_S = 0.001, 0.5, 8.0

_HEAD_BYTES, _HEADERS = 9, 1


class Begun:
    """The calls of one connection."""

    __slots__ = ("_calls", "_frames", "_head", "_skip")

    def __init__(self) -> None:
        self._calls = self._frames = 0
        self._head = b""  # the begun head of a frame
        self._skip = len(PREFACE)  # bytes until the next head

    def calls(self) -> int:
        """How many were begun, at most CALLS_MAX."""
        return min(self._calls, CALLS_MAX)

    def read(self, data: memoryview) -> bool:
        """Reads what the caller sent next. Returns False when there is no more to count."""
        place = self._skip
        if self._head:
            data = memoryview(self._head + bytes(data))
            self._head = b""
        while place + _HEAD_BYTES <= len(data):
            head = data[place : place + _HEAD_BYTES]
            self._frames += 1
            self._calls += head[3] == _HEADERS
            if self._frames >= FRAMES_MAX or self._calls >= CALLS_MAX:
                self._calls = CALLS_MAX
                return False
            place += _HEAD_BYTES + (head[0] << 16 | head[1] << 8 | head[2])
        self._head = bytes(data[place:])
        self._skip = max(0, place - len(data))
        return True


class Spent:
    """What the ended connections of each process count for, in seconds; it decreases as time passes. For the door's thread."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}  # by pid

    def ended(self, pid: int, calls: int, now: float) -> None:
        """A connection of this process ended, with so many calls begun."""
        self._until[pid] = min(max(self._until.get(pid, now), now) + calls * CALL_S, now + MOST_S)

    def free_at(self, pid: int) -> float:
        """From when on the process may have another connection."""
        return self._until.get(pid, 0.0) - FREE_S

    def forget_old(self, now: float) -> None:
        """Forgets the processes that nothing counts for any more."""
        self._until = {pid: until for pid, until in self._until.items() if until > now}
