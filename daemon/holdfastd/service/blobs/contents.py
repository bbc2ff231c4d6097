"""Reading blobs: streams of what is stored whole, and the contents of deltas, rebuilt from their chains.

Nothing leaves this module unverified: a stream checks each frame and, when it is read from end to end, the digest before
its last chunk; a chain checks the stored digest of every link and the digest of the outcome. Snapshots end before the
first byte is yielded.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing

from holdfast.contract.digests import Hashed
from holdfastd.blobs.cache import ContentCache
from holdfastd.blobs.codec import Damaged, plain_chunks
from holdfastd.blobs.delta import decode_delta
from holdfastd.blobs.files import BlobFiles, StoredContent, StoredFile
from holdfastd.errors import DataLoss, InvalidArgument, NotFound, OutOfRange
from holdfastd.model.blobs import DELTA, BlobRow, digest_of, named_digest
from holdfastd.model.call import Call
from holdfastd.service.blobs.ports import CHUNK_BYTES, Snapshots
from holdfastd.store import blobs as rows

HASHES_KEPT = 64
_ATTEMPTS = 3  # a sweep and a Put may each replace the file under a reader, but not for ever

Link = tuple[BlobRow, bytes | None]


class FileMissing(Exception):
    """A row names a file that is not there: either a sweep took both since, or it is lost."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"the file of {digest} is missing")
        self.digest = digest


class Reading:
    """A range of one blob, on its way out. Iterate it once; `size_bytes` is the plain size of the whole blob."""

    def __init__(self, digest: str, size_bytes: int, chunks: Iterator[bytes]) -> None:
        self.digest = digest
        self.size_bytes = size_bytes
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


class BlobContents:
    """The plain bytes behind the rows. Thread-safe."""

    def __init__(self, readers: Snapshots, files: BlobFiles, cache: ContentCache) -> None:
        self._readers = readers
        self._files = files
        self._cache = cache
        self._hashed: OrderedDict[str, Hashed] = OrderedDict()

    def read(self, digest: str, offset: int, length: int, call: Call) -> Reading:
        """A range in chunks of up to 1 MiB; `length` 0 means to the end.

        Raises NOT_FOUND (BLOB_NOT_FOUND), OUT_OF_RANGE when the offset is past the end, and DATA_LOSS (BLOB_DAMAGED),
        which may come with any chunk.
        """
        found_missing = digest
        for _ in range(_ATTEMPTS):
            links = self.links(digest, call)
            row, _ = links[0]
            length = _checked_length(row, offset, length)
            if row.codec == DELTA or self._cache.get(digest) is not None:
                return Reading(digest, row.size_bytes, _slices(self.whole(digest, call), offset, length))
            try:
                stored = self._open(links[0])
            except FileMissing as missing:
                found_missing = missing.digest
                continue
            return Reading(digest, row.size_bytes, _stream(stored, row, digest, offset, length, call))
        raise damaged(digest, found_missing, "the file is missing")

    def whole(self, digest: str, call: Call) -> bytes:
        """The whole content in memory, verified. For blobs that are small enough to be a base or a delta."""
        if (cached := self._cache.get(digest)) is not None:
            return cached
        found_missing = digest
        for _ in range(_ATTEMPTS):
            links = self.links(digest, call)
            try:
                content = self._rebuild(links, call)
            except FileMissing as missing:
                found_missing = missing.digest
                continue
            self._cache.put(digest, content)
            return content
        raise damaged(digest, found_missing, "the file is missing")

    def links(self, digest: str, call: Call) -> list[Link]:
        """The rows of the blob and of all its bases. Raises NOT_FOUND (BLOB_NOT_FOUND)."""
        with self._readers.snapshot(call) as connection:
            links = rows.chain(connection, digest)
        if not links:
            raise _unknown(digest)
        return links

    def lineage(self, digest: str, call: Call) -> list[BlobRow]:
        """The same rows without what lies in the database of their contents. Raises NOT_FOUND (BLOB_NOT_FOUND)."""
        with self._readers.snapshot(call) as connection:
            found = rows.lineage(connection, digest)
        if not found:
            raise _unknown(digest)
        return found

    def exists(self, digest: str, call: Call) -> bool:
        """Whether there is such a blob just now."""
        with self._readers.snapshot(call) as connection:
            return rows.blob(connection, digest) is not None

    def hashed(self, digest: str) -> Hashed | None:
        """The states of a content's hash, when it was hashed lately."""
        return self._hashed.get(digest)

    def remember_hash(self, hashed: Hashed) -> None:
        """Keeps the states of a content's hash for the next one that begins like it."""
        self._hashed[hashed.digest] = hashed
        while len(self._hashed) > HASHES_KEPT:
            self._hashed.popitem(last=False)

    def remember(self, digest: str, content: bytes) -> None:
        """A verified content that the next delta may need."""
        self._cache.put(digest, content)

    def check_stored(self, link: Link) -> None:
        """Reads the stored bytes of one link in constant memory. Raises Damaged or FileMissing."""
        row, _ = link
        hasher = hashlib.sha256()
        with closing(self._open(link)) as stored:
            for start in range(0, stored.size(), CHUNK_BYTES):
                hasher.update(stored.read_at(start, CHUNK_BYTES))
        if named_digest(hasher.hexdigest()) != row.stored_digest:
            raise Damaged("the stored bytes are not those that were stored")

    def verify_stream(self, link: Link, call: Call) -> None:
        """Reads a blob that is stored whole from end to end. Raises DATA_LOSS or FileMissing."""
        row, _ = link
        for _ in _stream(self._open(link), row, row.digest, 0, row.size_bytes, call):
            pass

    def _rebuild(self, links: list[Link], call: Call) -> bytes:
        """The content of the first link, from the nearest content that is known."""
        deltas: list[Link] = []
        content = None
        for link in links:
            if (content := self._cache.get(link[0].digest)) is not None:
                break
            if link[0].codec != DELTA:
                content = self._root(link, links[0][0].digest, call)
                break
            deltas.append(link)
        if content is None:
            raise damaged(links[0][0].digest, links[-1][0].digest, "its base is missing")
        for link in reversed(deltas):
            call.check()
            content = self._apply(link, content, links[0][0].digest)
        if digest_of(content) != links[0][0].digest:
            raise damaged(links[0][0].digest, links[0][0].digest, "the rebuilt bytes have another digest")
        return content

    def _root(self, link: Link, wanted: str, call: Call) -> bytes:
        row, _ = link
        return b"".join(_stream(self._open(link), row, wanted, 0, row.size_bytes, call))

    def _apply(self, link: Link, base: bytes, wanted: str) -> bytes:
        row, _ = link
        try:
            return decode_delta(base, self._delta(link), row.size_bytes)
        except (Damaged, OSError) as error:  # a disk that cannot read it has lost it
            raise damaged(wanted, row.digest, str(error)) from error

    def _delta(self, link: Link) -> bytes:
        row, _ = link
        with closing(self._open(link)) as stored:
            payload = stored.read_at(0, row.stored_bytes + 1)
        if digest_of(payload) != row.stored_digest:
            raise Damaged("the stored bytes are not those that were stored")
        return payload

    def _open(self, link: Link) -> StoredFile | StoredContent:
        """The stored bytes of a blob, file or row. Nobody else reads what `Spool.write` was given. Raises FileMissing."""
        row, content = link
        try:
            return self._files.open(row.path) if row.path else StoredContent(content or b"")
        except FileNotFoundError as error:
            raise FileMissing(row.digest) from error


