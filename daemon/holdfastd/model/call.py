"""The caller of an operation: its deadline, and whether it still waits for the answer.

`rpc/` creates a `Call` from a gRPC context; jobs and tests create their own. Every function that may wait takes one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from holdfastd import MAX_API_VERSION
from holdfastd.errors import Cancelled, DeadlineExceeded
from holdfastd.model.budget import Claim


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a connection, as the kernel described it when the process connected.

    connection: a name that no other connection of this daemon has. uid and gid: 65534 when the daemon's user namespace has no
    name for them.
    """

    connection: str
    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


OWN = Peer("", os.getpid(), os.geteuid(), os.getegid())
"""The peer of a call that the daemon makes itself, such as a job's."""


class Call:
    """One call: its caller, its deadline, its end, and its claim on memory. Thread-safe.

    is_long: whether its reads may take much longer than a look-up, as those that walk a table do; see `turns.py`.
    api_version: the API version that the caller speaks; the daemon's own when it states none.
    """

    def __init__(
        self,
        timeout_s: float | None = None,
        peer: Peer = OWN,
        claim: Claim | None = None,
        api_version: int = MAX_API_VERSION,
    ) -> None:
        self.peer = peer
        self.api_version = api_version
        self.claim = claim or Claim(None, peer)
        self.is_long = False
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._lock = threading.Lock()
        self._gone = False
        self._callbacks: list[Callable[[], None]] = []

    def remaining_s(self) -> float | None:
        """Seconds until the deadline, not below 0; None when there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def is_active(self) -> bool:
        """Whether the caller still waits for the answer."""
        return not self._gone and (self._deadline is None or time.monotonic() < self._deadline)

    def end(self) -> None:
        """Marks the call as over (answered, cancelled or disconnected) and runs the callbacks, once."""
        with self._lock:
            self._gone = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_end(self, callback: Callable[[], None]) -> None:
        """Runs the callback when the call ends, in the thread that ends it; immediately when it has already ended."""
        with self._lock:
            if not self._gone:
                self._callbacks.append(callback)
                return
        callback()

    def check(self) -> None:
        """Raises CANCELLED or DEADLINE_EXCEEDED when the caller no longer waits."""
        if self._gone:
            raise Cancelled("The caller has gone; nothing was applied.")
        if not self.is_active():
            raise DeadlineExceeded("The deadline passed before the work began; nothing was applied. Try again with a longer one.")
