"""When to try again: on a daemon that is away or too busy, with growing, scattered pauses, until the time is up."""

from __future__ import annotations

import random
import time

from holdfast.errors import DiskFull, HoldfastError, ResourceExhausted, StartFailed, Unavailable

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5


class Patience:
    """The time that one operation may take, attempts and pauses together. Used by one thread."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self.restart()

    def restart(self) -> None:
        """Begins anew, as after a sign of life on a stream."""
        self._deadline = time.monotonic() + self._timeout_s
        self._pause_s = FIRST_PAUSE_S

    @property
    def remaining_s(self) -> float:
        """What is left of the time; at least a millisecond, so that it can be a call's timeout."""
        return max(self._deadline - time.monotonic(), 0.001)

    def pause_after(self, error: HoldfastError) -> None:
        """Waits before the next attempt; raises `error` when trying again is no use or the time is up."""
        if not worth_retrying(error):
            raise error
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        if isinstance(error, ResourceExhausted):
            pause_s = max(pause_s, error.retry_delay_s * random.uniform(1.0, 1.5))
        if time.monotonic() + pause_s >= self._deadline:
            raise error
        time.sleep(pause_s)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)


def worth_retrying(error: HoldfastError) -> bool:
    """Whether the same call may succeed a little later without anybody doing something."""
    if isinstance(error, ResourceExhausted):
        return error.retry_delay_s > 0 and not isinstance(error, DiskFull)
    return isinstance(error, Unavailable) and not isinstance(error, StartFailed)
