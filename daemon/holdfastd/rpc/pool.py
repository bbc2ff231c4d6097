"""The threads of short calls, and the way of a short call to one of them.

grpcio's synchronous server takes a thread for a unary call when its headers come, wakes it again when its message is there,
and holds it until there is an answer: three wake-ups under the GIL for a commit, which cost more than the commit (0.47 of a
no-op call at eight callers). Here the message is received first, by the thread that serves the socket. A use case that
never waits is then run by that same thread; another goes to the pool (0.85 of the no-op call in the same run).

grpcio has no public way to this. What it lends is the executor of a handler (`experimental_thread_pool`), whose `submit` sees
the call; what is done with it here is what `grpc._server` does for a unary call. Where a version of grpcio passes something else
or lacks what is used, the call takes grpcio's own way, with the same answer: `tests/end_to_end/test_call_pool.py` holds both.
"""

from __future__ import annotations

import importlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from holdfastd import logs

# More is decoded and checked in the pool, lest everybody wait for it: what 4 KiB can hold takes a millisecond or two.
SMALL_REQUEST_BYTES = 4 * 2**10

Receive = Callable[[bytes, Any, Callable[[Any], None]], None]  # encoded request, context, send


def _private(name: str) -> Any:
    """A module of grpcio's own; None where there is none of that name."""
    with suppress(ImportError):
        return importlib.import_module(name)
    return None


grpc_server, cygrpc = _private("grpc._server"), _private("grpc._cython.cygrpc")
_NEEDED = (
    *("_stream_response_in_pool", "_Context", "_abort", "_possibly_finish_call", "_status"),
    *("_RECEIVE_MESSAGE_TOKEN", "_OPEN", "_CLOSED"),
)
_NEEDED_OF_CORE = ("ReceiveMessageOperation", "StatusCode")
KNOWS_GRPCIO = all(hasattr(grpc_server, each) for each in _NEEDED) and all(hasattr(cygrpc, each) for each in _NEEDED_OF_CORE)

log = logs.logger(__name__)


class _Counted(Future[None]):
    """What grpcio gets back for a call. It counts calls by it, for a limit that is not set here."""

    def __init__(self) -> None:
        """Makes none of the locks of a future that somebody waits for."""

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Nobody is told."""


_COUNTED = _Counted()


class CallPool(ThreadPoolExecutor):
    """At most so many threads, started when they are needed.

    receive_first: whether calls take the shorter way; those of which it is not known how take grpcio's own all the same.
    """

    def __init__(self, threads: int, name: str, receive_first: bool = KNOWS_GRPCIO) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._receive_first = receive_first
        self._work: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = self._idle = 0

    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return self._work.qsize()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Called by grpcio for each call, in the thread that serves the socket, with the call's lock held."""
        if not (self._receive_first and _receive(self, args)):
            self.run(fn, *args)
        return _COUNTED

    def run(self, fn: Callable[..., Any], *args: Any) -> None:
        """Runs it in one of the threads. RuntimeError when there is none and none can be started; then it is never run."""
        with self._lock:
            starts = not self._idle and self._started < self._max_workers
            self._idle -= bool(self._idle)
            self._started += starts
        if starts:
            self._start()
        self._work.put((fn, args))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Lets the threads go when they have done what they are at."""
        with self._lock:
            started, self._started = self._started, self._max_workers
        for _ in range(started):
            self._work.put(None)

    def _start(self) -> None:
        try:
            threading.Thread(target=self._serve, name=f"{self._thread_name_prefix}_{self._started - 1}", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._started -= 1
                if not self._started:
                    raise
            log.exception("call_thread_not_started", extra={"threads": self._started})

    def _serve(self) -> None:
        work = self._work.get()  # what it was started for: until then it is not idle
        while work is not None:
            fn, args = work
            try:
                fn(*args)
            except Exception:
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


def _receive(pool: CallPool, args: tuple[Any, ...]) -> bool:
    """Asks for the message of a call; False when this is not a call that can be answered later."""
    if len(args) != 7 or args[0] is not grpc_server._stream_response_in_pool:
        return False
    _, rpc_event, state, behavior, _, deserializer, _ = args
    receive: Receive | None = getattr(behavior, "receive", None)
    if receive is None:
        return False

    def take(data: bytes) -> None:
        context = grpc_server._Context(rpc_event, state, deserializer)

        def send(answer: bytes | None) -> None:
            grpc_server._status(rpc_event, state, answer)

        if behavior.never_waits and len(data) <= SMALL_REQUEST_BYTES:
            receive(data, context, send)
        else:
            pool.run(receive, data, context, send)

    def on_message(event: Any) -> Any:
        finished: Any = (None, ())
        try:
            data = event.batch_operations[0].message()
            with state.condition:
                if data is None:
                    _refuse_empty(rpc_event, state)
                finished = grpc_server._possibly_finish_call(state, grpc_server._RECEIVE_MESSAGE_TOKEN)
            if data is not None:
                take(data)
        except Exception:  # here it would end the thread that serves everybody
            log.exception("call_not_taken")
            _give_up(rpc_event, state)
        return finished

    rpc_event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), on_message)
    state.due.add(grpc_server._RECEIVE_MESSAGE_TOKEN)
    return True


def _refuse_empty(rpc_event: Any, state: Any) -> None:
    """The caller has closed without a message, or has gone."""
    if state.client is grpc_server._OPEN:
        state.client = grpc_server._CLOSED
    if state.client is grpc_server._CLOSED:
        details = b"The call requires exactly one request message."
        grpc_server._abort(state, rpc_event.call, cygrpc.StatusCode.unimplemented, details)


def _give_up(rpc_event: Any, state: Any) -> None:
    with suppress(Exception), state.condition:
        if not state.statused:
            grpc_server._abort(state, rpc_event.call, cygrpc.StatusCode.internal, b"The daemon could not take the call.")
