"""Which blob a content becomes a delta of, and when it is stored whole instead.

Two levels keep chains short: 15 deltas, each on the one before it; the next one is attached to the last delta of the upper
level, 16 back. A content has at most 32 bases; the next content is stored whole and begins a new chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfastd.blobs.delta import Cut, encode_delta
from holdfastd.errors import DataLoss, NotFound
from holdfastd.model.blobs import DELTA, MAX_DEPTH, STEPS_PER_LEVEL, BlobRow, StoreBlob, StoredBlob, digest_of
from holdfastd.model.call import Call
from holdfastd.service.blobs.draft import Draft, Uploads, WholeDraft
from holdfastd.store import blobs as rows
from holdfastd.store.blobs import Link
from holdfastd.store.sqlite.connection import Connection

_PAYS = 0.8  # of the stored bytes of the full copy: a larger delta is not worth its chain
_SURELY_PAYS = 1 / 20  # of the plain content: a delta below it is accepted without compressing the full copy for comparison


@dataclass(frozen=True, slots=True)
class Place:
    """Where a new delta is attached: the row of its base, and its own depth and step."""

    row: BlobRow
    depth: int
    step: int


@dataclass(frozen=True, slots=True)
class Base:
    """What one snapshot says about the base that a Put names, and about the digest to be stored.

    exists: the digest to be stored has a row.
    row: the row of the named base; None when there is none.
    place: where a delta is attached, which may be below the named base; None when the content must be stored whole.
    links: the chain of the named base, where the contents of that or of `place` are not cached.
    """

    exists: bool
    row: BlobRow | None
    place: Place | None
    links: Sequence[Link]


@dataclass(frozen=True, slots=True)
class SentBase:
    """The content of the base that the caller cut its content against, and where it cut."""

    content: bytes
    cut: Cut


def read_base(uploads: Uploads, digest: str, base_digest: str, call: Call) -> Base:
    """Reads in one snapshot all rows that a Put of `digest` with this base needs."""
    contents = uploads.contents
    with uploads.readers.snapshot(call) as connection:
        exists = rows.blob(connection, digest) is not None
        row = rows.blob(connection, base_digest)
        if row is None:
            return Base(exists, None, None, ())
        place = _place(connection, row)
        cached = contents.is_cached(base_digest) and (place is None or contents.is_cached(place.row.digest))
        return Base(exists, row, place, () if cached else rows.chain(connection, base_digest))


def store_content(uploads: Uploads, digest: str, content: bytes, base: Base, sent: SentBase | None, call: Call) -> StoredBlob:
    """Stores a content that is in memory: as a delta where that pays, otherwise whole."""
    stored = uploads.renew(digest, call) if base.exists else None
    if stored is None:
        stored = _store(uploads, digest, content, base, sent, call)
    uploads.contents.remember(digest, content)
    return stored


def _place(connection: Connection, hint: BlobRow) -> Place | None:
    """Where a delta on the hinted base is attached; None when the chain has its full depth."""
    if hint.step + 1 < STEPS_PER_LEVEL:
        row, step = hint, hint.step + 1
    elif (upper := rows.upper_level(connection, hint.digest)) is not None:
        row, step = upper, 0
    else:
        return None
    return Place(row, row.depth + 1, step) if row.depth < MAX_DEPTH else None


def _store(uploads: Uploads, digest: str, content: bytes, base: Base, sent: SentBase | None, call: Call) -> StoredBlob:
    encoded = _encode(uploads, content, base, sent, call)
    if encoded is None:
        return _store_whole(uploads, content, call)
    place, payload = encoded
    blob = StoreBlob(
        digest=digest,
        size_bytes=len(content),
        stored_bytes=len(payload),
        stored_digest=digest_of(payload),
        codec=DELTA,
        path="",
        content=None,
        lease_ns=uploads.settings.lease_ns,
        base_digest=place.row.digest,
        depth=place.depth,
        step=place.step,
    )
    if len(payload) <= _SURELY_PAYS * len(content):
        return _commit_delta(uploads, blob, payload, call) or _store_whole(uploads, content, call)
    return _store_shorter(uploads, blob, payload, content, call)


def _encode(uploads: Uploads, content: bytes, base: Base, sent: SentBase | None, call: Call) -> tuple[Place, bytes] | None:
    """The delta and its place; None when the chain has its full depth, or the base is gone, damaged or too large."""
    place = base.place
    if place is None or place.row.size_bytes > uploads.settings.delta_max_bytes:
        return None
    if sent is None or place.row != base.row:
        try:
            base_content = uploads.contents.whole(place.row.digest, call, base.links)
        except (NotFound, DataLoss):
            return None
        sent = SentBase(base_content, Cut.between(base_content, content))
    return place, encode_delta(sent.content, content, sent.cut)


def _store_whole(uploads: Uploads, content: bytes, call: Call) -> StoredBlob:
    whole = WholeDraft(uploads)
    try:
        whole.encode(content)
        return whole.commit(call)
    finally:
        whole.discard()


def _store_shorter(uploads: Uploads, delta: StoreBlob, payload: bytes, content: bytes, call: Call) -> StoredBlob:
    """Makes the full copy to compare the delta with, and stores the delta where that pays."""
    whole = WholeDraft(uploads)
    try:
        whole.encode(content)
        pays = len(payload) <= _PAYS * whole.encoder.stored_bytes
        return (_commit_delta(uploads, delta, payload, call) if pays else None) or whole.commit(call)
    finally:
        whole.discard()


def _commit_delta(uploads: Uploads, delta: StoreBlob, payload: bytes, call: Call) -> StoredBlob | None:
    """None when the base has gone since it was read: the content must be stored whole."""
    draft = Draft(uploads)
    try:
        draft.write(payload)
        return draft.commit(delta, call)
    except NotFound:
        return None
    finally:
        draft.discard()
