"""The room that uploads may take on the disk. The rest is kept for commands that free space, and for checkpoints."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from holdfastd.errors import DiskFull


def no_room(lacking_bytes: int = 0) -> DiskFull:
    """The error for a blob that there is no room for. lacking_bytes: how much more must be free, if that is known."""
    lacking = f" {-(-lacking_bytes // 2**10):,} KiB more must be free, as some is kept for deletes." if lacking_bytes else ""
    return DiskFull(
        f"The data directory's disk has no room for the blob.{lacking} Delete records and run the sweep, or free space outside"
        " the store. Reads still work."
    )


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
            lacking = self._promised + size_bytes - self._spare_bytes()
            if lacking > 0:
                raise no_room(lacking)
            self._promised += size_bytes
        try:
            yield
        finally:
            with self._lock:
                self._promised -= size_bytes


UNLIMITED = Room(lambda: 1 << 62)
