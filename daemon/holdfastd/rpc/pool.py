"""The threads that run calls: one pool for short calls, one for streams.

grpcio submits calls in its serving thread. An exception there would end that thread and all its connections. So neither pool
raises when the system can start no more threads: a short call waits for an existing thread, and a stream is refused by one.

The handler of each unary call names the pool as its executor, so grpcio calls `CallPool.submit`. The pool offers the call to
`MessageFirst`, which receives its message and then calls `run`. A call that it declines runs as grpcio submitted it.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from holdfastd import logs
from holdfastd.model.budget import Holder
from holdfastd.model.call import Peer
from holdfastd.model.rounds import Rounds, path_of
from holdfastd.model.turns import Shares
from holdfastd.rpc.message_first import MessageFirst, call_of
from holdfastd.rpc.message_handlers import StreamReceiver

log = logs.logger(__name__)

OTHER_THREADS, OTHERS_WAITING, OTHER_S = 4, 64, 10.0

Work = tuple[Callable[..., Any], tuple[Any, ...]]


class _Counted(Future[None]):
    """The result of `submit`. grpcio would count calls with it, for a limit that this daemon does not set."""

    def __init__(self) -> None:
        """Does not call Future's, which creates locks for a result that is never read."""

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Ignores the callback."""


_COUNTED = _Counted()


class CallPool(ThreadPoolExecutor):
    """At most `threads` threads. A thread is started when there is work and none is idle. An exception of the work ends none."""

    def __init__(self, threads: int, name: str, message_first: MessageFirst) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._message_first = message_first
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = self._idle = 0
        self._turns: Rounds[tuple[Holder, Work]] = Rounds()
        self._waiting: Counter[str] = Counter()  # by connection
        self._running = Shares()
        self._free = threads

    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return self._work.qsize() + len(self._turns)

    def waiting_of(self, caller: Holder) -> tuple[int, int]:
        """How many calls of this connection wait for a thread, and how many connections wait."""
        with self._lock:
            return self._waiting[caller.connection], len(self._waiting)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """grpcio calls this for each call, in its serving thread, with the call's lock held."""
        if not self._message_first.receive(self.run_for, args):
            self.run(fn, *args)
        return _COUNTED

    def run(self, fn: Callable[..., Any], *args: Any) -> None:
        """Runs `fn` in one of the threads. When none is idle and none can be started, `fn` waits until one is idle."""
        self._start_if_needed()
        self._work.put((fn, args))

    def run_for(self, caller: Holder, fn: Callable[..., Any], *args: Any) -> None:
        """As `run`, but in turn with the work for other callers. A connection has at most as many threads as are free, and
        a process twice as many, so that one with many calls neither delays the others nor takes all threads."""
        with self._lock:
            if caller.connection in self._waiting or not self._running.admits(caller, self._free):
                self._turns.append(path_of(caller), (caller, (fn, args)))
                self._waiting[caller.connection] += 1
                return
            self._begin_turn(caller)
        try:
            self.run(self._run_turns, caller, fn, args)
        except BaseException:
            with self._lock:
                self._end_turn(caller)
            raise

    def _begin_turn(self, caller: Holder) -> None:
        self._free -= 1
        self._running.add(caller, 1)

    def _end_turn(self, caller: Holder) -> None:
        self._free += 1
        self._running.add(caller, -1)

    def _run_turns(self, caller: Holder, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Runs the work, and then that of the next callers, as long as there is some that may run."""
        turn: tuple[Holder, Work] | None = (caller, (fn, args))
        del fn, args
        while turn is not None:
            caller, work = turn
            try:
                work[0](*work[1])
            except BaseException:  # as in `_serve`
                log.exception("call_thread_failed")
            del work, turn
            with self._lock:
                self._end_turn(caller)
                turn = self._next_turn()

    def _next_turn(self) -> tuple[Holder, Work] | None:
        """Takes the first work of the next caller that may run some."""
        turn = self._turns.pop_first(lambda each: self._running.admits(each[0], self._free))
        if turn is not None:
            connection = turn[0].connection
            self._waiting[connection] -= 1
            if not self._waiting[connection]:
                del self._waiting[connection]
            self._begin_turn(turn[0])
        return turn

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends each thread when the queued work is done. Does not wait."""
        with self._lock:
            started, self._started = self._started, self._max_workers
        for _ in range(started):
            self._work.put(None)

    def _start_if_needed(self) -> bool:
        """Takes an idle thread, or starts one below the limit. Returns False when the system could not start it."""
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
            except BaseException:  # also SystemExit: a thread that died would still count as started
                log.exception("call_thread_failed")
            del work, fn, args
            work = self._next()

    def _next(self) -> Work | None:
        try:
            return self._work.get_nowait()
        except queue.Empty:
            with self._lock:
                self._idle += 1
        return self._work.get()


class OtherPool(CallPool):
    """A few threads for services outside the contract: reflection, and what grpcio answers of health. Their calls take no thread
    of the contract's streams. A call has OTHER_S in its thread; a connection may have OTHERS_WAITING more that wait for one."""

    def __init__(self, message_first: MessageFirst) -> None:
        super().__init__(OTHER_THREADS, "other", message_first)

    def begin(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """grpcio's call, in its serving thread."""
        call = call_of(args)
        if call is None:
            self.run(fn, *args)
            return
        name = str(call.peer())
        caller = Peer(name, hash(name), 0, 0)  # its process is not known here, so each connection counts as one
        waiting, callers = self.waiting_of(caller)
        if waiting * callers >= OTHERS_WAITING:
            call.cancel()
        else:
            self.run_for(caller, self._bounded, call, fn, args)

    def _bounded(self, call: Any, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        end = threading.Timer(OTHER_S, call.cancel)
        end.daemon = True
        end.start()
        try:
            fn(*args)
        finally:
            end.cancel()


class StreamPool(CallPool):
    """The threads of streams. A stream is refused when no thread can be started for it; it would wait for another to end.

    refuses: the pool whose threads run the handlers of such streams; `refusing` is True there.
    """

    def __init__(self, threads: int, name: str, refuses: CallPool) -> None:
        super().__init__(threads, name, refuses._message_first)
        self._refuses = refuses
        self.others = OtherPool(refuses._message_first)
        self._refused = threading.local()

    @property
    def refusing(self) -> bool:
        """Whether this thread runs a stream for which no thread could be started, so that the handler must refuse it."""
        return getattr(self._refused, "now", False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """grpcio calls this for each stream, in its serving thread. Server streams get a thread when their request is here."""
        if not getattr(args[3], "is_of_contract", False):
            self.others.begin(fn, args)
        elif not (isinstance(args[3], StreamReceiver) and self._message_first.receive(self.run_for, args)):
            self.run(fn, *args)
        return _COUNTED

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        self.others.shutdown()

    def run(self, fn: Callable[..., Any], *args: Any) -> None:
        """Runs `fn` in one of the threads, or where it is refused."""
        if self._start_if_needed():
            self._work.put((fn, args))
        else:
            self._refuses.run(self._refuse, fn, args)

    def run_for(self, caller: Holder, fn: Callable[..., Any], *args: Any) -> None:
        """As `run`: `Gate.stream` limits the streams of each caller."""
        self.run(fn, *args)

    def _refuse(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._refused.now = True
        try:
            fn(*args)
        finally:
            self._refused.now = False
