"""Retries while the daemon is away or too busy, with growing, randomised pauses, until the timeout."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from holdfast.errors import DiskFull, HoldfastError, ResourceExhausted, StartFailed, Unavailable

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
STORE_REPLACED = "STORE_REPLACED"


class Patience:
    """The time that one operation may take, including all attempts and pauses. Not thread-safe.

    `begun` is set when its first attempt begins.
    """

    begun = False

    def __init__(self, timeout_s: float, sleep: Callable[[float], object] = time.sleep) -> None:
        self._timeout_s = timeout_s
        self.sleep = sleep
        self._told: HoldfastError | None = None
        self.restart()

    def restart(self) -> None:
        """Starts the time again, as after each frame of a stream."""
        self._deadline = time.monotonic() + self._timeout_s
        self._pause_s = FIRST_PAUSE_S

    @property
    def remaining_s(self) -> float:
        """The time left in seconds; at least 1 ms, so that it can serve as the timeout of a call."""
        return max(self._deadline - time.monotonic(), 0.001)

    def pause_after(self, error: HoldfastError) -> None:
        """Waits before the next attempt; raises `error` when a retry cannot help or the time is up.

        When a daemon said that its store was replaced, and none answers since, raises that: it says why none answers.
        """
        if error.reason == STORE_REPLACED:
            self._told = error
        elif not worth_retrying(error):
            raise error
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        if isinstance(error, ResourceExhausted):
            pause_s = max(pause_s, error.retry_delay_s * random.uniform(1.0, 1.5))
        if time.monotonic() + pause_s >= self._deadline:
            raise self._told or error
        self.sleep(pause_s)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)


def worth_retrying(error: HoldfastError) -> bool:
    """Whether the same call may succeed later without any action of the user."""
    if isinstance(error, ResourceExhausted):
        return error.retry_delay_s > 0 and not isinstance(error, DiskFull)
    return isinstance(error, Unavailable) and not isinstance(error, StartFailed)
