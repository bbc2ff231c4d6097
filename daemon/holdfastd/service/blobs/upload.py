"""Puts. An upload receives the chunks of one Put, in one thread. `begin` chooses one of four:

- StreamUpload: a whole blob, stored in constant memory.
- KnownUpload: a blob that is stored already and has its bytes.
- GatheredUpload: a whole blob whose header names a base; kept in memory to make a delta.
- DeltaUpload: only the middle is sent; prefix and suffix are copied from the base.

Each compares size and digest with the header before it makes anything durable.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from holdfast.contract.digests import hash_content
from holdfastd.blobs.delta import Cut
from holdfastd.errors import DataLoss, Exhausted, InvalidArgument, NotFound
from holdfastd.model.blobs import PutHeader, PutResult, check_digest, digest_of, named_digest
from holdfastd.model.budget import Claim
from holdfastd.model.call import Call
from holdfastd.model.commands import StoredBlob
from holdfastd.service.blobs.delta import Base, Gathered, SentBase, read_base, store_content
from holdfastd.service.blobs.draft import Uploads, WholeDraft

GATHERED_COPIES = 2  # of a content: the bytes gathered, and their copy when it is complete


class Upload(Protocol):
    """A Put in progress. `finish` or `abort` ends it; `abort` after `finish` does nothing."""

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes. Raises INVALID_ARGUMENT (SIZE_MISMATCH, TOO_LARGE) or RESOURCE_EXHAUSTED (DISK_FULL)."""
        ...

    def finish(self, call: Call) -> PutResult:
        """Makes the blob durable. Raises INVALID_ARGUMENT (SIZE_MISMATCH, DIGEST_MISMATCH) or what the writer raises."""
        ...

    def abort(self) -> None:
        """Drops the bytes received and removes the temporary file."""
        ...


def begin(uploads: Uploads, header: PutHeader, call: Call) -> Upload:
    """The upload that the header asks for. Raises as `Blobs.begin`."""
    _check_header(uploads, header)
    if header.delta is not None:
        return DeltaUpload(uploads, header, call)
    if header.digest and uploads.renew_stored(header.digest, header.kind, call) is not None:
        return KnownUpload(uploads, header)
    if header.base_digest and uploads.settings.delta:
        return GatheredUpload(uploads, header, call.claim)
    return StreamUpload(uploads, header)


class StreamUpload:
    """A blob that is stored whole, in constant memory."""

    def __init__(self, uploads: Uploads, header: PutHeader) -> None:
        self._uploads = uploads
        self._header = header
        self._whole = WholeDraft(uploads, header.kind)

    def feed(self, chunk: bytes) -> None:
        _check_growth(self._uploads, self._header.size_bytes, self._whole.encoder.size_bytes + len(chunk))
        self._whole.encoder.feed(chunk)

    def finish(self, call: Call) -> PutResult:
        try:
            encoder = self._whole.encoder
            encoder.finish()
            _check_outcome(self._header, encoder.size_bytes, encoder.digest)
            return _result_of(self._whole.commit(call))
        finally:
            self._whole.discard()

    def abort(self) -> None:
        self._whole.discard()


class KnownUpload:
    """A blob that is stored already. `begin` renewed its lease; the chunks are only compared with the header."""

    def __init__(self, uploads: Uploads, header: PutHeader) -> None:
        self._uploads = uploads
        self._header = header
        self._hasher = hashlib.sha256()
        self._size_bytes = 0

    def feed(self, chunk: bytes) -> None:
        self._size_bytes += len(chunk)
        _check_growth(self._uploads, self._header.size_bytes, self._size_bytes)
        self._hasher.update(chunk)

    def finish(self, call: Call) -> PutResult:
        _check_outcome(self._header, self._size_bytes, named_digest(self._hasher.hexdigest()))
        renewed = self._uploads.renew(self._header.digest, call)
        if renewed is None:  # the upload took longer than the lease
            raise Exhausted("The blob was swept during the upload. Send it again.", reason="BLOB_SWEPT", retry_delay_s=0.1)
        if not self._uploads.contents.is_stored(self._header.digest, call):  # they were when the upload began
            message = "The stored bytes of the blob were lost or found damaged during the upload. Send the content again."
            raise Exhausted(message, reason="BLOB_LOST", retry_delay_s=0.1)
        return _result_of(renewed)

    def abort(self) -> None:
        """Does nothing: no bytes were kept."""


class GatheredUpload:
    """A whole blob whose header names a base: gathered in memory to make a delta; streamed when it gets too large for one, or
    when its caller's share of memory is used up."""

    def __init__(self, uploads: Uploads, header: PutHeader, claim: Claim) -> None:
        self._uploads = uploads
        self._header = header
        self._claim = claim
        self._gathered = bytearray()
        self._stream: StreamUpload | None = None

    def feed(self, chunk: bytes) -> None:
        if self._stream is None and not self._may_gather(chunk):
            self._stream = StreamUpload(self._uploads, self._header)
            self._stream.feed(bytes(self._gathered))
            self._claim.give(GATHERED_COPIES * len(self._gathered))
            self._gathered = bytearray()
        if self._stream is not None:
            self._stream.feed(chunk)
            return
        _check_growth(self._uploads, self._header.size_bytes, len(self._gathered) + len(chunk))
        self._gathered += chunk

    def _may_gather(self, chunk: bytes) -> bool:
        return len(self._gathered) + len(chunk) <= self._uploads.settings.delta_max_bytes and self._claim.fits(
            GATHERED_COPIES * len(chunk)
        )

    def finish(self, call: Call) -> PutResult:
        if self._stream is not None:
            return self._stream.finish(call)
        content = bytes(self._gathered)
        self._gathered = bytearray()
        digest = digest_of(content)
        _check_outcome(self._header, len(content), digest)
        base = read_base(self._uploads, digest, self._header.base_digest, call)
        new = Gathered(digest, content, self._header.kind)
        return _result_of(store_content(self._uploads, new, base, None, call))

    def abort(self) -> None:
        self._gathered.clear()
        if self._stream is not None:
            self._stream.abort()