def _unknown(digest: str) -> NotFound:
    return NotFound(f"There is no blob {digest}.", reason="BLOB_NOT_FOUND", digest=digest)


def damaged(digest: str, culprit: str, why: str) -> DataLoss:
    """DATA_LOSS for a reader of `digest`, whose chain holds the damaged `culprit`."""
    where = "" if digest == culprit else f" (it is a delta on {culprit}, which is damaged)"
    message = f"The blob {digest} cannot be read{where}: {why}. Restore it from a backup."
    return DataLoss(message, reason="BLOB_DAMAGED", digest=digest, damaged_digest=culprit)


def _checked_length(row: BlobRow, offset: int, length: int) -> int:
    """How many bytes the range really has."""
    if offset < 0 or length < 0:
        raise InvalidArgument("offset and length must not be negative.", reason="VALUE_INVALID", field="offset")
    if offset > row.size_bytes:
        message = f"offset {offset} is past the end of the blob, which has {row.size_bytes} bytes."
        raise OutOfRange(message, reason="OFFSET_PAST_END", size_bytes=row.size_bytes)
    left = row.size_bytes - offset
    return min(length, left) if length else left


def _slices(content: bytes, offset: int, length: int) -> Iterator[bytes]:
    for start in range(offset, offset + length, CHUNK_BYTES):
        yield content[start : min(start + CHUNK_BYTES, offset + length)]


def _stream(
    stored: StoredFile | StoredContent, row: BlobRow, wanted: str, offset: int, length: int, call: Call
) -> Iterator[bytes]:
    """The range's chunks; the last one only when all that can be checked fits. Closes `stored`."""
    hasher = hashlib.sha256() if length == row.size_bytes else None
    left = length
    with closing(stored):
        try:
            if stored.size() != row.stored_bytes:
                raise Damaged(f"{stored.size()} bytes are stored instead of {row.stored_bytes}")
            for chunk in plain_chunks(stored, row.codec, row.size_bytes, offset, length):
                call.check()
                left -= len(chunk)
                if hasher is not None:
                    hasher.update(chunk)
                    if left == 0 and named_digest(hasher.hexdigest()) != row.digest:
                        raise Damaged("the content has another digest")
                yield chunk
        except (Damaged, OSError) as error:  # a disk that cannot read it has lost it
            raise damaged(wanted, row.digest, str(error)) from error
