"""Values that a record takes from the record that it names, such as an output's task from its run (`inherits_from`).

`store/commits.py` calls this in the writer's transaction: `settle` before it writes a record, `follow` after it changed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache

from holdfast.contract.kinds import KINDS, Field, Kind, RecordMessage, Referrer
from holdfastd.errors import FailedPrecondition, InvalidArgument
from holdfastd.store import loading, records
from holdfastd.store.engine import Connection
from holdfastd.store.sql import referrers_sql, value_sql

Stamp = Callable[[RecordMessage], None]


@cache
def heirs() -> Mapping[str, tuple[Referrer, ...]]:
    """The fields that take their value from records of each kind; kinds from which none does are missing."""
    found: dict[str, tuple[Referrer, ...]] = {}
    for kind in KINDS.values():
        for each in kind.inheriting:
            source = _source(kind, each).name
            found[source] = (*found.get(source, ()), Referrer(kind, each))
    return found


def settle(
    connection: Connection, workspace: str, kind: Kind, message: RecordMessage, before: RecordMessage | None = None
) -> None:
    """Sets the inherited fields of a record that is about to be written. INVALID_ARGUMENT when one has another value.

    before: the stored record. What it has of an earlier version of Holdfast, which did not check this, may stay as it is.
    """
    for field in kind.inheriting:
        names = field.name, field.inherits_from
        if before is not None and all(
            getattr(before, name) and getattr(before, name) == getattr(message, name) for name in names
        ):
            continue
        id = getattr(message, field.inherits_from)
        source = _source(kind, field)
        row = connection.execute(value_sql(source, field.name), (workspace, id)).fetchone() if id else None
        if row is None or row[0] is None:
            continue
        own = getattr(message, field.name)
        if own not in ("", row[0]):
            raise InvalidArgument(
                f"{field.name} is {own}, but {source.name} {id} has {field.name} {row[0]}. Leave {field.name} unset, or name"
                f" a {source.name} of {own}.",
                reason="VALUE_INVALID",
                field=field.name,
            )
        setattr(message, field.name, row[0])


def follow(
    connection: Connection, workspace: str, kind: Kind, before: RecordMessage, after: RecordMessage, stamp: Stamp
) -> Iterator[tuple[Kind, RecordMessage, bytes]]:
    """Writes the records that inherit a value that was unset before the update. Yields each with its kind and image.

    stamp: raises a message's version and sets its update time.
    FAILED_PRECONDITION when one of them has another value of its own.
    """
    for heir in heirs().get(kind.name, ()):
        value = getattr(after, heir.field.name)
        if value and value != getattr(before, heir.field.name):
            for found in _heirs_of(connection, workspace, heir, after.id):
                if getattr(found, heir.field.name) != value:
                    yield heir.kind, *_taken(connection, workspace, heir, found, (kind, after), stamp)


def _heirs_of(connection: Connection, workspace: str, heir: Referrer, id: str) -> Iterator[RecordMessage]:
    sql = referrers_sql(heir.kind, heir.kind.by_name[heir.field.inherits_from], "")
    for child in sorted(row[0] for row in connection.execute(sql, (workspace, id))):
        if (found := loading.load(connection, heir.kind, workspace, child)) is not None:
            yield found


def _taken(
    connection: Connection, workspace: str, heir: Referrer, found: RecordMessage, of: tuple[Kind, RecordMessage], stamp: Stamp
) -> tuple[RecordMessage, bytes]:
    name, source = heir.field.name, of[1]
    value, own = getattr(source, name), getattr(found, name)
    if own:
        raise FailedPrecondition(
            f"{heir.kind.name} {found.id} of {of[0].name} {source.id} has {name} {own}, so {value} cannot become that of the"
            f" {of[0].name}. Delete the {heir.kind.name} first, or set {name} to {own}.",
            reason="VALUE_INVALID",
            kind=heir.kind.name,
            id=found.id,
            field=name,
        )
    before = type(found)()
    before.CopyFrom(found)
    setattr(found, name, value)
    stamp(found)
    return found, records.update(connection, heir.kind, workspace, before, found)


def _source(kind: Kind, field: Field) -> Kind:
    """The kind from whose records a field takes its value."""
    reference = kind.by_name[field.inherits_from].reference
    assert reference is not None
    return KINDS[reference.kind]
