"""Cancels calls from another thread. The calls and streams of a connection that has a cancellation register with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

import grpc

from holdfast.errors import Cancelled
from holdfast.wire import forks

Result = TypeVar("Result", covariant=True)


class Running(Protocol[Result]):
    """A call in progress. gRPC's futures are such calls; its stubs name their type differently from version to version."""

    def result(self) -> Result: ...

    def cancel(self) -> object: ...


class Cancellation:
    """Cancels the calls and streams of the stores that were made with it: `store.with_cancellation(cancellation)`.

    Calling it ends those in progress, their retries and pauses, and every later one, with `holdfast.Cancelled`. It cannot be
    undone: make another one for the next work. Any thread and any signal handler may call it, any number of times; it does not
    block. A forked child's copy cancels the child's calls only.
    """

    def __init__(self) -> None:
        self._cancelled = False
        self.after_fork()
        forks.register(self)

    def after_fork(self) -> None:
        """Forgets the calls of the parent process."""
        self._lock = threading.RLock()  # a signal handler may run in the thread that holds it
        self._running: dict[int, Callable[[], object]] = {}

    def __call__(self) -> None:
        with self._lock:
            self._cancelled = True
            running, self._running = self._running, {}
        for cancel in running.values():
            cancel()

    @property
    def cancelled(self) -> bool:
        """Whether it was called."""
        return self._cancelled

    def sleep(self, seconds: float) -> None:
        """Pauses; ends at once when the cancellation is called."""
        gate = threading.Lock()  # unlike an Event, a signal handler of this thread can open it
        gate.acquire()
        self.add(gate, gate.release)
        gate.acquire(timeout=seconds)
        self.remove(gate)

    def add(self, call: object, cancel: Callable[[], object]) -> None:
        """Has `cancel` called once when this is called, now if it was, until `remove`."""
        with self._lock:
            if not self._cancelled:
                self._running[id(call)] = cancel
                return
        cancel()

    def remove(self, call: object) -> None:
        """Forgets a call that ended."""
        with self._lock:
            self._running.pop(id(call), None)

    def result_of(self, call: Running[Result]) -> Result | None:
        """Waits for a call and returns its answer, None if it was cancelled. Raises its error."""
        self.add(call, call.cancel)
        try:
            with suppress(grpc.FutureCancelledError):
                return call.result()
            return None
        except BaseException:
            call.cancel()  # an exception of this thread, such as KeyboardInterrupt; does nothing to a call that failed
            raise
        finally:
            self.remove(call)


def cancelled_error(request: object, *, begun: bool) -> Cancelled:
    """The error for a cancelled call; `begun` if one of its attempts may have been sent."""
    metadata = {"sent": "maybe" if begun else "no"}
    if request_id := getattr(request, "request_id", ""):
        metadata["request_id"] = request_id
    if not begun:
        return Cancelled("The call was cancelled before it was sent.", metadata=metadata)
    outcome = " It may or may not have been applied: read, or repeat it." if request_id else ""
    return Cancelled(f"The call was cancelled.{outcome}", metadata=metadata)
