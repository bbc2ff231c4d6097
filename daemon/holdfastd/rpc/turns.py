"""Places for work of which little may run at once, such as building the answers of reads; given out by connection, in turn.

A connection may hold as many places as are free, so that one with many calls leaves some for the others. A place that is given
back goes to the connection whose turn it is. With a semaphore, one connection's lists would wait in front of another's get.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """The places. Thread-safe."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()  # by connection, the next one first

    @contextmanager
    def place(self, connection: str) -> Iterator[None]:
        """Waits for a place and holds it while the block runs."""
        self._take(connection)
        try:
            yield
        finally:
            self._give(connection)

    def _take(self, connection: str) -> None:
        with self._lock:
            if connection not in self._waiting and self._admits(connection):
                self._hold(connection)
                return
            turn = threading.Event()
            self._waiting.setdefault(connection, deque()).append(turn)
        turn.wait()

    def _give(self, connection: str) -> None:
        with self._lock:
            self._free += 1
            self._held[connection] -= 1
            if not self._held[connection]:
                del self._held[connection]
            while (admitted := next(filter(self._admits, self._waiting), None)) is not None:
                self._admit(admitted)

    def _admits(self, connection: str) -> bool:
        return self._held[connection] < self._free

    def _hold(self, connection: str) -> None:
        self._free -= 1
        self._held[connection] += 1

    def _admit(self, connection: str) -> None:
        queue = self._waiting[connection]
        self._waiting.move_to_end(connection)
        self._hold(connection)
        queue.popleft().set()
        if not queue:
            del self._waiting[connection]
