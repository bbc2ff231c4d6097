"""Kinds and fields by the names that people give them, with a suggestion when they mistype."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from holdfast.errors import InvalidArgument
from holdfast.kinds import KINDS, Kind
from holdfast.v1 import entry_pb2

JOURNALS = tuple(each.name for each in entry_pb2.Entry.DESCRIPTOR.oneofs_by_name["value"].fields)

_BY_NAME = {name: kind for kind in KINDS.values() for name in (kind.name, kind.noun)}
_JOURNALS_BY_NAME = {name: journal for journal in JOURNALS for name in (journal, f"{journal}s")}


def kind_named(name: str) -> Kind:
    """The kind of that name, singular or plural. Raises InvalidArgument with a suggestion."""
    plain = _plain(name)
    if (kind := _BY_NAME.get(plain)) is not None:
        return kind
    if plain in _JOURNALS_BY_NAME:
        raise InvalidArgument(f"{name} is a journal, not a kind. Read it with `holdfast tail SESSION`.", reason="KIND_UNKNOWN")
    raise unknown("kind", name, [each.noun for each in KINDS.values()], reason="KIND_UNKNOWN")


def watched_name(name: str) -> str:
    """The name of a kind or a journal, given in the singular or the plural. Raises InvalidArgument with a suggestion."""
    plain = _plain(name)
    if (journal := _JOURNALS_BY_NAME.get(plain)) is not None:
        return journal
    if (kind := _BY_NAME.get(plain)) is not None:
        return kind.name
    raise unknown("kind", name, [*KINDS, *JOURNALS], reason="KIND_UNKNOWN")


def unknown(what: str, name: str, known: Iterable[str], *, reason: str) -> InvalidArgument:
    """The error for a name that is not among the known ones."""
    names = list(known)
    close = get_close_matches(_plain(name), names, n=1)
    suggestion = f" Did you mean {close[0]}?" if close else ""
    said = f"There is no {what} {name!r}.{suggestion} There are: {', '.join(names)}."
    return InvalidArgument(said, reason=reason, metadata={"name": name})


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
