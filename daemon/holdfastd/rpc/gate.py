"""Admission: who may come in, how many at once, and who is inside. Thread-safe.

Short calls and streams have thread pools of their own, so that a thousand followers cannot starve one Get. What finds
its pool full is told when to come again, instead of waiting in a queue without end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from holdfastd.errors import Exhausted, Stopping
from holdfastd.rpc.pool import CallPool

SPARE_THREADS = 4  # so that there is somebody to refuse what is one too many


class Gate:
    """The two pools and the count of calls in progress."""

    def __init__(self, unary_threads: int, stream_threads: int, queue_max: int) -> None:
        self.unary_pool = CallPool(unary_threads, "call")
        self.stream_pool = ThreadPoolExecutor(stream_threads + SPARE_THREADS, thread_name_prefix="stream")
        self._stream_max = stream_threads
        self._queue_max = queue_max
        self._lock = threading.Lock()
        self._unary = self._streams = 0
        self._last_activity = time.monotonic()
        self._stopping = False

    def active_calls(self) -> int:
        """Calls in progress, streams included."""
        return self._unary + self._streams

    def last_activity(self) -> float:
        """When a call last began or ended, by time.monotonic."""
        return self._last_activity

    def stop(self) -> None:
        """Refuses what comes from now on."""
        self._stopping = True

    def close(self) -> None:
        """Lets the threads go when their calls are done."""
        self.unary_pool.shutdown()
        self.stream_pool.shutdown(wait=False, cancel_futures=True)

    def _check(self) -> None:
        if self._stopping:
            raise Stopping("The daemon is stopping; nothing was applied. Reconnect and try again.")

    def enter(self) -> None:
        """Lets a short call in. RESOURCE_EXHAUSTED when more than `queue_max` wait behind it."""
        self._check()
        if self.unary_pool.waiting() > self._queue_max:
            raise Exhausted(
                f"{self._queue_max:,} calls wait already. Try again shortly.", retry_delay_s=0.2, limit=self._queue_max
            )
        with self._lock:
            self._unary += 1

    def leave(self) -> None:
        """The end of a short call that was let in, from whichever thread answers it."""
        with self._lock:
            self._unary -= 1
        self._last_activity = time.monotonic()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A stream for the time of the block. RESOURCE_EXHAUSTED when there are `stream_threads` already."""
        self._check()
        with self._lock:
            if self._streams >= self._stream_max:
                raise Exhausted(
                    f"{self._stream_max:,} streams are open already. Close some or try again.",
                    reason="TOO_MANY_STREAMS",
                    retry_delay_s=1.0,
                    limit=self._stream_max,
                )
            self._streams += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams -= 1
            self._last_activity = time.monotonic()
