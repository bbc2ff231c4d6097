"""Puts: one upload is one caller's stream of chunks, fed by one thread.

Three ways in: streamed whole in constant memory; gathered, where a base is hinted at; and a delta, of which only the middle
comes. What the caller said about size and digest is held against what came before anything is made durable.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from holdfast.contract.digests import hash_content
from holdfastd.blobs.delta import Cut
from holdfastd.errors import DataLoss, Exhausted, InvalidArgument, NotFound
from holdfastd.model.blobs import PutHeader, PutResult, digest_of, named_digest
from holdfastd.model.call import Call
from holdfastd.model.commands import RenewBlob, StoredBlob
from holdfastd.service.blobs.delta import KnownBase, store_content
from holdfastd.service.blobs.draft import Uploading


class Upload(Protocol):
    """A Put under way. After `finish` or `abort` it is over; `abort` after `finish` does nothing."""

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes. Raises INVALID_ARGUMENT (SIZE_MISMATCH, TOO_LARGE) or RESOURCE_EXHAUSTED (DISK_FULL)."""
        ...

    def finish(self, call: Call) -> PutResult:
        """Makes the blob durable. Raises INVALID_ARGUMENT (SIZE_MISMATCH, DIGEST_MISMATCH) or what the writer raises."""
        ...

    def abort(self) -> None:
        """Leaves nothing behind."""
        ...


class StreamUpload:
    """A blob that is stored whole, in constant memory."""

    def __init__(self, uploading: Uploading, header: PutHeader) -> None:
        self._uploading = uploading
        self._header = header
        self._draft = uploading.new_draft()

    def feed(self, chunk: bytes) -> None:
        check_growth(self._uploading, self._header.size_bytes, self._draft.encoder.size_bytes + len(chunk))
        self._draft.encoder.feed(chunk)

    def finish(self, call: Call) -> PutResult:
        try:
            encoder = self._draft.encoder
            encoder.finish()
            check_outcome(self._header, encoder.size_bytes, encoder.digest)
            return result_of(self._draft.commit_whole(call))
        finally:
            self._draft.discard()

    def abort(self) -> None:
        self._draft.discard()


class KnownUpload:
    """A blob that was there when the Put began, and was leased then: the chunks are only checked."""

    def __init__(self, uploading: Uploading, header: PutHeader) -> None:
        self._uploading = uploading
        self._header = header
        self._hasher = hashlib.sha256()
        self._size_bytes = 0

    def feed(self, chunk: bytes) -> None:
        self._size_bytes += len(chunk)
        check_growth(self._uploading, self._header.size_bytes, self._size_bytes)
        self._hasher.update(chunk)

    def finish(self, call: Call) -> PutResult:
        check_outcome(self._header, self._size_bytes, named_digest(self._hasher.hexdigest()))
        renewed = self._uploading.writer.submit(RenewBlob(self._header.digest, self._uploading.settings.lease_ns), call)
        if renewed is None:  # its lease ended while it was sent: an hour or more
            raise Exhausted("The blob was swept while it was sent. Send it again.", reason="BLOB_SWEPT", retry_delay_s=0.1)
        return result_of(renewed)

    def abort(self) -> None:
        """Nothing was kept."""


class GatheredUpload:
    """A whole blob with a base as a hint: gathered in memory for the delta, or streamed once it is too large for one."""

    def __init__(self, uploading: Uploading, header: PutHeader) -> None:
        self._uploading = uploading
        self._header = header
        self._gathered = bytearray()
        self._stream: StreamUpload | None = None

    def feed(self, chunk: bytes) -> None:
        if self._stream is None and len(self._gathered) + len(chunk) > self._uploading.settings.delta_max_bytes:
            self._stream = StreamUpload(self._uploading, self._header)
            self._stream.feed(bytes(self._gathered))
            self._gathered.clear()
        if self._stream is not None:
            self._stream.feed(chunk)
            return
        check_growth(self._uploading, self._header.size_bytes, len(self._gathered) + len(chunk))
        self._gathered += chunk

    def finish(self, call: Call) -> PutResult:
        if self._stream is not None:
            return self._stream.finish(call)
        content = bytes(self._gathered)
        self._gathered.clear()
        digest = digest_of(content)
        check_outcome(self._header, len(content), digest)
        return result_of(store_content(self._uploading, digest, content, self._header.base_digest, None, call))

    def abort(self) -> None:
        self._gathered.clear()
        if self._stream is not None:
            self._stream.abort()


