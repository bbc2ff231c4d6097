"""Checksums of the blocks of a raw file, so that a range of it can be checked without reading the rest.

A file of codec `raw` is byte for byte the content, so its checksums are in the database: for each 256 KiB of the content, and for
the shorter rest at its end, the CRC-32 of these bytes as four bytes, least significant first. `docs/checksums.md` has the format.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

BLOCK_BYTES = 256 * 1024
CHECKSUM_BYTES = 4

_CHECKSUM = struct.Struct("<I")


def block_count(size_bytes: int) -> int:
    """The number of blocks of a content of this size."""
    return -(-size_bytes // BLOCK_BYTES)


def covering(offset: int, length: int) -> range:
    """The numbers of the blocks that hold these bytes. `length` is 1 or more."""
    return range(offset // BLOCK_BYTES, block_count(offset + length))


def place_of(blocks: range) -> slice:
    """Where the checksums of these blocks are among those of the whole content."""
    return slice(blocks.start * CHECKSUM_BYTES, blocks.stop * CHECKSUM_BYTES)


class BlockChecksums:
    """Computes the checksums of a content that arrives in pieces. Used by one thread at a time."""

    def __init__(self) -> None:
        self._done = bytearray()
        self._current = self._filled = 0

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the content."""
        left = memoryview(data)
        while left:
            some = left[: BLOCK_BYTES - self._filled]
            self._current = zlib.crc32(some, self._current)
            self._filled += len(some)
            left = left[len(some) :]
            if self._filled == BLOCK_BYTES:
                self._close()

    def packed(self) -> bytes:
        """The checksums of all bytes that were fed. Nothing may be fed after this."""
        if self._filled:
            self._close()
        return bytes(self._done)

    def _close(self) -> None:
        self._done += _CHECKSUM.pack(self._current)
        self._current = self._filled = 0


def intact(data: bytes, checksums: bytes) -> bool:
    """Whether these whole blocks have these checksums."""
    found = BlockChecksums()
    found.feed(data)
    return found.packed() == checksums


def runs(blocks: range, size_bytes: int, blocks_at_once: int) -> Iterator[tuple[int, int, slice]]:
    """Divides blocks of a content of this size into runs: offset and length in the content, and the place of the checksums."""
    for first in range(blocks.start, blocks.stop, blocks_at_once):
        stop = min(first + blocks_at_once, blocks.stop)
        start = first * BLOCK_BYTES
        place = slice((first - blocks.start) * CHECKSUM_BYTES, (stop - blocks.start) * CHECKSUM_BYTES)
        yield start, min(stop * BLOCK_BYTES, size_bytes) - start, place
