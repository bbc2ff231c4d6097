"""Names in requests: checks ids, actors and workspaces, and finds kinds and journals in the registry."""

from __future__ import annotations

from holdfast.contract.ids import MAX_ID_BYTES, is_like_an_option
from holdfast.contract.kinds import JOURNALS, KINDS, Journal, Kind
from holdfastd.errors import InvalidArgument


def check_id(value: str, field: str) -> str:
    """Returns the id. INVALID_ARGUMENT when it is empty, too long, or holds blanks or control characters."""
    if not value:
        raise InvalidArgument(f"{field} is missing.", reason="FIELD_REQUIRED", field=field)
    check_length(value, field)
    if not value.isprintable() or " " in value:
        raise InvalidArgument(
            f"{field} {value!r} holds blanks or characters that cannot be printed.", reason="VALUE_INVALID", field=field
        )
    return value


def check_length(value: str, field: str) -> None:
    """INVALID_ARGUMENT when the value is longer than ids may be."""
    if len(value.encode()) > MAX_ID_BYTES:
        raise InvalidArgument(
            f"{field} is longer than {MAX_ID_BYTES} bytes.", reason="TOO_LARGE", field=field, limit=MAX_ID_BYTES
        )


def check_new_id(value: str, field: str) -> None:
    """INVALID_ARGUMENT when a command line would take the id of a new record, or a new workspace, for an option.

    Stores may have such records and workspaces; these stay usable.
    """
    if is_like_an_option(value):
        raise InvalidArgument(
            f"{field} {value!r} begins with a hyphen, so command lines would take it for an option. Choose another.",
            reason="VALUE_INVALID",
            field=field,
        )


def check_name(value: str, field: str) -> str:
    """Checks and returns a workspace, actor or request id. The rules of `check_id`, but blanks and an empty name are allowed."""
    return check_id(value.replace(" ", "_"), field) and value if value else value


def kind_named(name: str) -> Kind:
    """The kind of that name. INVALID_ARGUMENT, with the names of all kinds, when there is none."""
    if (kind := KINDS.get(name)) is None:
        known = ", ".join(sorted(KINDS))
        raise InvalidArgument(f"There is no kind {name!r}. The kinds are: {known}.", reason="KIND_UNKNOWN", kind=name)
    return kind


def journal_named(name: str) -> Journal:
    """The journal of that name; an empty name means `transcript`. INVALID_ARGUMENT, with all names, when there is none."""
    if (journal := JOURNALS.get(name or "transcript")) is None:
        known = ", ".join(sorted(JOURNALS))
        raise InvalidArgument(f"There is no journal {name!r}. The journals are: {known}.", reason="JOURNAL_UNKNOWN", journal=name)
    return journal


def stored_journal(name: str) -> Journal:
    """The journal of that name. INVALID_ARGUMENT for a derived journal, which stores no entries."""
    journal = journal_named(name)
    if journal.derived:
        raise InvalidArgument(
            f"The {name} is derived from the store's history, so Append and Read do not work on it. Use List.",
            reason="JOURNAL_DERIVED",
            journal=name,
        )
    return journal
