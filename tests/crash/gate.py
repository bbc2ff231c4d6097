"""A gate that makes the workers stand still between two operations, so that the oracle looks at a store at rest.

A few shared integers in a mapped file: nothing in it can be left locked by a process that is killed.
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
    """Word 0 is the number of the pause, 0 when there is none; word `slot` the pause in which that worker stands still."""

    def __init__(self, path: Path) -> None:
        size = (SLOTS + 1) * _WORD.size
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._words = mmap.mmap(file.fileno(), size)
        self._pauses = 0

    def pause(self) -> None:
        """Asks every worker to stand still. For the one who runs the tests."""
        self._pauses += 1
        self._set(0, self._pauses)

    def release(self) -> None:
        """Lets them go on."""
        self._set(0, 0)

    def wait_for(self, slots: Sequence[int], broken: Callable[[], bool], timeout_s: float) -> bool:
        """Whether all of them stand still; False as soon as `broken` says so. Raises TimeoutError."""
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
        """For workers, between two operations."""
        while number := self._get(0):
            self._set(slot, number)
            time.sleep(_POLL_S)

    def _get(self, index: int) -> int:
        return int(_WORD.unpack_from(self._words, index * _WORD.size)[0])

    def _set(self, index: int, value: int) -> None:
        _WORD.pack_into(self._words, index * _WORD.size, value)
