"""Reading blobs: streams of blobs that are stored whole, and the contents of deltas, rebuilt from their chains.

Only verified bytes leave this module. A stream checks each frame of a compressed blob and each block of a raw one; when the
whole blob is read, it also checks the digest before it yields the last chunk. A raw blob whose blocks have no checksums (its
bytes are in the database, or an earlier version stored it) is read whole and compared with its digest before a range of it is
sent. Rebuilding a chain checks the stored digest of each delta and the digest of the result. No snapshot is held while bytes are
yielded.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from holdfast.contract.digests import Hashed
from holdfastd.blobs.blocks import BlockChecksums, covering, place_of
from holdfastd.blobs.cache import ContentCache
from holdfastd.blobs.codec import Damaged, plain_chunks
from holdfastd.blobs.delta import decode_delta
from holdfastd.blobs.files import BlobFiles, StoredContent, StoredFile
from holdfastd.errors import DataLoss, InvalidArgument, NotFound, OutOfRange
from holdfastd.model.blobs import DELTA, RAW, BlobRow, digest_of, named_digest
from holdfastd.model.call import Call
from holdfastd.store import blobs as rows
from holdfastd.store.blobs import Link
from holdfastd.store.engine import Readers

CHUNK_BYTES = 1024 * 1024
HASHES_KEPT = 64
DAMAGED_KEPT = 10_000
REBUILD_COPIES = 3  # of a content that is rebuilt: its base, the delta, the result
_PAGE = 100
_ATTEMPTS = 3  # a sweep and a Put may replace the file between reading the row and opening the file

Result = TypeVar("Result")


class FileMissing(Exception):
    """A row names a file that does not exist: a sweep removed both after the row was read, or the file is lost."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"the file of {digest} is missing")
        self.digest = digest


@dataclass(frozen=True, slots=True)
class BlobRange:
    """A range of one blob; iterate over it once. `size_bytes` is the plain size of the whole blob."""

    size_bytes: int
    chunks: Iterator[bytes]

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks


