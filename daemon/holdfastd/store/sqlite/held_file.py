"""Files of the database that the daemon reads beside SQLite, while SQLite has them open.

Closing any descriptor of a file drops all locks that the process has on it
(https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_). So such a file is opened
once and is never closed before SQLite's own connections.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path


class HeldFile:
    """A file that is open for reading until this object is gone. It must live as long as the connections. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)

    def read_at(self, offset: int, length: int) -> bytes:
        """Fewer bytes at the end of the file."""
        return os.pread(self.descriptor, length, offset)