class DeltaUpload:
    """Only the middle comes; prefix and suffix are the base's."""

    def __init__(self, uploading: Uploading, header: PutHeader, call: Call) -> None:
        """Raises NOT_FOUND (BASE_NOT_FOUND) when the whole must be sent, INVALID_ARGUMENT when the header cannot be."""
        if header.delta is None or header.size_bytes is None or not header.digest:
            raise InvalidArgument("A delta needs digest, size_bytes and base_digest.", reason="VALUE_INVALID", field="header")
        self._uploading = uploading
        self._header = header
        self._cut = Cut(*header.delta)
        self._middle = bytearray()
        self._middle_bytes = header.size_bytes - self._cut.prefix - self._cut.suffix
        self._base_content = _sent_base(uploading, header, call)
        if not self._cut.fits(len(self._base_content)):
            message = f"prefix_bytes and suffix_bytes must lie within the base, which has {len(self._base_content)} bytes."
            raise InvalidArgument(message, reason="VALUE_INVALID", field="delta")
        if self._middle_bytes < 0:
            raise _size_mismatch(header.size_bytes, self._cut.prefix + self._cut.suffix)

    def feed(self, chunk: bytes) -> None:
        if len(self._middle) + len(chunk) > self._middle_bytes:
            raise _size_mismatch(self._middle_bytes, len(self._middle) + len(chunk))
        self._middle += chunk

    def finish(self, call: Call) -> PutResult:
        content = self._cut.splice(self._base_content, bytes(self._middle))
        self._middle.clear()
        contents, base_digest = self._uploading.contents, self._header.base_digest
        hashed = hash_content(content, contents.hashed(base_digest), self._cut.prefix)
        check_outcome(self._header, len(content), hashed.digest)
        known = KnownBase(base_digest, self._base_content, self._cut)
        stored = store_content(self._uploading, hashed.digest, content, base_digest, known, call)
        contents.remember_hash(hashed)
        return result_of(stored)

    def abort(self) -> None:
        self._middle.clear()


def check_growth(uploading: Uploading, expected: int | None, size_bytes: int) -> None:
    """INVALID_ARGUMENT as soon as more has come than was announced or is allowed."""
    if size_bytes > uploading.settings.max_blob_bytes:
        raise uploading.too_large(size_bytes)
    if expected is not None and size_bytes > expected:
        raise _size_mismatch(expected, size_bytes)


def check_outcome(header: PutHeader, size_bytes: int, digest: str) -> None:
    """INVALID_ARGUMENT when what came is not what was announced."""
    if header.size_bytes is not None and size_bytes != header.size_bytes:
        raise _size_mismatch(header.size_bytes, size_bytes)
    if header.digest and digest != header.digest:
        message = f"The content has the digest {digest}, not {header.digest} as the header says."
        raise InvalidArgument(message, reason="DIGEST_MISMATCH", expected=header.digest, actual=digest)


def result_of(stored: StoredBlob) -> PutResult:
    """The answer of a Put."""
    row = stored.row
    return PutResult(row.digest, row.size_bytes, row.stored_bytes, stored.existed, row.lease_expire_time, stored.revision)


def _size_mismatch(expected: int, actual: int) -> InvalidArgument:
    message = f"{actual} bytes came instead of {expected}: the upload is truncated, or size_bytes is wrong."
    return InvalidArgument(message, reason="SIZE_MISMATCH", expected=expected, actual=actual)


def _sent_base(uploading: Uploading, header: PutHeader, call: Call) -> bytes:
    """The content of the base that the client cut its content against."""
    try:
        row = uploading.contents.lineage(header.base_digest, call)[0]
        limit = uploading.settings.delta_max_bytes
        if not uploading.settings.delta or max(row.size_bytes, header.size_bytes or 0) > limit:
            raise _send_whole(header.base_digest, "is not used for deltas")
        return uploading.contents.whole(header.base_digest, call)
    except NotFound as error:
        raise _send_whole(header.base_digest, "is unknown") from error
    except DataLoss as error:
        raise _send_whole(header.base_digest, "cannot be read") from error


def _send_whole(digest: str, why: str) -> NotFound:
    return NotFound(f"The base {digest} {why}. Send the whole content.", reason="BASE_NOT_FOUND", digest=digest)
