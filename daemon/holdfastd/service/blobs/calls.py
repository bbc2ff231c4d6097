"""The operations on blobs: `Blobs` with plain values, and `BlobCalls`, which is BlobService with the contract's messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from holdfast.contract.kinds import STORED_JOURNALS
from holdfast.v1 import blob_service_pb2 as pb
from holdfastd.blobs.cache import ContentCache
from holdfastd.blobs.files import BlobFiles
from holdfastd.blobs.room import UNLIMITED, Room
from holdfastd.errors import DataLoss, InvalidArgument, NotFound
from holdfastd.model import codec
from holdfastd.model.blobs import BlobProblem, BlobStat, BlobTotals, PutHeader, check_digest
from holdfastd.model.call import Call
from holdfastd.model.names import kind_named
from holdfastd.service.blobs.contents import CHUNK_BYTES, BlobContents, BlobRange
from holdfastd.service.blobs.draft import MIB, BlobSettings, Uploads
from holdfastd.service.blobs.upload import Upload, begin
from holdfastd.service.blobs.verify import STORED_PROBLEMS, Report, verify_blobs, verify_files
from holdfastd.store import blobs as rows
from holdfastd.store.engine import Readers
from holdfastd.writer.writer import Writer

END_OF_CALL_S = 0.05
CHUNK_MAX_BYTES = 3 * MIB
FRAME_COPIES = 4  # of a chunk that is read, hashed, put into a frame and encoded


class Blobs:
    """The blobs of one store. Holds no snapshot while it yields; changes rows only through the writer. Thread-safe."""

    def __init__(
        self,
        writer: Writer,
        readers: Readers,
        files: BlobFiles,
        settings: BlobSettings,
        *,
        is_recovering: Callable[[], bool] = lambda: False,
        room: Room = UNLIMITED,
    ) -> None:
        """`is_recovering`: whether orphans of an unclean stop are still being deleted. `room`: that of the disk of the files."""
        self._readers = readers
        self._is_recovering = is_recovering
        self._files = files
        self._contents = BlobContents(readers, files, ContentCache(settings.cache_bytes))
        self._uploads = Uploads(writer, readers, files, self._contents, settings, room)

    def begin(self, header: PutHeader, call: Call) -> Upload:
        """Begins a Put. The caller feeds the upload, and ends it with `finish` or `abort`.

        Raises INVALID_ARGUMENT (VALUE_INVALID, TOO_LARGE, SIZE_MISMATCH). For a delta also NOT_FOUND (BASE_NOT_FOUND), after
        which the caller must send the whole content.
        """
        return begin(self._uploads, header, call)

    def read(self, digest: str, offset: int, length: int, call: Call) -> BlobRange:
        """A range in chunks of up to 1 MiB; `length` 0 means to the end.

        Raises NOT_FOUND (BLOB_NOT_FOUND) or OUT_OF_RANGE. Raises DATA_LOSS (BLOB_DAMAGED) here or with any chunk, and then the
        earlier chunks must be discarded; its metadata has `digest`, the requested blob, and `damaged_digest`, the damaged one.
        """
        return self._contents.read(check_digest(digest), offset, length, call)

    def stat(self, digest: str, call: Call) -> BlobStat:
        """The row, and the number of references to the blob. Raises NOT_FOUND (BLOB_NOT_FOUND)."""
        check_digest(digest)
        with self._readers.snapshot(call) as connection:
            found = rows.stat(connection, digest)
        if found is None:
            raise NotFound(f"There is no blob {digest}.", reason="BLOB_NOT_FOUND", digest=digest)
        if not found.row.is_intact:
            message = f"The row of the blob {digest} is damaged. Run verify, and restore a backup."
            raise DataLoss(message, reason="BLOB_DAMAGED", digest=digest, damaged_digest=digest)
        return found

    def totals(self, call: Call) -> BlobTotals:
        """Number and size of all blobs."""
        with self._readers.snapshot(call) as connection:
            return rows.totals(connection)

    def missing_checksums(self, call: Call) -> Iterator[tuple[str, bytes | None]]:
        """As `BlobContents.missing_checksums`, for the job `checksums`."""
        return self._contents.missing_checksums(call)

    def verify(self, read_blobs: bool, report: Report, call: Call) -> Iterator[BlobProblem]:
        """The problems of rows, files and references; with `read_blobs` also of the contents. Changes nothing in the store.

        The next Put of a blob with a problem replaces its stored bytes.
        """
        uncached = BlobContents(self._readers, self._files, ContentCache(0))
        is_recovering = self._is_recovering()
        for problem in verify_blobs(self._readers, uncached, self._files, read_blobs, report, call):
            if problem.reason in STORED_PROBLEMS:
                self._contents.note_damage(problem.subject)
            yield problem
        if not is_recovering:
            yield from verify_files(self._readers, self._files, report, call)


class BlobCalls:
    """Put, Get and Stat. Thread-safe."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def put(self, requests: Iterator[pb.BlobServicePutRequest], call: Call) -> pb.BlobServicePutResponse:
        """Stores the content of the stream; nothing when the stream breaks off."""
        header = _header(next(requests, None))
        upload = self._blobs.begin(header, call)
        try:
            _feed(upload, requests)
            if header.size_bytes is None:
                _wait_for_end(call)
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
        """Frames of a blob or of a range of it. An empty blob has one frame too, with its size."""
        call.claim.take_when_free(FRAME_COPIES * CHUNK_BYTES, call)
        found = self._blobs.read(request.digest, request.offset, request.length, call)
        first = True
        for chunk in found:
            yield pb.BlobServiceGetResponse(size_bytes=found.size_bytes if first else 0, chunk=chunk)
            first = False
        if first:
            yield pb.BlobServiceGetResponse(size_bytes=found.size_bytes)

    def stat(self, request: pb.BlobServiceStatRequest, call: Call) -> pb.BlobServiceStatResponse:
        """A blob's row and its reference count, without reading the content."""
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
    if header.kind and header.kind not in STORED_JOURNALS:
        kind_named(header.kind)
    return PutHeader(header.digest, size, header.base_digest, delta, header.kind)


def _wait_for_end(call: Call) -> None:
    """Waits END_OF_CALL_S, in which grpcio may report that the caller has gone.

    When a caller goes, grpcio ends the request stream as if it were complete, perhaps before it reports that. Without a size in
    the header, the part received so far would be stored as a blob.
    """
    gone = threading.Event()
    call.on_end(gone.set)
    gone.wait(END_OF_CALL_S)


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
