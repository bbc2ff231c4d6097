"""The seek table of zstd's seekable format. With it, a range of a large blob is read from only the frames that it touches.

The table is a skippable frame at the end of the file: one entry (stored size, plain size) for each frame, then a footer with the
number of entries. Format: contrib/seekable_format/zstd_seekable_compression_format.md of facebook/zstd.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

FRAME_BYTES = 1024 * 1024

_SKIPPABLE = 0x184D2A5E
_SEEKABLE = 0x8F92EAB1
_HEADER = struct.Struct("<II")
_ENTRY = struct.Struct("<II")
_FOOTER = struct.Struct("<IBI")


class Readable(Protocol):
    """The methods of StoredBytes that the table needs."""

    def size(self) -> int: ...

    def read_at(self, offset: int, length: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Frame:
    """One independent zstd frame: its size in the file and its plain size."""

    stored_bytes: int
    plain_bytes: int


def write_table(frames: Sequence[Frame]) -> bytes:
    """The skippable frame that lists these frames."""
    entries = b"".join(_ENTRY.pack(each.stored_bytes, each.plain_bytes) for each in frames)
    body = entries + _FOOTER.pack(len(frames), 0, _SEEKABLE)
    return _HEADER.pack(_SKIPPABLE, len(body)) + body


class SeekTable:
    """The offset of each frame in the stored bytes and in the plain bytes."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames
        self._offsets = _starts(each.stored_bytes for each in frames)
        self._plain_starts = _starts(each.plain_bytes for each in frames)

    @classmethod
    def of_single(cls, stored_bytes: int, plain_bytes: int) -> SeekTable:
        """The table of a file with one frame; such a file stores no table."""
        return cls([Frame(stored_bytes, plain_bytes)])

    @classmethod
    def read(cls, stored: Readable) -> SeekTable:
        """Reads the table from the end of the stored bytes. Raises ValueError when there is none, or it does not fit."""
        footer = stored.read_at(max(0, stored.size() - _FOOTER.size), _FOOTER.size)
        if len(footer) != _FOOTER.size:
            raise ValueError("the file is too short for a seek table")
        count, descriptor, magic = _FOOTER.unpack(footer)
        length = _HEADER.size + count * _ENTRY.size + _FOOTER.size
        if magic != _SEEKABLE or descriptor != 0 or length > stored.size():
            raise ValueError("the file does not end in a seek table")
        data = stored.read_at(stored.size() - length, length)
        table = cls([Frame(*entry) for entry in _ENTRY.iter_unpack(data[_HEADER.size : -_FOOTER.size])])
        if table.stored_bytes + length != stored.size() or any(each.plain_bytes > FRAME_BYTES for each in table._frames):
            raise ValueError("the seek table does not cover the file")
        return table

    @property
    def stored_bytes(self) -> int:
        return self._offsets[-1]

    @property
    def plain_bytes(self) -> int:
        return self._plain_starts[-1]

    def covering(self, offset: int, length: int) -> Iterator[tuple[Frame, int, int]]:
        """The frames that hold these plain bytes, each with its offset in the stored bytes and in the plain bytes."""
        index = bisect.bisect_right(self._plain_starts, offset) - 1
        while index < len(self._frames) and self._plain_starts[index] < offset + length:
            yield self._frames[index], self._offsets[index], self._plain_starts[index]
            index += 1


def _starts(sizes: Iterator[int] | Sequence[int]) -> list[int]:
    """The running sums of the sizes: the start of each frame, then the total."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    return starts
