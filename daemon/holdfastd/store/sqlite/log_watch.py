"""Notices when another process truncates the write-ahead log, or writes an older copy over it, while the daemon runs.

SQLite then goes on without an error: it appends behind a hole, and the next start finds none of those commits. What SQLite
believes about the log is in the header of the log's index (https://sqlite.org/walformat.html): salts, number of frames and
checksum of the last one. These are compared with the log itself.
"""

from __future__ import annotations

import mmap
import struct
import threading
from pathlib import Path
from typing import NamedTuple

from holdfastd.store.sqlite.held_file import HeldFile

LOG_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
SALTS = slice(16, 24)  # of the log's header
_SALTS_BYTES = 8
_MARK_IN_FRAME, _MARK_BYTES = 8, 16  # salts and checksum in the header of a frame
_INDEX_BYTES = 48
_INDEX = struct.Struct("=8xI2xHI4xII8s8x")  # in the machine's byte order
_CHECKSUM = struct.Struct(">II")
_ATTEMPTS = 5  # a commit takes much longer than a look, so the second or third look is not disturbed


class LogEnd(NamedTuple):
    """What the index says about the log. changes: a counter of commits. mark: salts and checksum of the last frame, as in its
    header. mark_at: where that is in the log."""

    changes: int
    frames: int
    mark: bytes
    mark_at: int

    def may_follow(self, before: LogEnd) -> bool:
        """Whether commits and checkpoints can lead from `before` to this. A log that begins anew has other salts."""
        if self.changes == before.changes:
            return self == before or not self.frames
        is_later = (self.changes - before.changes) % 2**32 < 2**31
        return is_later and (self.frames >= before.frames or not self.is_same_log(before))

    def is_same_log(self, other: LogEnd) -> bool:
        """Whether both have the same salts."""
        return self.mark[:_SALTS_BYTES] == other.mark[:_SALTS_BYTES]


class LogWatch:
    """Watches the log of one database, which must be open, with its index in a file. Thread-safe."""

    def __init__(self, log: Path, index: Path) -> None:
        self._log = HeldFile(log)
        self._index_file = HeldFile(index)
        # Mapped, as SQLite does it: not every file system lets a read see at once what was written through a mapping.
        self._index = mmap.mmap(self._index_file.descriptor, 2 * _INDEX_BYTES, mmap.MAP_SHARED, mmap.PROT_READ)
        self._before: LogEnd | None = None
        self._lock = threading.Lock()

    def foreign_write(self) -> str:
        """That another process wrote to the log, as the end of a message; empty if not. Takes a few microseconds."""
        with self._lock:
            for _ in range(_ATTEMPTS):
                index = self._index[:]
                if index[:_INDEX_BYTES] != index[_INDEX_BYTES:]:  # the two copies differ while SQLite writes them
                    continue
                end = _log_end(index)
                is_whole = self._is_whole(end)
                if self._index[:] != index:  # a commit or a checkpoint came in between
                    continue
                if not is_whole:
                    return f"another process wrote to {self._log.path}"
                self._before = end
                break
        return ""

    def _is_whole(self, end: LogEnd) -> bool:
        """Whether the log has its header, its last frame, and the one that was the last at the previous look.

        Without that one, the log was truncated before the last commit, and the last frame follows a hole.
        """
        before, read_at = self._before, self._log.read_at
        if before is not None and not end.may_follow(before):
            return False
        if not end.frames:
            return True
        if read_at(SALTS.start, _SALTS_BYTES) != end.mark[:_SALTS_BYTES] or read_at(end.mark_at, _MARK_BYTES) != end.mark:
            return False
        if before is None or not before.frames or not end.is_same_log(before):
            return True
        return read_at(before.mark_at, _MARK_BYTES) == before.mark


def _log_end(index: bytes) -> LogEnd:
    changes, page_size, frames, first, second, salts = _INDEX.unpack_from(index)
    page_bytes = (page_size & 0xFE00) | (page_size & 1) << 16  # 1 stands for 65536
    last_frame = LOG_HEADER_BYTES + (frames - 1) * (FRAME_HEADER_BYTES + page_bytes)
    return LogEnd(changes, frames, salts + _CHECKSUM.pack(first, second), last_frame + _MARK_IN_FRAME)
