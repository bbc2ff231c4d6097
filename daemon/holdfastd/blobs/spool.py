"""Where stored bytes are collected while their number is unknown: in memory first, then in a temporary file.

All stored bytes pass `Spool.write`: those of whole blobs frame by frame, those of a delta at once.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfastd.blobs.files import FileDraft


class Spool:
    """Keeps up to `inline_max_bytes` in memory and more in a temporary file. Used by one thread at a time."""

    def __init__(self, create_file: Callable[[], FileDraft], inline_max_bytes: int) -> None:
        self._create_file = create_file
        self._inline_max_bytes = inline_max_bytes
        self._memory = bytearray()
        self._file: FileDraft | None = None

    def write(self, data: bytes) -> None:
        """Appends the next stored bytes. Raises DiskFull."""
        if self._file is None and len(self._memory) + len(data) <= self._inline_max_bytes:
            self._memory += data
            return
        if self._file is None:
            self._file = self._create_file()
            self._file.write(bytes(self._memory))
            self._memory.clear()
        self._file.write(data)

    def file(self) -> FileDraft | None:
        """The temporary file that holds all bytes; None when they are few enough for the row: see `content`."""
        if self._file is None and not self._inline_max_bytes:
            self._file = self._create_file()  # nothing was written, but without inlining every blob has a file
        return self._file

    def content(self) -> bytes:
        """All bytes, when there is no file."""
        return bytes(self._memory)

    def discard(self) -> None:
        """Drops the bytes and removes the temporary file; a file that was renamed stays."""
        self._memory.clear()
        if self._file is not None:
            self._file.discard()
