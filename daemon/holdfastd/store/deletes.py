"""Deleting a record: what hangs on it is counted, refused or taken along, children first, a change for each.

Foreign keys never cascade: nothing goes without a row in `changes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from holdfastd.errors import FailedPrecondition
from holdfastd.model.kinds import REFERRERS, Kind, RecordMessage, Referrer
from holdfastd.model.mutations import DELETE, DROP, UPDATE, Change
from holdfastd.store import journals, records
from holdfastd.store.connection import Connection
from holdfastd.store.journals import Heads
from holdfastd.store.sql import referrers_sql

Stamp = Callable[[RecordMessage], None]


def _referring(connection: Connection, workspace: str, kind: Kind, id: str) -> Iterator[tuple[Referrer, list[str]]]:
    for referrer in REFERRERS[kind.name]:
        assert referrer.field.reference is not None
        kind_field = referrer.field.reference.kind_field
        sql = referrers_sql(referrer.kind, referrer.field, kind_field)
        parameters = (workspace, kind.name, id) if kind_field else (workspace, id)
        if ids := [row[0] for row in connection.execute(sql, parameters)]:
            yield referrer, ids


def _refuse_dependents(connection: Connection, workspace: str, kind: Kind, id: str) -> None:
    counts: Counter[str] = Counter()
    for referrer, ids in _referring(connection, workspace, kind, id):
        assert referrer.field.reference is not None
        if not referrer.field.reference.follows:
            counts[referrer.kind.name] += len(ids)
    for journal, head in journals.of_parent(connection, workspace, kind.name, id):
        counts[f"{journal.name} entries"] += head.last_number - head.first_number + 1
    if counts:
        told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        raise FailedPrecondition(
            f"{kind.name} {id} is not deleted, for this hangs on it: {told}. Ask for cascade to delete or unlink these too.",
            reason="HAS_DEPENDENTS",
            **{name.replace(" ", "_"): count for name, count in counts.items()},
        )


def delete(
    connection: Connection, heads: Heads, workspace: str, kind: Kind, message: RecordMessage, cascade: bool, stamp: Stamp
) -> list[Change]:
    """Removes a record and returns the changes in the order in which they were made, the record's own last.

    `stamp` raises a message's version and sets its update time, for records that lose a reference.
    Raises FAILED_PRECONDITION (HAS_DEPENDENTS) with the counts when something hangs on it and `cascade` is not asked for.
    """
    id = message.id
    if not cascade:
        _refuse_dependents(connection, workspace, kind, id)
    changes: list[Change] = []
    for referrer, ids in _referring(connection, workspace, kind, id):
        for other_id in ids:
            changes += _release(connection, heads, workspace, referrer, other_id, id, stamp)
    for journal, head in journals.of_parent(connection, workspace, kind.name, id):
        journals.drop(connection, heads, journal, head)
        changes.append(
            Change(journal.name, id, DROP, parent_kind=kind.name, first_number=head.first_number, last_number=head.last_number)
        )
    records.delete(connection, kind, workspace, message)
    changes.append(Change(kind.name, id, DELETE, version=message.version, image=message.SerializeToString()))
    return changes


def _release(
    connection: Connection, heads: Heads, workspace: str, referrer: Referrer, id: str, target_id: str, stamp: Stamp
) -> list[Change]:
    """Deletes a record that belongs to the target, or clears its reference to the target."""
    message = records.load(connection, referrer.kind, workspace, id)
    if message is None:  # deleted already, by another of its references
        return []
    assert referrer.field.reference is not None
    if referrer.field.reference.owned or referrer.field.reference.follows:
        return delete(connection, heads, workspace, referrer.kind, message, True, stamp)
    before = type(message)()
    before.CopyFrom(message)
    if referrer.field.repeated:
        getattr(message, referrer.field.name).remove(target_id)
    else:
        message.ClearField(referrer.field.name)
    stamp(message)
    records.update(connection, referrer.kind, workspace, before, message)
    return [Change(referrer.kind.name, id, UPDATE, version=message.version, image=message.SerializeToString())]
