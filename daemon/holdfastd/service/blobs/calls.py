"""BlobService in the contract's messages, over `Blobs`."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from holdfast.v1 import blob_service_pb2 as pb
from holdfastd.errors import InvalidArgument
from holdfastd.model import codec
from holdfastd.model.blobs import PutHeader
from holdfastd.model.call import Call
from holdfastd.service.blobs.blobs import Blobs
from holdfastd.service.blobs.ports import MIB
from holdfastd.service.blobs.upload import Upload

FAREWELL_S = 0.05
CHUNK_MAX_BYTES = 3 * MIB


class BlobCalls:
    """Put, Get and Stat. Thread-safe."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def put(self, requests: Iterator[pb.BlobServicePutRequest], call: Call) -> pb.BlobServicePutResponse:
        """Stores what the stream brings; a stream that breaks off leaves nothing that is named."""
        header = _header(next(requests, None))
        upload = self._blobs.begin(header, call)
        try:
            _feed(upload, requests)
            if header.size_bytes is None:
                _let_farewell_come(call)
            call.check()
            result = upload.finish(call)
        except BaseException:
            upload.abort()
            raise
        response = pb.BlobServicePutResponse(
            digest=result.digest,
            size_bytes=result.size_bytes,
            stored_bytes=result.stored_bytes,
            existed=result.existed,
            revision=result.revision,
        )
        codec.set_time(response.lease_expire_time, result.lease_expire_time)
        return response

    def get(self, request: pb.BlobServiceGetRequest, call: Call) -> Iterator[pb.BlobServiceGetResponse]:
        """Frames of a blob or a range of it; an empty one has one frame, too."""
        reading = self._blobs.read(request.digest, request.offset, request.length, call)
        first = True
        for chunk in reading:
            yield pb.BlobServiceGetResponse(size_bytes=reading.size_bytes if first else 0, chunk=chunk)
            first = False
        if first:
            yield pb.BlobServiceGetResponse(size_bytes=reading.size_bytes)

    def stat(self, request: pb.BlobServiceStatRequest, call: Call) -> pb.BlobServiceStatResponse:
        """A blob's row."""
        stat = self._blobs.stat(request.digest, call)
        row = stat.row
        response = pb.BlobServiceStatResponse(
            digest=row.digest,
            size_bytes=row.size_bytes,
            stored_bytes=row.stored_bytes,
            codec=row.codec,
            path=row.path,
            base_digest=row.base_digest or "",
            depth=row.depth,
            reference_count=stat.reference_count,
        )
        codec.set_time(response.lease_expire_time, row.lease_expire_time)
        codec.set_time(response.create_time, row.create_time)
        return response


def _header(request: pb.BlobServicePutRequest | None) -> PutHeader:
    if request is None or request.WhichOneof("frame") != "header":
        raise InvalidArgument("The first frame of a Put is a header.", reason="VALUE_INVALID", field="header")
    header = request.header
    delta = (header.delta.prefix_bytes, header.delta.suffix_bytes) if header.HasField("delta") else None
    size = header.size_bytes if header.HasField("size_bytes") else None
    return PutHeader(header.digest, size, header.base_digest, delta)


def _let_farewell_come(call: Call) -> None:
    """A caller that goes in the middle ends its stream like one that is done: grpcio may tell of the end before it tells that
    nobody is there any more. Where no size was announced that would make a blob of what had come."""
    gone = threading.Event()
    call.on_end(gone.set)
    gone.wait(FAREWELL_S)


def _feed(upload: Upload, requests: Iterator[pb.BlobServicePutRequest]) -> None:
    for request in requests:
        if request.WhichOneof("frame") != "chunk":
            raise InvalidArgument("After the header every frame of a Put is a chunk.", reason="VALUE_INVALID", field="chunk")
        _check_chunk(len(request.chunk))
        upload.feed(request.chunk)


def _check_chunk(size_bytes: int) -> None:
    if size_bytes > CHUNK_MAX_BYTES:
        raise InvalidArgument(
            f"A chunk has {size_bytes:,} bytes; the limit is {CHUNK_MAX_BYTES:,}. Send smaller ones; 1 MiB is a good size.",
            reason="TOO_LARGE",
            limit=CHUNK_MAX_BYTES,
            size=size_bytes,
        )
