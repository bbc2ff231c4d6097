"""The room that uploads may take on the disk. The rest is kept for commands that free space, and for checkpoints."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from holdfastd.errors import DiskFull


class Room:
    """Thread-safe. `spare_bytes`: how much of the disk may be taken now; negative when less is free than is kept."""

    def __init__(self, spare_bytes: Callable[[], int]) -> None:
        self._spare_bytes = spare_bytes
        self._promised = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def take(self, size_bytes: int) -> Iterator[None]:
        """Runs a block that writes so many bytes. Raises DiskFull when there is no room beside what other threads write."""
        with self._lock:
            if self._spare_bytes() < self._promised + size_bytes:
                raise DiskFull("The data directory's disk has no room for the blob. Free some space. Reads still work.")
            self._promised += size_bytes
        try:
            yield
        finally:
            with self._lock:
                self._promised -= size_bytes


UNLIMITED = Room(lambda: 1 << 62)
