"""One command in the writer's queue, and who is told how it ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from holdfastd.model.call import Call


class Waiter:
    """A command, its caller, and how it ended. `finish` calls `tell` with it.

    tell: runs in the writer's thread, so it must be quick and must not raise.
    """

    __slots__ = ("_tell", "begun", "call", "command", "error", "result")

    def __init__(self, command: object, call: Call, tell: Callable[[Waiter], None]) -> None:
        self.command = command
        self.call = call
        self.result: Any = None
        self.error: Exception | None = None
        self.begun = False
        self._tell = tell

    def fail(self, error: Exception) -> None:
        """Notes why the command was not applied."""
        self.result = None
        self.error = error

    def finish(self) -> None:
        """Tells whoever waits. Called once."""
        self._tell(self)

    def outcome(self) -> Any:
        """The result; raises the error."""
        if self.error is not None:
            raise self.error
        return self.result


class Bell:
    """Wakes one thread, once a ring. Cheaper than a `threading.Event`: one lock and nothing else."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wakes who waits, or who waits next. Not to be rung again before that."""
        self._lock.release()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it rang within the time."""
        return self._lock.acquire(timeout=-1 if timeout_s is None else timeout_s)
