"""Finds kinds and journals by the names in requests. The registry is `holdfast.contract.kinds`."""

from __future__ import annotations

from holdfast.contract.kinds import JOURNALS, KINDS, Journal, Kind
from holdfastd.errors import InvalidArgument


def kind_named(name: str) -> Kind:
    """The kind of that name; INVALID_ARGUMENT that lists the kinds when there is none."""
    if (kind := KINDS.get(name)) is None:
        known = ", ".join(sorted(KINDS))
        raise InvalidArgument(f"There is no kind {name!r}. The kinds are: {known}.", reason="KIND_UNKNOWN", kind=name)
    return kind


def journal_named(name: str) -> Journal:
    """The journal of that name, `transcript` when empty; INVALID_ARGUMENT that lists the journals when there is none."""
    if (journal := JOURNALS.get(name or "transcript")) is None:
        known = ", ".join(sorted(JOURNALS))
        raise InvalidArgument(f"There is no journal {name!r}. The journals are: {known}.", reason="JOURNAL_UNKNOWN", journal=name)
    return journal


def stored_journal(name: str) -> Journal:
    """The journal of that name. INVALID_ARGUMENT for a derived journal, which stores no entries."""
    journal = journal_named(name)
    if journal.derived:
        raise InvalidArgument(
            f"The {name} is derived from the store's history: it takes no Append and no Read. Use List.",
            reason="JOURNAL_DERIVED",
            journal=name,
        )
    return journal
