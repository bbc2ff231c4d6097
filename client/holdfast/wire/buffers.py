"""The writers that hold entries which are not durable yet: flushed when the store is closed and when the interpreter exits.

Exit handlers run twice. `threading` runs its own before it waits for the other threads; a child of `multiprocessing` runs only
these. `atexit` runs its handlers after those threads have ended; they may have written until then. At both times the threads of
writers still run, and grpcio has no exit handler that would end their calls. A forked child begins without writers.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet

_log = logging.getLogger("holdfast")


class Buffering(Protocol):
    """A writer that holds entries which are not durable yet."""

    def settle(self, timeout_s: float | None = None) -> None:
        """Waits until all entries are durable; raises the error that prevents it. Does nothing once closed."""

    def finish(self, timeout_s: float) -> None:
        """Settles, then closes the writer, also if settling fails. Raises the error, which says how many entries are durable."""


class Buffers:
    """The writers of one connection. Thread-safe. They are kept weakly; a thread that sends keeps its writer alive."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self.after_fork()
        _all.add(self)

    def after_fork(self) -> None:
        """Forgets the writers of the parent process."""
        self._lock = threading.Lock()
        self._writers: WeakSet[Buffering] = WeakSet()

    def add(self, writer: Buffering) -> None:
        with self._lock:
            self._writers.add(writer)

    def settle(self) -> None:
        """Waits until all entries that the writers have taken are durable. Raises the error that ended one of them."""
        for each in self._now():
            each.settle()

    def finish(self, timeout_s: float) -> None:
        """Flushes and closes all writers, within `timeout_s` in all. Raises the first error; the others become its notes."""
        deadline = time.monotonic() + timeout_s
        failures: list[Exception] = []
        for each in self._now():
            try:
                each.finish(max(deadline - time.monotonic(), 0))
            except Exception as error:
                failures.append(error)
        for other in failures[1:]:
            failures[0].add_note(f"Another writer failed too: {other}")
        if failures:
            raise failures[0]

    def flush_at_exit(self) -> None:
        """Flushes the writers. Logs what is lost, and closes the writers that lost it, so that it is logged once."""
        deadline = time.monotonic() + self._timeout_s
        for each in self._now():
            try:
                each.settle(max(deadline - time.monotonic(), 0))
            except Exception as error:
                said = " ".join((str(error), *getattr(error, "__notes__", ())))
                _log.error("holdfast: entries are lost at the end of the program: %s", said)
                with suppress(Exception):
                    each.finish(0)

    def _now(self) -> list[Buffering]:
        with self._lock:
            return list(self._writers)


_all: WeakSet[Buffers] = WeakSet()


@atexit.register
def _flush_at_exit() -> None:
    for each in list(_all):
        each.flush_at_exit()


with suppress(AttributeError, RuntimeError):  # not a public function; it refuses while the interpreter ends
    threading._register_atexit(_flush_at_exit)  # type: ignore[attr-defined]
