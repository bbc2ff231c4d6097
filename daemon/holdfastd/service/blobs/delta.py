"""Where a content becomes a delta, and on which base; a full copy where that does not pay.

Two levels keep chains short: fifteen steps each on the one before it, then one on the last of the upper level, sixteen back.
A content is at most 32 bases deep; then a full copy begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfastd.blobs.delta import Cut, encode_delta
from holdfastd.errors import DataLoss, NotFound
from holdfastd.model.blobs import MAX_DEPTH, STEPS_PER_LEVEL, BlobRow
from holdfastd.model.call import Call
from holdfastd.model.commands import RenewBlob, StoredBlob
from holdfastd.service.blobs.draft import Draft, Place, Uploading

_PAYS = 0.8  # of the full copy: above it a delta is not worth its chain
_SURELY_PAYS = 1 / 20  # of the plain content: below it the full copy need not be made to know


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base whose content is at hand, and how the new content lies on it."""

    digest: str
    content: bytes
    cut: Cut


def place_on(chain: Sequence[BlobRow]) -> Place | None:
    """Where a delta hangs whose hint is the first of this chain; None when the chain is deep enough already."""
    hint = chain[0]
    if hint.step + 1 < STEPS_PER_LEVEL:
        place = Place(hint, hint.depth + 1, hint.step + 1)
    else:
        upper = next(row for row in chain if row.step == 0)
        place = Place(upper, upper.depth + 1, 0)
    return place if place.depth <= MAX_DEPTH else None


def store_content(
    uploading: Uploading, digest: str, content: bytes, hint: str, known: KnownBase | None, call: Call
) -> StoredBlob:
    """Stores a content that is in memory: as a delta on the hint or its ancestor where that pays, else whole."""
    stored = _renewed(uploading, digest, call) or _stored_as_delta(uploading, digest, content, hint, known, call)
    if stored is None:
        stored = _commit(uploading, content, call)
    uploading.contents.remember(digest, content)
    return stored


def _renewed(uploading: Uploading, digest: str, call: Call) -> StoredBlob | None:
    if not uploading.contents.exists(digest, call):
        return None
    return uploading.writer.submit(RenewBlob(digest, uploading.settings.lease_ns), call)


def _stored_as_delta(
    uploading: Uploading, digest: str, content: bytes, hint: str, known: KnownBase | None, call: Call
) -> StoredBlob | None:
    """None when it has to be stored whole: the base is gone or damaged, or a delta does not pay."""
    draft = uploading.new_draft()
    try:
        found = _find(uploading, content, hint, known, call)
        if found is None:
            return None
        place, base = found
        payload = encode_delta(base.content, content, base.cut)
        if not _pays(len(payload), content, draft):
            return draft.commit_whole(call)
        return uploading.new_draft().commit_delta(digest, len(content), payload, place, call)
    except (NotFound, DataLoss):  # the base is only a means: the content is here
        return None
    finally:
        draft.discard()


def _find(uploading: Uploading, content: bytes, hint: str, known: KnownBase | None, call: Call) -> tuple[Place, KnownBase] | None:
    settings = uploading.settings
    if not settings.delta or len(content) > settings.delta_max_bytes:
        return None
    place = place_on(uploading.contents.lineage(hint, call))
    if place is None or place.row.size_bytes > settings.delta_max_bytes:
        return None
    if known is None or known.digest != place.row.digest:
        base = uploading.contents.whole(place.row.digest, call)
        known = KnownBase(place.row.digest, base, Cut.between(base, content))
    return place, known


def _pays(delta_bytes: int, content: bytes, draft: Draft) -> bool:
    """Whether the delta is small enough; when that took making the full copy, it is in the draft."""
    if delta_bytes <= _SURELY_PAYS * len(content):
        return True
    draft.encoder.feed(content)
    draft.encoder.finish()
    return delta_bytes <= _PAYS * draft.encoder.stored_bytes


def _commit(uploading: Uploading, content: bytes, call: Call) -> StoredBlob:
    draft = uploading.new_draft()
    try:
        draft.encoder.feed(content)
        draft.encoder.finish()
        return draft.commit_whole(call)
    finally:
        draft.discard()
