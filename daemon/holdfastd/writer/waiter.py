"""One command in the writer's queue, and the thread that waits for it."""

from __future__ import annotations

import threading
from typing import Any

from holdfastd.model.call import Call


class Waiter:
    """A command, its caller, and how it ended. `wait` returns when somebody calls `wake`."""

    __slots__ = ("_lock", "begun", "call", "command", "done", "error", "leads", "result")

    def __init__(self, command: object, call: Call) -> None:
        self.command = command
        self.call = call
        self.result: Any = None
        self.error: Exception | None = None
        self.begun = False
        self.leads = False
        self.done = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def fail(self, error: Exception) -> None:
        """Notes why the command was not applied."""
        self.result = None
        self.error = error

    def wake(self) -> None:
        """Lets the waiting thread go on. Called once for each `wait`."""
        self._lock.release()

    def wait(self, timeout_s: float | None) -> bool:
        """Whether `wake` was called within the time."""
        return self._lock.acquire(timeout=-1 if timeout_s is None else timeout_s)

    def outcome(self) -> Any:
        """The result; raises the error."""
        if self.error is not None:
            raise self.error
        return self.result
