"""Finds what `cat` writes: the blob with the digest given, or a record's content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from holdfast.cli.fields import KINDS_WITH_CONTENT, blob_field
from holdfast.cli.kind_names import kind_named
from holdfast.cli.reach import records_of
from holdfast.contract.kinds import Kind
from holdfast.errors import FailedPrecondition, InvalidArgument, NotFound

if TYPE_CHECKING:
    from holdfast.store import Store

DIGEST_PREFIX = "sha256:"


def chunks_of(store: Store, what: str, kind_name: str | None, offset: int, length: int) -> Iterator[bytes]:
    """Yields a part of the content of a blob or a record, as `Blobs.chunks` does. Raises the errors of `content_of`."""
    found = content_of(store, what, kind_name)
    if isinstance(found, bytes):
        return iter([found[offset : offset + length] if length else found[offset:]])
    return store.blobs.chunks(found, offset, length)


def content_of(store: Store, what: str, kind_name: str | None) -> str | bytes:
    """Returns the digest for a digest or a record's id; a content that is in the record itself as bytes.

    Raises NotFound when there is no such record or content, FailedPrecondition when records of two kinds have the id.
    """
    if what.startswith(DIGEST_PREFIX):
        return what
    kinds = [_with_content(kind_named(kind_name))] if kind_name else list(KINDS_WITH_CONTENT)
    digests = {kind.name: digest for kind in kinds if (digest := _of_record(store, kind, what)) is not None}
    if not digests:
        sorts = " or ".join(each.name for each in kinds)
        raise NotFound(f"There is no {sorts} {what!r}. Blobs are named {DIGEST_PREFIX}….", reason="RECORD_NOT_FOUND")
    if len(digests) > 1:
        raise FailedPrecondition(
            f"{what!r} is the id of a {' and of a '.join(digests)}. Say which with --kind.", reason="AMBIGUOUS"
        )
    ((name, digest),) = digests.items()
    if not digest:
        raise NotFound(f"The {name} {what} has no content.", reason="BLOB_NOT_FOUND")
    return digest


def _with_content(kind: Kind) -> Kind:
    if kind not in KINDS_WITH_CONTENT:
        sorts = " and ".join(each.noun for each in KINDS_WITH_CONTENT)
        raise InvalidArgument(f"A {kind.name} has no content. Only {sorts} have.", reason="USAGE")
    return kind


def _of_record(store: Store, kind: Kind, id: str) -> str | bytes | None:
    """The digest of a record's content, or the content itself, empty if it has none; None if the record does not exist."""
    try:
        record = records_of(store, kind).get(id)
    except NotFound:
        return None
    field = kind.by_name[blob_field(kind)]
    digest: str = getattr(record, field.name)
    return digest or (getattr(record, field.in_place_of).encode() if field.in_place_of else "")
