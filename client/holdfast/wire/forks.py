"""Makes `os.fork` safe: no call of the client is inside gRPC while the process forks, and the child uses a channel of its own.

gRPC's C core stops its threads before a fork and restarts them after it, but only if no thread is inside it; otherwise the
child crashes in its first call (grpc issue 13998). So a fork waits up to `CALMING_S` for unary calls to end, and new calls wait
for the fork. Open streams are handled by gRPC itself if GRPC_ENABLE_FORK_SUPPORT is set while grpc is imported. This module sets
it for the time of that import, so `holdfast.__getattr__` imports it first; programs that are started later do not inherit it.
When a fork was not safe, calls in the child raise RuntimeError instead of crashing.

`subprocess` forks only for `preexec_fn`, `user`, `group` and `extra_groups`. With `close_fds=True`, its default, it then closes
all descriptors before it executes the program. gRPC restarts its threads in the child, and one of them aborts the child when its
descriptor is gone (grpc issue 43055). With `close_fds=False` nothing is closed, and the program inherits no descriptor of gRPC
or Python, because these are close-on-exec. README.md tells users.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from importlib import import_module
from types import TracebackType
from typing import Protocol

CALMING_S = 5.0
VARIABLE = "GRPC_ENABLE_FORK_SUPPORT"
_ON = ("1", "true", "yes")


class Forkable(Protocol):
    """An object whose state must be reset in a forked child."""

    def after_fork(self) -> None:
        """Makes the object usable in the child; called before any other code of the child."""


class _Calls:
    """Counts the calls inside gRPC: a unary call is a `with` block, streams use `count_stream`."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._forking = False
        self._running = 0
        self._streams = 0
        self._used = False

    def __enter__(self) -> None:
        with self._changed:
            while self._forking:
                self._changed.wait()
            self._running += 1
            self._used = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._running -= 1
            if self._forking:
                self._changed.notify_all()

    def count_stream(self, opened: int) -> None:
        """Adds to the number of open streams: 1 for one that opens, -1 for one that ends."""
        with self._changed:
            while self._forking and opened > 0:
                self._changed.wait()
            self._streams += opened

    def calm(self) -> None:
        """Before a fork: holds new calls back and waits for the unary calls that run to end."""
        with self._changed:
            self._forking = True
            self._changed.wait_for(lambda: self._running == 0, CALMING_S)

    def resume(self) -> None:
        """After a fork, in the parent."""
        with self._changed:
            self._forking = False
            self._changed.notify_all()

    def danger(self) -> str:
        """In the child: why gRPC cannot be used; empty when it can."""
        if self._running:
            return f"calls of other threads did not end within {CALMING_S:g} s"
        if self._used and _forbidden:
            return f"{VARIABLE}={os.environ.get(VARIABLE, '')} turns the fork support of gRPC off"  # a call would hang
        if self._streams and not _supported:
            return f"streams were open; set {VARIABLE}=1, or import holdfast before grpc"
        return ""


def _support_grpc() -> bool:
    """Imports grpc with fork support, unless the environment forbids it. Returns whether it has it. Changes no variable."""
    given = os.environ.get(VARIABLE)
    if given is None and "grpc" not in sys.modules:
        os.environ[VARIABLE] = "1"
        try:
            import_module("grpc")
        finally:
            del os.environ[VARIABLE]
        return True
    return (given or "0").lower() in _ON


_forbidden = os.environ.get(VARIABLE, "1").lower() not in _ON
_supported = _support_grpc()
_objects: weakref.WeakSet[Forkable] = weakref.WeakSet()
_danger = ""

generation = 0  # differs in every child, so that comparing it shows whether an object was made before the fork
calls = _Calls()


def register(item: Forkable) -> None:
    """Has `item.after_fork()` called in every child forked from now on, for as long as the item lives."""
    _objects.add(item)


def check() -> None:
    """Raises RuntimeError in a child whose fork was not safe."""
    if _danger:
        raise RuntimeError(f"This process was forked while Holdfast was busy in its parent: {_danger}.")


def _renew() -> None:
    global generation, calls, _danger
    generation += 1
    _danger = calls.danger()
    calls = _Calls()
    for item in list(_objects):
        item.after_fork()


# Lambdas, because `calls` is another object in the child.
os.register_at_fork(before=lambda: calls.calm(), after_in_parent=lambda: calls.resume(), after_in_child=_renew)
