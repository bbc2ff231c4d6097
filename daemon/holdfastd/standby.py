"""Threads for the stop that exist from the start: when the stop begins, the system may start no more threads.

`supervisor.py` makes both before it opens the daemon. Both are daemon threads, so they do not keep the process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Standby:
    """A thread that waits for one function and runs it."""

    def __init__(self, name: str) -> None:
        """Starts the thread. Raises RuntimeError when the system starts no more threads."""
        self._work: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def run(self, work: Callable[[], object]) -> None:
        """Runs the function in the thread; returns at once. Call it once. The function must not raise."""
        self._work.put(work)

    def _run(self) -> None:
        self._work.get()()


class Watchdog:
    """Calls `bite` in its own thread when it was armed and not called off in time."""

    def __init__(self, bite: Callable[[float], None]) -> None:
        """Starts the thread. Raises RuntimeError when the system starts no more threads. `bite` gets the timeout."""
        self._bite = bite
        self._timeout_s: float | None = None
        self._armed, self._called_off = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def arm(self, timeout_s: float) -> None:
        """Starts the clock."""
        self._timeout_s = timeout_s
        self._armed.set()

    def call_off(self) -> None:
        """Ends the watch, armed or not."""
        self._called_off.set()
        self._armed.set()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread."""
        self._thread.join(timeout_s)

    def _watch(self) -> None:
        self._armed.wait()
        if self._timeout_s is not None and not self._called_off.wait(self._timeout_s):
            self._bite(self._timeout_s)
