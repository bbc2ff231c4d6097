"""The codecs of blobs that are stored whole. The codec of deltas is in `delta.py`.

`zstd`: independent frames of up to 1 MiB of plain bytes, each with a checksum. After several frames comes a seek table, as in
zstd's seekable format: it is a skippable frame, so `zstd -d` can read the file. `raw`: the plain bytes, when zstd saves little;
the checksums of their blocks are kept in the database (`blocks.py`).
Both work on one block at a time, so memory does not grow with the blob.

All stored bytes, of deltas too, are written through `Spool.write` and read through `BlobContents._open`. Encryption would be
added in these two places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

import zstandard

from holdfastd.blobs.blocks import BLOCK_BYTES, BlockChecksums, covering, intact, runs
from holdfastd.blobs.seekable import FRAME_BYTES, Frame, SeekTable, write_table
from holdfastd.model.blobs import RAW, ZSTD, named_digest

_LEVEL = 3
_PAYS = 0.95  # a first frame above this share of its plain size makes the blob raw


class Damaged(Exception):
    """The stored bytes have changed since they were written. The error does not name the blob; its caller knows it."""


class Sink(Protocol):
    """Takes the stored bytes from an encoder."""

    def write(self, data: bytes) -> None: ...


class StoredBytes(Protocol):
    """Stored bytes to be read: a file, or the content of a row."""

    def size(self) -> int: ...

    def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes, or fewer at the end."""
        ...


class Encoder:
    """Hashes, counts and compresses a blob as its chunks arrive. Used by one thread at a time."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._plain = hashlib.sha256()
        self._stored = hashlib.sha256()
        self._block = bytearray()
        self._frames: list[Frame] = []
        self._blocks = BlockChecksums()
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
        self.codec = ZSTD
        self.size_bytes = 0
        self.stored_bytes = 0

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        self._plain.update(chunk)
        self.size_bytes += len(chunk)
        self._block += chunk
        while len(self._block) >= FRAME_BYTES:
            block = bytes(memoryview(self._block)[:FRAME_BYTES])
            del self._block[:FRAME_BYTES]
            self._emit(block)

    def finish(self) -> None:
        """Writes the last block and the seek table. Read `digest` and `stored_digest` after this."""
        if self._block or not self.size_bytes:
            self._emit(bytes(self._block))
            self._block.clear()
        if self.codec == ZSTD and len(self._frames) > 1:
            self._write(write_table(self._frames))

    @property
    def digest(self) -> str:
        return named_digest(self._plain.hexdigest())

    @property
    def stored_digest(self) -> str:
        return named_digest(self._stored.hexdigest())

    @property
    def checksums(self) -> bytes:
        """The checksums of the blocks of a raw blob; empty for any other."""
        return self._blocks.packed() if self.codec == RAW else b""

    def _emit(self, block: bytes) -> None:
        if self.codec == RAW:
            self._emit_raw(block)
            return
        frame = self._compressor.compress(block)
        if not self._frames and len(frame) > _PAYS * len(block):
            self.codec = RAW  # the first block decides, before anything is written
            self._emit_raw(block)
            return
        self._frames.append(Frame(len(frame), len(block)))
        self._write(frame)

    def _emit_raw(self, block: bytes) -> None:
        self._blocks.feed(block)
        self._write(block)

    def _write(self, data: bytes) -> None:
        self._stored.update(data)
        self.stored_bytes += len(data)
        self._sink.write(data)


def plain_chunks(
    stored: StoredBytes, codec: str, size_bytes: int, offset: int, length: int, checksums: bytes | None = None
) -> Iterator[bytes]:
    """`length` plain bytes from `offset` on, in chunks of up to 1 MiB. Not for deltas.

    Reads only the frames or blocks that the range touches. Raises Damaged before it yields any byte of a damaged one.
    checksums: of a raw blob, those of the blocks that hold the range. None: the caller checks the bytes itself.
    """
    if length == 0:
        return
    if codec == RAW:
        if stored.size() != size_bytes:
            raise Damaged(f"{stored.size()} bytes are stored instead of {size_bytes}")
        yield from (
            _checked_raw(stored, size_bytes, offset, length, checksums) if checksums is not None else _raw(stored, offset, length)
        )
        return
    if codec != ZSTD:
        raise Damaged("its row names an unknown codec")
    table = SeekTable.of_single(stored.size(), size_bytes) if size_bytes <= FRAME_BYTES else _read_table(stored, size_bytes)
    for frame, frame_offset, plain_start in table.covering(offset, length):
        plain = _decode_frame(stored.read_at(frame_offset, frame.stored_bytes), frame)
        yield plain[max(0, offset - plain_start) : offset + length - plain_start]


def _raw(stored: StoredBytes, offset: int, length: int) -> Iterator[bytes]:
    end = offset + length
    while offset < end:
        chunk = stored.read_at(offset, min(FRAME_BYTES, end - offset))
        if not chunk:
            raise Damaged("the stored bytes end too early")
        yield chunk
        offset += len(chunk)


def _checked_raw(stored: StoredBytes, size_bytes: int, offset: int, length: int, checksums: bytes) -> Iterator[bytes]:
    end = offset + length
    for start, run_bytes, place in runs(covering(offset, length), size_bytes, FRAME_BYTES // BLOCK_BYTES):
        data = stored.read_at(start, run_bytes)
        if len(data) != run_bytes or not intact(data, checksums[place]):
            raise Damaged(f"the bytes {start} to {start + run_bytes - 1} or their checksums have changed")
        yield data[max(0, offset - start) : end - start]


def _read_table(stored: StoredBytes, size_bytes: int) -> SeekTable:
    try:
        table = SeekTable.read(stored)
    except ValueError as error:
        raise Damaged(str(error)) from error
    if table.plain_bytes != size_bytes:
        raise Damaged("the seek table gives another size")
    return table


def _decode_frame(data: bytes, frame: Frame) -> bytes:
    try:
        if len(data) != frame.stored_bytes or zstandard.frame_content_size(data) != frame.plain_bytes:
            raise Damaged("a frame has another size than in the seek table")
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise Damaged(f"a frame does not decompress: {error}") from error
