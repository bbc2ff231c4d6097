"""The threads that run calls: one pool for short calls, one for streams.

grpcio submits calls in its serving thread, which an exception would end, and with it every connection. So neither pool raises
when the system starts no more threads: a short call waits for a thread that there is, and a stream is refused by one of them.

grpcio hands each unary call to `CallPool.submit`, because the handler names the pool as its executor. The pool offers the call
to `MessageFirst`, which receives its message and comes back with `run`; a call that it declines runs as grpcio submitted it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from holdfastd import logs
from holdfastd.rpc.message_first import MessageFirst

log = logs.logger(__name__)


class _Counted(Future[None]):
    """What `submit` gives back. grpcio counts calls with it, for a limit that this daemon does not set."""

    def __init__(self) -> None:
        """Skips Future's own, which makes locks for a result that nobody waits for."""

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Never calls it."""


_COUNTED = _Counted()


class CallPool(ThreadPoolExecutor):
    """At most `threads` threads, each started when work finds no idle one. An exception of the work ends no thread."""

    def __init__(self, threads: int, name: str, message_first: MessageFirst) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._message_first = message_first
        self._work: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = self._idle = 0

    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return self._work.qsize()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Called by grpcio for each call, in its serving thread, with the call's lock held."""
        if not self._message_first.receive(self.run, args):
            self.run(fn, *args)
        return _COUNTED

    def run(self, fn: Callable[..., Any], *args: Any) -> None:
        """Runs `fn` in one of the threads. When none is idle and none starts, `fn` waits for the next one that is."""
        self._start_if_needed()
        self._work.put((fn, args))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the threads, each when its work is done. Does not wait."""
        with self._lock:
            started, self._started = self._started, self._max_workers
        for _ in range(started):
            self._work.put(None)

    def _start_if_needed(self) -> bool:
        """Takes an idle thread or starts one. False when one was needed and the system started none."""
        with self._lock:
            starts = not self._idle and self._started < self._max_workers
            self._idle -= bool(self._idle)
            self._started += starts
        return not starts or self._start()

    def _start(self) -> bool:
        try:
            threading.Thread(target=self._serve, name=f"{self._thread_name_prefix}_{self._started - 1}", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._started -= 1
            log.exception("call_thread_not_started", extra={"pool": self._thread_name_prefix, "threads": self._started})
            return False
        return True

    def _serve(self) -> None:
        work = self._work.get()  # a new thread does not count as idle: `run` started it for this work
        while work is not None:
            fn, args = work
            try:
                fn(*args)
            except BaseException:  # SystemExit too: a thread that died would still count as started
                log.exception("call_thread_failed")
            del work, fn, args
            work = self._next()

    def _next(self) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        try:
            return self._work.get_nowait()
        except queue.Empty:
            with self._lock:
                self._idle += 1
        return self._work.get()


class StreamPool(CallPool):
    """The threads of streams. A stream for which no thread starts is refused: it would wait until another stream ends.

    refuses: a pool whose thread makes the call that `submit` was given, with `refusing` set for its time.
    """

    def __init__(self, threads: int, name: str, refuses: CallPool) -> None:
        super().__init__(threads, name, refuses._message_first)
        self._refuses = refuses
        self._refused = threading.local()

    @property
    def refusing(self) -> bool:
        """Whether the call that this thread makes has no thread of its own, so that its handler must refuse it."""
        return getattr(self._refused, "now", False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Called by grpcio for each stream, in its serving thread."""
        if self._start_if_needed():
            self._work.put((fn, args))
        else:
            self._refuses.run(self._refuse, fn, args)
        return _COUNTED

    def _refuse(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._refused.now = True
        try:
            fn(*args)
        finally:
            self._refused.now = False