class DeltaUpload:
    """A blob of which only the middle is sent; prefix and suffix are copied from the base."""

    def __init__(self, uploads: Uploads, header: PutHeader, call: Call) -> None:
        """Raises NOT_FOUND (BASE_NOT_FOUND) when the caller must send the whole content, INVALID_ARGUMENT for a bad header."""
        if header.delta is None or header.size_bytes is None or not header.digest:
            raise InvalidArgument("A delta needs digest, size_bytes and base_digest.", reason="VALUE_INVALID", field="header")
        self._uploads = uploads
        self._header = header
        cut = Cut(*header.delta)
        self._middle = bytearray()
        self._middle_bytes = header.size_bytes - cut.prefix - cut.suffix
        self._base = read_base(uploads, header.digest, header.base_digest, call)
        self._sent = SentBase(_base_content(uploads, header, self._base, call), cut)
        if not cut.fits(len(self._sent.content)):
            message = f"prefix_bytes and suffix_bytes must lie within the base, which has {len(self._sent.content)} bytes."
            raise InvalidArgument(message, reason="VALUE_INVALID", field="delta")
        if self._middle_bytes < 0:
            raise _size_mismatch(header.size_bytes, cut.prefix + cut.suffix)

    def feed(self, chunk: bytes) -> None:
        if len(self._middle) + len(chunk) > self._middle_bytes:
            raise _size_mismatch(self._middle_bytes, len(self._middle) + len(chunk))
        self._middle += chunk

    def finish(self, call: Call) -> PutResult:
        contents, sent = self._uploads.contents, self._sent
        content = sent.cut.splice(sent.content, bytes(self._middle))
        self._middle.clear()
        hashed = hash_content(content, contents.hashed(self._header.base_digest), sent.cut.prefix)
        _check_outcome(self._header, len(content), hashed.digest)
        new = Gathered(hashed.digest, content, self._header.kind)
        stored = store_content(self._uploads, new, self._base, sent, call)
        contents.remember_hash(hashed)
        return _result_of(stored)

    def abort(self) -> None:
        self._middle.clear()


def _base_content(uploads: Uploads, header: PutHeader, base: Base, call: Call) -> bytes:
    """The content of the base that the header names. Raises NOT_FOUND (BASE_NOT_FOUND)."""
    digest, settings = header.base_digest, uploads.settings
    if base.row is None:
        raise _send_whole(digest, "is unknown")
    if not settings.delta or max(base.row.size_bytes, header.size_bytes or 0) > settings.delta_max_bytes:
        raise _send_whole(digest, "is not used for deltas")
    # The base, rebuilt from its own base, and the content: the part that is sent, the whole, and its compressed form.
    call.claim.take_when_free(2 * base.row.size_bytes + 3 * (header.size_bytes or 0), call)
    try:
        return uploads.contents.whole(digest, call, base.links)
    except NotFound as error:
        raise _send_whole(digest, "is unknown") from error
    except DataLoss as error:
        raise _send_whole(digest, "cannot be read") from error


def _check_header(uploads: Uploads, header: PutHeader) -> None:
    if header.digest:
        check_digest(header.digest)
    if header.base_digest or header.delta is not None:
        check_digest(header.base_digest, "base_digest")
    _check_growth(uploads, None, header.size_bytes or 0)


def _check_growth(uploads: Uploads, expected: int | None, size_bytes: int) -> None:
    """INVALID_ARGUMENT as soon as there are more bytes than the header says or the settings allow."""
    limit = uploads.settings.max_blob_bytes
    if size_bytes > limit:
        message = f"The blob has {size_bytes} bytes or more; the limit is {limit}."
        raise InvalidArgument(message, reason="TOO_LARGE", limit=limit)
    if expected is not None and size_bytes > expected:
        raise _size_mismatch(expected, size_bytes)


def _check_outcome(header: PutHeader, size_bytes: int, digest: str) -> None:
    """INVALID_ARGUMENT when size or digest are not those of the header."""
    if header.size_bytes is not None and size_bytes != header.size_bytes:
        raise _size_mismatch(header.size_bytes, size_bytes)
    if header.digest and digest != header.digest:
        message = f"The content has the digest {digest}, not {header.digest} as the header says."
        raise InvalidArgument(message, reason="DIGEST_MISMATCH", expected=header.digest, actual=digest)


def _result_of(stored: StoredBlob) -> PutResult:
    row = stored.row
    return PutResult(row.digest, row.size_bytes, row.stored_bytes, stored.existed, row.lease_expire_time, stored.revision)


def _size_mismatch(expected: int, actual: int) -> InvalidArgument:
    message = f"{actual} bytes were sent instead of {expected}: the upload is truncated, or size_bytes is wrong."
    return InvalidArgument(message, reason="SIZE_MISMATCH", expected=expected, actual=actual)


def _send_whole(digest: str, why: str) -> NotFound:
    return NotFound(f"The base {digest} {why}. Send the whole content.", reason="BASE_NOT_FOUND", digest=digest)
