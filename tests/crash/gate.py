"""A gate that pauses the workers between two operations, so that the oracle reads a store that nobody is writing to.

It is a mapped file of a few integers. A process that is killed leaves no lock behind.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SLOTS = 64
_WORD = struct.Struct("=Q")
_POLL_S = 0.004


class Gate:
    """Word 0 holds the number of the current pause, or 0. Word `slot` holds the pause at which that worker waits."""

    def __init__(self, path: Path) -> None:
        size = (SLOTS + 1) * _WORD.size
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._words = mmap.mmap(file.fileno(), size)
        self._pauses = 0

    def pause(self) -> None:
        """Asks every worker to pause. Called by the test runner."""
        self._pauses += 1
        self._set(0, self._pauses)

    def release(self) -> None:
        """Ends the pause."""
        self._set(0, 0)

    def wait_for(self, slots: Sequence[int], broken: Callable[[], bool], timeout_s: float) -> bool:
        """True once all of them are paused; False as soon as `broken` returns True. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while not all(self._get(slot) == self._pauses for slot in slots):
            if broken():
                return False
            if time.monotonic() > deadline:
                stuck = [slot for slot in slots if self._get(slot) != self._pauses]
                raise TimeoutError(f"the workers {stuck} did not finish their operation within {timeout_s:g} s")
            time.sleep(_POLL_S)
        return True

    def pass_through(self, slot: int) -> None:
        """Waits here while there is a pause. Workers call it between two operations."""
        while number := self._get(0):
            self._set(slot, number)
            time.sleep(_POLL_S)

    def _get(self, index: int) -> int:
        return int(_WORD.unpack_from(self._words, index * _WORD.size)[0])

    def _set(self, index: int, value: int) -> None:
        _WORD.pack_into(self._words, index * _WORD.size, value)
