"""A cache of plain contents. When a context grows, the base of its next delta is found here and need not be read and rebuilt."""

from __future__ import annotations

import threading
from collections import OrderedDict


class ContentCache:
    """An LRU cache of contents by digest, of up to `max_bytes` in total. Holds only verified contents. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, digest: str) -> bytes | None:
        with self._lock:
            content = self._contents.get(digest)
            if content is not None:
                self._contents.move_to_end(digest)
            return content

    def drop(self, digest: str) -> None:
        """Removes a content, if it is there."""
        with self._lock:
            self._bytes -= len(self._contents.pop(digest, b""))

    def put(self, digest: str, content: bytes) -> None:
        """Adds a verified content, unless it is larger than the whole cache."""
        with self._lock:
            if digest in self._contents or len(content) > self._max_bytes:
                return
            self._contents[digest] = content
            self._bytes += len(content)
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._contents.popitem(last=False)[1])
