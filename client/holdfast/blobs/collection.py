"""Blobs: immutable bytes, named by the SHA-256 of their content, uploaded and read in constant memory."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import BinaryIO, cast

import grpc

from holdfast.blobs.sources import Source, SourceLike, source_of
from holdfast.contract.messages import message_with
from holdfast.errors import DataLoss, HoldfastError, InvalidArgument, NotFound
from holdfast.v1 import blob_service_pb2
from holdfast.wire.connection import Connection
from holdfast.wire.retry import Patience
from holdfast.wire.streams import Stream

READ_BUFFER_BYTES = 256 << 10
SLOWEST_BYTES_PER_S = 1 << 20
KIND_SINCE = 4  # the API version in which a Put states the kind


class Blobs:
    """The blobs of the store, which all workspaces share. Thread-safe.

    A digest is `sha256:` and 64 hexadecimal digits. A blob is kept while a record or an entry refers to it, and for at least an
    hour after it was put.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, source: SourceLike, /, *, base_digest: str = "", kind: str = "") -> blob_service_pb2.BlobServicePutResponse:
        """Stores bytes, or the content of a path (`str`, `Path`) or a binary file. The answer has `digest` and `size_bytes`.

        `base_digest` may name a similar blob, to store only the difference. `kind` may name the kind of the record that will
        refer to the blob: the daemon's setting `inline_max_bytes` may keep those of a kind in files.
        The blob is durable when this returns. After an outage it is sent again from the start; if the source is a file that
        cannot seek, the error is raised instead.
        """
        chosen = source_of(source)
        header = message_with(blob_service_pb2.BlobPutHeader, base_digest=base_digest, kind=kind)
        if chosen.size_bytes is not None:
            header.size_bytes = chosen.size_bytes
        return self.upload(header, chosen)

    def get(self, digest: str, /, *, offset: int = 0, length: int = 0) -> bytes:
        """Returns `length` bytes of a blob (0: to the end), starting at `offset`. Raises NotFound, DataLoss."""
        return b"".join(self.chunks(digest, offset, length))

    def open(self, digest: str, /) -> BinaryIO:
        """Returns a readable, seekable binary file that fetches the bytes it reads. Raises NotFound; reading raises DataLoss."""
        reader = BlobReader(self, digest, self.stat(digest).size_bytes)
        return cast(BinaryIO, io.BufferedReader(reader, READ_BUFFER_BYTES))

    def stat(self, digest: str, /) -> blob_service_pb2.BlobServiceStatResponse:
        """Returns a blob's sizes, its storage form and the end of its lease. Raises NotFound."""
        request = message_with(blob_service_pb2.BlobServiceStatRequest, digest=digest)
        return self._connection.call(lambda stubs: stubs.blob.Stat, request)

    def exists(self, digest: str, /) -> bool:
        """Whether the store has the blob."""
        try:
            self.stat(digest)
        except NotFound:
            return False
        return True

    def upload(self, header: blob_service_pb2.BlobPutHeader, source: Source) -> blob_service_pb2.BlobServicePutResponse:
        """Sends a header and the source's chunks, again while the daemon is away. `blobs.uploads` calls it to send deltas."""
        allowance_s = (source.size_bytes or 0) / SLOWEST_BYTES_PER_S
        patience = self._connection.patience(allowance_s)
        while True:
            stubs = self._connection.stubs()
            if header.kind and not self._connection.speaks(KIND_SINCE):
                header.ClearField("kind")  # an older daemon has one limit for all kinds
            first = blob_service_pb2.BlobServicePutRequest(header=header)
            metadata = self._connection.metadata_for(first)
            frames = _Frames(header, source)
            timeout_s = patience.remaining_s if source.size_bytes is not None else None
            try:
                answer: blob_service_pb2.BlobServicePutResponse
                answer = self._connection.attempt(stubs.blob.Put, frames, first, patience, metadata, timeout_s)
            except grpc.RpcError as failure:
                error = self._connection.translated(failure, first)
            else:
                self._connection.saw(answer.revision)
                return answer
            finally:
                frames.stop()
            self._after(frames, error, source, patience)

    def _after(self, frames: _Frames, error: HoldfastError, source: Source, patience: Patience) -> None:
        if frames.error is not None:
            raise frames.error
        if not source.repeatable and frames.begun:
            raise error
        self._connection.recover(error, patience)

    def chunks(self, digest: str, offset: int, length: int) -> Iterator[bytes]:
        """Yields the same bytes as `get`, in chunks of at most 3 MiB, as they arrive."""
        if offset < 0 or length < 0:
            raise InvalidArgument("offset and length may not be negative.", reason="VALUE_INVALID")
        request = message_with(blob_service_pb2.BlobServiceGetRequest, digest=digest, offset=offset, length=length)
        stream: Stream[blob_service_pb2.BlobServiceGetRequest, blob_service_pb2.BlobServiceGetResponse]
        stream = Stream(self._connection, lambda stubs: stubs.blob.Get, lambda: request)
        end = offset + length if length else 0
        for frame in stream:
            end = min(end or frame.size_bytes, frame.size_bytes) if frame.size_bytes else end
            request.offset += len(frame.chunk)
            request.length = max(end - request.offset, 0)
            yield frame.chunk
            if request.offset >= end:
                return


class _Frames:
    """The frames of one attempt. A thread of grpcio reads them; after `stop` returns, it no longer reads the source."""

    def __init__(self, header: blob_service_pb2.BlobPutHeader, source: Source) -> None:
        self.error: Exception | None = None
        self.begun = False
        self._lock = threading.Lock()
        self._stopped = False
        self._frames = self._all(header, source)

    def __iter__(self) -> Iterator[blob_service_pb2.BlobServicePutRequest]:
        return self

    def __next__(self) -> blob_service_pb2.BlobServicePutRequest:
        with self._lock:
            if self._stopped:
                raise StopIteration
            try:
                return next(self._frames)
            except StopIteration:
                raise
            except Exception as error:
                self.error = error
                raise

    def stop(self) -> None:
        with self._lock:
            self._stopped = True

    def _all(self, header: blob_service_pb2.BlobPutHeader, source: Source) -> Iterator[blob_service_pb2.BlobServicePutRequest]:
        yield blob_service_pb2.BlobServicePutRequest(header=header)
        self.begun = True
        for chunk in source.chunks():
            yield blob_service_pb2.BlobServicePutRequest(chunk=chunk)


class BlobReader(io.RawIOBase):
    """A blob as a raw file. Sequential reads use one stream; after a seek, the next read opens another."""

    def __init__(self, blobs: Blobs, digest: str, size_bytes: int) -> None:
        super().__init__()
        self._blobs = blobs
        self._digest = digest
        self._size_bytes = size_bytes
        self._position = 0
        self._chunks: Iterator[bytes] | None = None
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}, before the start")
        if start + offset != self._position:
            self._drop()
            self._position = start + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        if self._position >= self._size_bytes:
            return 0
        if not self._rest:
            self._rest = memoryview(self._next_chunk())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._position += count
        return count

    def close(self) -> None:
        self._drop()
        super().close()

    def _next_chunk(self) -> bytes:
        if self._chunks is None:
            self._chunks = self._blobs.chunks(self._digest, self._position, 0)
        for chunk in self._chunks:
            if chunk:
                return chunk
        raise DataLoss(f"{self._digest} ended at byte {self._position} of {self._size_bytes}.", metadata={"digest": self._digest})

    def _drop(self) -> None:
        self._chunks, self._rest = None, memoryview(b"")
