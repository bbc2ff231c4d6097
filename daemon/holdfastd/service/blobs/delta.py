"""Chooses whether a content is stored as a delta or whole, and on which base.

Chains have two levels, which keeps them short. On the lower level each of 15 deltas is based on the one before it. The next
delta is based on the last link of the upper level, 16 back, and becomes its newest. A blob has at most 32 bases below it; the
next content is stored whole and begins a new chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfastd.blobs.delta import Cut, encode_delta
from holdfastd.errors import DataLoss, NotFound
from holdfastd.model.blobs import DELTA, MAX_DEPTH, STEPS_PER_LEVEL, BlobRow, digest_of
from holdfastd.model.call import Call
from holdfastd.model.commands import StoreBlob, StoredBlob
from holdfastd.service.blobs.draft import Draft, Uploads, WholeDraft
from holdfastd.store import blobs as rows
from holdfastd.store.blobs import Link
from holdfastd.store.engine import Connection

_PAYS = 0.8  # a delta is kept up to this share of the full copy's stored bytes: reading it costs its whole chain
_SURELY_PAYS = 1 / 20  # a delta up to this share of the plain content is kept without compressing the full copy to compare


@dataclass(frozen=True, slots=True)
class Base:
    """What one snapshot shows of the base that a Put names, and of the digest to store.

    exists: the digest to store has a row already.
    row: the row of the named base; None when there is none.
    place: the row on which to base the delta: `row` or a base below it; None when the content must be stored whole, because the
        chain has its full depth or its stored bytes are lost or damaged.
    step: the step of that delta.
    links: the chain of the named base; empty when the contents of `row` and `place` are cached.
    """

    exists: bool
    row: BlobRow | None = None
    place: BlobRow | None = None
    step: int = 0
    links: Sequence[Link] = ()


@dataclass(frozen=True, slots=True)
class SentBase:
    """The content of the base that the client named, and the cut that the client made against it."""

    content: bytes
    cut: Cut


def read_base(uploads: Uploads, digest: str, base_digest: str, call: Call) -> Base:
    """Reads all rows that a Put of `digest` with this base needs, in one snapshot."""
    with uploads.readers.snapshot(call) as connection:
        exists = rows.blob(connection, digest) is not None
        row = rows.blob(connection, base_digest)
        if row is None:
            return Base(exists)
        place, step = _place(connection, row)
        # Whether the bytes are there: a cached content does not show that they are lost, and the delta would be lost with them.
        if place is not None and not uploads.contents.are_stored(rows.chain_sizes(connection, place.digest)):
            place = None
        cached = all(uploads.contents.is_cached(each.digest) for each in (row, place) if each is not None)
        return Base(exists, row, place, step, () if cached else rows.chain(connection, base_digest))


@dataclass(frozen=True, slots=True)
class Gathered:
    """A content that is in memory, its digest, and the kind that the Put states."""

    digest: str
    content: bytes
    kind: str


def store_content(uploads: Uploads, new: Gathered, base: Base, sent: SentBase | None, call: Call) -> StoredBlob:
    """Stores a content: as a delta when that is small enough, otherwise whole."""
    stored = uploads.renew_stored(new.digest, new.kind, call) if base.exists else None
    if stored is None:
        stored = _store(uploads, new, base, sent, call)
    uploads.contents.remember(new.digest, new.content)
    return stored


def _place(connection: Connection, row: BlobRow) -> tuple[BlobRow | None, int]:
    """The row on which to base a delta whose named base is `row`, and the delta's step. No row at the full depth."""
    place: BlobRow | None = row
    step = row.step + 1
    if step >= STEPS_PER_LEVEL:
        place, step = rows.upper_level(connection, row.digest), 0
    return (place if place is not None and place.depth < MAX_DEPTH else None), step


def _store(uploads: Uploads, new: Gathered, base: Base, sent: SentBase | None, call: Call) -> StoredBlob:
    content = new.content
    payload = _encode(uploads, content, base, sent, call)
    if payload is not None and len(payload) <= _SURELY_PAYS * len(content):
        if (stored := _commit_delta(uploads, new, payload, base, call)) is not None:
            return stored
        payload = None
    whole = WholeDraft(uploads, new.kind)
    try:
        whole.encoder.feed(content)
        whole.encoder.finish()
        if payload is None or len(payload) > _PAYS * whole.encoder.stored_bytes:
            return whole.commit(call)
        return _commit_delta(uploads, new, payload, base, call) or whole.commit(call)
    finally:
        whole.discard()


def _encode(uploads: Uploads, content: bytes, base: Base, sent: SentBase | None, call: Call) -> bytes | None:
    """The payload of the delta. None when the chain has its full depth, the base is gone, damaged or too
    large, or the caller's share of memory does not allow to read it."""
    if base.place is None or base.place.size_bytes > uploads.settings.delta_max_bytes:
        return None
    if sent is None or base.place != base.row:
        if not call.claim.fits(2 * base.place.size_bytes + len(content)):  # the base, rebuilt from its own; the payload
            return None
        try:
            base_content = uploads.contents.whole(base.place.digest, call, base.links)
        except (NotFound, DataLoss):
            return None
        sent = SentBase(base_content, Cut.between(base_content, content))
    return encode_delta(sent.content, content, sent.cut)


def _commit_delta(uploads: Uploads, new: Gathered, payload: bytes, base: Base, call: Call) -> StoredBlob | None:
    """Stores the delta. None when the content must be stored whole.

    It must be when the base is gone by now, and when the blob has a row but has lost its bytes: the base may itself be based on
    this blob.
    """
    assert base.place is not None
    blob = StoreBlob(
        digest=new.digest,
        size_bytes=len(new.content),
        stored_bytes=len(payload),
        stored_digest=digest_of(payload),
        codec=DELTA,
        path="",
        content=None,
        lease_ns=uploads.settings.lease_ns,
        base_digest=base.place.digest,
        depth=base.place.depth + 1,
        step=base.step,
    )
    draft = Draft(uploads, new.kind)
    try:
        draft.write(payload)
        stored = draft.commit(blob, call)
        return None if stored.existed and not uploads.is_stored(new.digest, new.kind, call) else stored
    except NotFound:
        return None
    finally:
        draft.discard()
