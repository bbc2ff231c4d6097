"""Where stored bytes go while nobody knows yet how many they will be: memory first, then a temporary file.

All of them come through `Spool.write`, whole blobs frame by frame and deltas at once, wherever they come to lie.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfastd.blobs.files import FileDraft


class Spool:
    """Keeps up to `inline_max_bytes` in memory and more in a temporary file. Used by one thread at a time."""

    def __init__(self, create_draft: Callable[[], FileDraft], inline_max_bytes: int) -> None:
        self._create_draft = create_draft
        self._inline_max_bytes = inline_max_bytes
        self._memory = bytearray()
        self._draft: FileDraft | None = None

    def write(self, data: bytes) -> None:
        if self._draft is None and len(self._memory) + len(data) <= self._inline_max_bytes:
            self._memory += data
            return
        if self._draft is None:
            self._draft = self._create_draft()
            self._draft.write(bytes(self._memory))
            self._memory.clear()
        self._draft.write(data)

    def content(self) -> bytes | None:
        """All that was written, when it is small enough for a row; None: it is in a file."""
        return bytes(self._memory) if self._draft is None and self._inline_max_bytes else None

    def publish(self, digest: str, codec: str) -> str:
        """Makes the file durable and returns its path, to be settled by the caller."""
        if self._draft is None:
            self._draft = self._create_draft()  # nothing was written, and rows may not hold content
        return self._draft.publish(digest, codec)

    def discard(self) -> None:
        """Leaves nothing behind; nothing when published already."""
        self._memory.clear()
        if self._draft is not None:
            self._draft.discard()