class BlobContents:
    """The plain bytes of the blobs of one store. Thread-safe."""

    def __init__(self, readers: Readers, files: BlobFiles, cache: ContentCache) -> None:
        self._readers = readers
        self._files = files
        self._cache = cache
        self._hashed: OrderedDict[str, Hashed] = OrderedDict()
        self._damaged: set[str] = set()  # blobs that this process found damaged; the next Put of one replaces its bytes

    def read(self, digest: str, offset: int, length: int, call: Call) -> BlobRange:
        """A range in chunks of up to 1 MiB; `length` 0 means to the end.

        Raises NOT_FOUND (BLOB_NOT_FOUND), OUT_OF_RANGE when the offset is past the end, and DATA_LOSS (BLOB_DAMAGED),
        which may come with any chunk.
        """
        return self._with_links(digest, (), call, lambda links: self._range(links, offset, length, call))

    def whole(self, digest: str, call: Call, links: Sequence[Link] = ()) -> bytes:
        """The whole content in memory, verified. For blobs that are small enough to be a base or a delta.

        links: the chain of this blob, or of a blob based on it, if the caller has read it already; this saves a snapshot.
        Raises NOT_FOUND (BLOB_NOT_FOUND), DATA_LOSS (BLOB_DAMAGED).
        """
        if (cached := self._cache.get(digest)) is not None:
            return cached
        content = self._with_links(digest, _links_from(links, digest), call, lambda links: self._rebuild(links, call))
        self._cache.put(digest, content)
        return content

    def links(self, digest: str, call: Call) -> list[Link]:
        """The chain of the blob: it and all its bases. Raises NOT_FOUND (BLOB_NOT_FOUND)."""
        with self._readers.snapshot(call) as connection:
            links = rows.chain(connection, digest)
        if not links:
            raise NotFound(f"There is no blob {digest}.", reason="BLOB_NOT_FOUND", digest=digest)
        for row, _ in links:
            if not row.is_intact:
                raise _damaged(digest, row.digest, "its row in the database is damaged")
        return links

    def is_stored(self, digest: str, call: Call, inline_max_bytes: int | None = None) -> bool:
        """Whether the blob has a row, and the bytes of it and of its bases are there. A Put asks this before it drops its own.

        They are not when they are missing, have another size than was stored, or were found damaged. Reads no content.
        inline_max_bytes: nor when the blob has no file and more stored bytes than this; None: it needs no file.
        """
        with self._readers.snapshot(call) as connection:
            links = rows.chain_sizes(connection, digest)
        return self.are_stored(links) and (inline_max_bytes is None or _is_kept_well(links[0][0], inline_max_bytes))

    def are_stored(self, links: Sequence[tuple[BlobRow, int | None]]) -> bool:
        """As `is_stored`, for the chain of a blob as `rows.chain_sizes` reads it."""
        return bool(links) and links[-1][0].base_digest is None and all(self._has_bytes(*link) for link in links)

    def note_damage(self, digest: str) -> None:
        """Remembers, until this process ends, that the stored bytes of the blob are damaged. Drops it from the cache."""
        self._cache.drop(digest)
        if len(self._damaged) < DAMAGED_KEPT:
            self._damaged.add(digest)

    def forget_damage(self, digest: str) -> None:
        """The stored bytes of the blob were replaced."""
        self._damaged.discard(digest)

    def hashed(self, digest: str) -> Hashed | None:
        """The hash states of a content; None unless it is among the last HASHES_KEPT remembered."""
        return self._hashed.get(digest)

    def remember_hash(self, hashed: Hashed) -> None:
        """Keeps the hash states of a content for the next one with the same beginning."""
        self._hashed[hashed.digest] = hashed
        while len(self._hashed) > HASHES_KEPT:
            self._hashed.popitem(last=False)

    def is_cached(self, digest: str) -> bool:
        """Whether the content is in the cache, so that `whole` needs no links. It may be evicted before `whole` is called."""
        return self._cache.get(digest) is not None

    def remember(self, digest: str, content: bytes) -> None:
        """Caches a verified content, which the next delta may need as its base."""
        self._cache.put(digest, content)

    def check_stored(self, link: Link) -> None:
        """Reads the stored bytes of one link in constant memory. Raises Damaged or FileMissing."""
        hasher = hashlib.sha256()
        with closing(self._open(link)) as stored:
            for start in range(0, stored.size(), CHUNK_BYTES):
                hasher.update(stored.read_at(start, CHUNK_BYTES))
        if named_digest(hasher.hexdigest()) != link.row.stored_digest:
            raise Damaged("the stored bytes are not those that were stored")

    def verify_stream(self, link: Link, call: Call) -> None:
        """Reads a blob that is stored whole from end to end. Raises DATA_LOSS or FileMissing."""
        row = link.row
        checksums = self._checksums(link, 0, row.size_bytes, call)
        for _ in _stream(self._open(link), row, row.digest, 0, row.size_bytes, call, checksums):
            pass

    def missing_checksums(self, call: Call) -> Iterator[tuple[str, bytes | None]]:
        """The digest of each raw file whose blocks have no checksums, and these checksums; None when the file is damaged."""
        after: str | None = ""
        while after is not None:
            with self._readers.snapshot(call) as connection:
                digests = rows.without_checksums(connection, after, _PAGE)
            for digest in digests:
                with suppress(NotFound):  # swept meanwhile
                    yield digest, self._checksums_of_file(digest, call)
            after = digests[-1] if digests else None

    def _checksums_of_file(self, digest: str, call: Call) -> bytes | None:
        try:
            return self._with_links(digest, (), call, lambda links: self._computed(links[0], call))
        except DataLoss:
            return None

    def _with_links(self, digest: str, links: Sequence[Link], call: Call, use: Callable[[Sequence[Link]], Result]) -> Result:
        """Calls `use` with the blob's chain. When a file is missing, reads the chain again and repeats the call: a sweep may have
        removed the blob, and a Put may have stored it again under another path."""
        for _ in range(_ATTEMPTS):
            try:
                with self._noting_damage():
                    return use(links or self.links(digest, call))
            except FileMissing as error:
                links, missing = (), error.digest
        raise _damaged(digest, missing, "the file is missing")

    def _range(self, links: Sequence[Link], offset: int, length: int, call: Call) -> BlobRange:
        row = links[0].row
        length = _checked_length(row, offset, length)
        if row.codec == DELTA or self.is_cached(row.digest):
            call.claim.take_when_free(REBUILD_COPIES * row.size_bytes, call)
            return BlobRange(row.size_bytes, _slices(self.whole(row.digest, call, links), offset, length))
        checksums = self._checksums(links[0], offset, length, call)
        stream = _stream(self._open(links[0]), row, row.digest, offset, length, call, checksums)
        return BlobRange(row.size_bytes, self._noting(stream))

    def _checksums(self, link: Link, offset: int, length: int, call: Call) -> bytes | None:
        """The checksums of the blocks of a raw blob that hold the range; None when the digest or the frames check the range."""
        row = link.row
        if row.codec != RAW or length == 0:
            return None
        place = place_of(covering(offset, length))
        if row.path:
            with self._readers.snapshot(call) as connection:
                checksums = rows.block_checksums(connection, row.digest, place)
            if checksums is not None:
                return checksums
        return None if length == row.size_bytes else self._computed(link, call)[place]

    def _computed(self, link: Link, call: Call) -> bytes:
        """The checksums of all blocks, from a read of the whole raw blob that compares it with its digest."""
        found = BlockChecksums()
        for chunk in self._noting(_stream(self._open(link), link.row, link.row.digest, 0, link.row.size_bytes, call)):
            found.feed(chunk)
        return found.packed()

    def _noting(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        with self._noting_damage():
            yield from stream

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        try:
            yield
        except DataLoss as error:
            if (digest := error.metadata.get("damaged_digest")) is not None:  # else the database is damaged
                self.note_damage(digest)
            raise

    def _has_bytes(self, row: BlobRow, inline_bytes: int | None) -> bool:
        if row.digest in self._damaged or not row.is_intact or not (row.path or inline_bytes is not None):
            return False
        try:
            return (self._files.size(row.path) if row.path else inline_bytes) == row.stored_bytes
        except OSError:  # missing, or the disk cannot say
            return False

    def _rebuild(self, links: Sequence[Link], call: Call) -> bytes:
        """The content of the first link, rebuilt from the nearest link that is cached or stored whole."""
        wanted = links[0].row.digest
        deltas: list[Link] = []
        content = None
        for link in links:
            if (content := self._cache.get(link.row.digest)) is not None:
                break
            if link.row.codec != DELTA:
                content = b"".join(_stream(self._open(link), link.row, wanted, 0, link.row.size_bytes, call))
                break
            deltas.append(link)
        if content is None:
            raise _damaged(wanted, links[-1].row.digest, "its base is missing")
        for link in reversed(deltas):
            call.check()
            content = self._apply(link, content, wanted)
        if digest_of(content) != wanted:
            raise _damaged(wanted, wanted, "the rebuilt bytes have another digest")
        return content

    def _apply(self, link: Link, base: bytes, wanted: str) -> bytes:
        try:
            return decode_delta(base, self._delta(link), link.row.size_bytes)
        except (Damaged, OSError) as error:  # bytes that the disk cannot read are lost
            raise _damaged(wanted, link.row.digest, str(error)) from error

    def _delta(self, link: Link) -> bytes:
        with closing(self._open(link)) as stored:
            payload = stored.read_at(0, link.row.stored_bytes + 1)
        if digest_of(payload) != link.row.stored_digest:
            raise Damaged("the stored bytes are not those that were stored")
        return payload

    def _open(self, link: Link) -> StoredFile | StoredContent:
        """The stored bytes of a blob, from its file or its row. All stored bytes are read through it. Raises FileMissing."""
        try:
            return self._files.open(link.row.path) if link.row.path else StoredContent(link.content or b"")
        except FileNotFoundError as error:
            raise FileMissing(link.row.digest) from error


def _links_from(links: Sequence[Link], digest: str) -> Sequence[Link]:
    """The chain from this blob on; empty when the blob is not in it."""
    return next((links[place:] for place, link in enumerate(links) if link.row.digest == digest), ())


def _is_kept_well(row: BlobRow, inline_max_bytes: int) -> bool:
    """Whether the blob is where the limit wants it. A limit of 0 wants a file for the empty blob, too."""
    return bool(row.path) or (0 < inline_max_bytes >= row.stored_bytes)


def _damaged(digest: str, culprit: str, why: str) -> DataLoss:
    """DATA_LOSS for a reader of `digest`, whose chain holds the damaged `culprit`."""
    where = "" if digest == culprit else f" (it is a delta on {culprit}, which is damaged)"
    message = f"The blob {digest} cannot be read{where}: {why}. Put the same content again, or restore a backup."
    return DataLoss(message, reason="BLOB_DAMAGED", digest=digest, damaged_digest=culprit)


def _checked_length(row: BlobRow, offset: int, length: int) -> int:
    """The number of bytes in the range."""
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
    stored: StoredFile | StoredContent,
    row: BlobRow,
    wanted: str,
    offset: int,
    length: int,
    call: Call,
    checksums: bytes | None = None,
) -> Iterator[bytes]:
    """The chunks of the range. Yields the last one only after all checks that the range allows. Closes `stored` at its end."""
    hasher = hashlib.sha256() if length == row.size_bytes else None
    left = length
    with closing(stored):
        try:
            if stored.size() != row.stored_bytes:
                raise Damaged(f"{stored.size()} bytes are stored instead of {row.stored_bytes}")
            for chunk in plain_chunks(stored, row.codec, row.size_bytes, offset, length, checksums):
                call.check()
                left -= len(chunk)
                if hasher is not None:
                    hasher.update(chunk)
                    if left == 0 and named_digest(hasher.hexdigest()) != row.digest:
                        raise Damaged("the content has another digest")
                yield chunk
        except (Damaged, OSError) as error:  # bytes that the disk cannot read are lost
            raise _damaged(wanted, row.digest, str(error)) from error
