"""Finds kinds, journals and ids by the names on the command line, and suggests a similar name for an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from holdfast.contract.kinds import KINDS, Kind, plural
from holdfast.errors import InvalidArgument
from holdfast.v1 import entry_pb2, options_pb2


def _is_kept(journal: Any) -> bool:
    """Whether the journal stores entries. The audit does not: it is derived from the history."""
    return not journal.message_type.GetOptions().Extensions[options_pb2.journal].derived


JOURNALS = tuple(each.name for each in entry_pb2.Entry.DESCRIPTOR.oneofs_by_name["value"].fields if _is_kept(each))

_BY_NAME = {name: kind for kind in KINDS.values() for name in (kind.name, kind.noun, plural(kind.name))}
_JOURNALS_BY_NAME = {name: journal for journal in JOURNALS for name in (journal, f"{journal}s")}


def kind_named(name: str, *, verb: str = "") -> Kind:
    """Returns the kind for a name: singular or plural, with hyphens or underscores. Raises InvalidArgument with a suggestion.

    `verb` is the command that takes a kind and an id; with it, the error for an id alone shows how to give both.
    """
    plain = plain_name(name)
    if (kind := _BY_NAME.get(plain)) is not None:
        return kind
    if (journal := _JOURNALS_BY_NAME.get(plain)) is not None:
        said = f"{name} is a journal, not a kind. Read it with `holdfast tail ID --journal {journal}`."
        raise InvalidArgument(said, reason="KIND_UNKNOWN")
    if verb and (kind := _kind_of_id(name)) is not None:
        told = f"{name} is an id, not a kind. Say both: `holdfast {verb} {kind.name} {name}`."
        raise InvalidArgument(told, reason="KIND_UNKNOWN", metadata={"name": name})
    raise unknown("kind", name, [plural(each.name) for each in KINDS.values()], reason="KIND_UNKNOWN")


def _kind_of_id(id: str) -> Kind | None:
    """The kind whose generated ids have the prefix of this id."""
    return next((each for each in KINDS.values() if each.id_prefix and id.startswith(each.id_prefix)), None)


def is_kind(name: str) -> bool:
    """Whether it is a kind's name."""
    return plain_name(name) in _BY_NAME


def journal_named(name: str) -> str:
    """Returns the name of a journal, given in the singular or plural. Raises InvalidArgument with a suggestion."""
    if (journal := _JOURNALS_BY_NAME.get(plain_name(name))) is not None:
        return journal
    raise unknown("journal", name, JOURNALS, reason="JOURNAL_UNKNOWN")


def watched_name(name: str) -> str:
    """Returns the name of a kind or journal, given in the singular or plural. Raises InvalidArgument with a suggestion."""
    plain = plain_name(name)
    if (journal := _JOURNALS_BY_NAME.get(plain)) is not None:
        return journal
    if (kind := _BY_NAME.get(plain)) is not None:
        return kind.name
    raise unknown("kind", name, [*KINDS, *JOURNALS], reason="KIND_UNKNOWN")


def only_id(kind: Kind) -> str:
    """The id of a kind's only record; empty if the kind may have several."""
    return "" if "{" in kind.id_template else kind.id_template


def id_of(kind: Kind, given: str | None) -> str:
    """Returns the id that is given, or the kind's only id. Raises InvalidArgument if it is missing and there may be several."""
    if id := given or only_id(kind):
        return id
    raise InvalidArgument(f"Say which {kind.name.replace('_', ' ')}: the ID is missing.", reason="USAGE")


def unknown(what: str, name: str, known: Iterable[str], *, reason: str) -> InvalidArgument:
    """Returns the error for an unknown name."""
    names = list(known)
    close = get_close_matches(plain_name(name), names, n=1)
    suggestion = f" Did you mean {close[0]}?" if close else ""
    said = f"There is no {what} {name!r}.{suggestion} There are: {', '.join(names)}."
    return InvalidArgument(said, reason=reason, metadata={"name": name})


def plain_name(name: str) -> str:
    """A name as the contract spells it."""
    return name.lower().replace("-", "_")


def said(kind: Kind) -> str:
    """Returns the kind's name with its article: `a task`, `an artifact`."""
    words = kind.name.replace("_", " ")
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
