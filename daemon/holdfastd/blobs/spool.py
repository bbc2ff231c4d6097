"""Collects the stored bytes of one upload, whose number is not known yet: in memory first, then in a temporary file.

All stored bytes are written through `Spool.write`: those of a whole blob frame by frame, those of a delta in one call.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfastd.blobs.files import FileDraft
from holdfastd.blobs.room import UNLIMITED, Room


class Spool:
    """Keeps up to `inline_max_bytes` in memory; moves them to a temporary file when there are more. For one thread at a time."""

    def __init__(self, create_file: Callable[[], FileDraft], inline_max_bytes: int, room: Room = UNLIMITED) -> None:
        self._create_file = create_file
        self._room = room
        self._inline_max_bytes = inline_max_bytes
        self._memory = bytearray()
        self._file: FileDraft | None = None

    def write(self, data: bytes) -> None:
        """Appends the next stored bytes. Raises DiskFull."""
        if self._file is None and len(self._memory) + len(data) <= self._inline_max_bytes:
            self._memory += data
            return
        with self._room.take(len(self._memory) + len(data)):
            if self._file is None:
                self._file = self._create_file()
                self._file.write(bytes(self._memory))
                self._memory.clear()
            self._file.write(data)

    def file(self) -> FileDraft | None:
        """The temporary file with all bytes. None when they are few enough for the database; then read `content`."""
        if self._file is None and not self._inline_max_bytes:
            self._file = self._create_file()  # nothing was written, but with inline_max_bytes 0 every blob has a file
        return self._file

    def content(self) -> bytes:
        """All bytes. Valid when `file` returned None."""
        return bytes(self._memory)

    def discard(self) -> None:
        """Drops the bytes and removes the temporary file. A file that was renamed stays."""
        self._memory.clear()
        if self._file is not None:
            self._file.discard()
