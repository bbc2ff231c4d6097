"""Admission of calls: limits and counts the calls in progress. Thread-safe.

Short calls and streams have separate thread pools, so that open streams cannot take the threads of short calls. Short calls
wait in a bounded queue. When that is full, or all streams are open, a call is refused with a delay after which to retry.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfastd.errors import Exhausted, Stopping
from holdfastd.model.budget import Budget, Claim, Holder, NoRoom
from holdfastd.model.call import Peer
from holdfastd.model.turns import Turns
from holdfastd.rpc.message_first import MessageFirst
from holdfastd.rpc.peers import Peers
from holdfastd.rpc.pool import CallPool, StreamPool

# More would only wait for a reader. Each needs up to three times the size of its answer: the rows, the message, its encoding.
ANSWERS_AT_ONCE = 6
UNLIMITED_BYTES = 2**62
SPARE_THREADS = 4  # beyond the limit, so that a refused stream has a thread to send RESOURCE_EXHAUSTED from


def _stopping() -> Stopping:
    return Stopping("The daemon is stopping; nothing was applied. Reconnect and try again.")


class Gate:
    """The two pools and the count of calls in progress.

    peers: knows the callers. budget: the memory that all calls share; None: it is not limited.
    answers: limits how many answers of reads are built at once. pauses: the callers whose answers are not built now.
    """

    def __init__(
        self,
        unary_threads: int,
        stream_threads: int,
        queue_max: int,
        peers: Peers,
        message_first: MessageFirst | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.peers = peers
        self.budget = budget or Budget(UNLIMITED_BYTES)
        self.answers = Turns(ANSWERS_AT_ONCE)
        self.message_first = message_first or MessageFirst()
        self.pauses = self.message_first.receipts.pauses
        self.unary_pool = CallPool(unary_threads, "call", self.message_first)
        self.stream_pool = StreamPool(stream_threads + SPARE_THREADS, "stream", self.unary_pool)
        self._stream_max = stream_threads
        self._queue_max = queue_max
        self._lock = threading.Lock()
        self._unary = self._streams = 0
        self._streams_of: Counter[str] = Counter()  # by connection
        self._last_activity = time.monotonic()
        self._refusal: Callable[[], Stopping] | None = None

    @property
    def streams_a_connection(self) -> int:
        """The most streams that one connection can have open: as many as are left for others."""
        return self._stream_max // 2

    def active_calls(self) -> int:
        """Calls in progress, streams included."""
        return self._unary + self._streams

    def last_activity(self) -> float:
        """When a call last ended, by time.monotonic; when the daemon started if none has."""
        return self._last_activity

    def warnings(self) -> list[str]:
        """Warnings for `GetStatus`."""
        return self.message_first.warnings()

    def stop(self, refusal: Callable[[], Stopping] = _stopping) -> None:
        """Refuses all calls that arrive from now on. refusal: makes the error that they get."""
        self._refusal = refusal

    def close(self) -> None:
        """Ends each thread when its call is done. Does not wait."""
        self.unary_pool.shutdown()
        self.stream_pool.shutdown()
        self.message_first.receipts.close()

    def claim_of(self, peer: Peer) -> Claim:
        """A claim on memory for a new call. Raises RESOURCE_EXHAUSTED when the caller holds its share already."""
        if self.budget.is_over_share(peer):
            raise NoRoom(0)
        return Claim(self.budget, peer)

    def enter(self) -> None:
        """Counts a short call as begun. Call `leave` when it is answered."""
        with self._lock:
            self._unary += 1

    def check_short(self, peer: Holder) -> None:
        """Raises UNAVAILABLE when the daemon stops, and RESOURCE_EXHAUSTED when more than `queue_max` calls wait for a thread and
        this caller has its share of them."""
        self._check_stopping()
        if self.unary_pool.waiting() > self._queue_max:
            own, callers = self.unary_pool.waiting_of(peer)
            if own * callers >= self._queue_max:
                raise Exhausted(
                    f"{own:,} calls of this connection are waiting. Try again shortly.", retry_delay_s=0.2, limit=self._queue_max
                )

    def leave(self) -> None:
        """Counts a short call as ended. Any thread may call it."""
        with self._lock:
            self._unary -= 1
        self._last_activity = time.monotonic()

    def _check_stopping(self) -> None:
        if self._refusal is not None:
            raise self._refusal()

    @contextmanager
    def stream(self, peer: Peer) -> Iterator[None]:
        """Counts a stream while the block runs. Raises RESOURCE_EXHAUSTED when `stream_threads` streams are open, when this
        connection has as many as are free, or when the system could not start a thread for it."""
        self._check_stopping()
        if self.stream_pool.refusing:
            raise Exhausted(
                "The system starts no more threads for streams. Try again, or raise the limit of processes (`ulimit -u`).",
                reason="TOO_MANY_STREAMS",
                retry_delay_s=1.0,
            )
        with self._lock:
            free = self._stream_max - self._streams
            if self._streams_of[peer.connection] >= free:
                raise self._too_many(self._streams_of[peer.connection])
            self._streams += 1
            self._streams_of[peer.connection] += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams -= 1
                self._streams_of[peer.connection] -= 1
                if not self._streams_of[peer.connection]:
                    del self._streams_of[peer.connection]
            self._last_activity = time.monotonic()

    def _too_many(self, of_caller: int) -> Exhausted:
        return Exhausted(
            f"{self._streams:,} of {self._stream_max:,} streams are open, {of_caller:,} of them by this connection. "
            "Close some or try again.",
            reason="TOO_MANY_STREAMS",
            retry_delay_s=1.0,
            limit=self._stream_max,
        )
