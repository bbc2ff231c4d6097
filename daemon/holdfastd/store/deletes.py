"""Deletes a record. If others depend on it, the delete is refused; with cascade they are deleted first or lose their reference.

`store/commits.py` calls `delete`. The schema's foreign keys do not cascade, because each deleted record needs a row in `changes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from holdfast.contract.kinds import Kind, RecordMessage, Referrer, referrers
from holdfastd.errors import FailedPrecondition
from holdfastd.model.mutations import DELETE, DROP, UPDATE, Change
from holdfastd.store import journal_heads, journals, lineages, loading, records
from holdfastd.store.engine import Connection
from holdfastd.store.journal_heads import Heads
from holdfastd.store.sql import referrers_sql

Stamp = Callable[[RecordMessage], None]


def _referring(connection: Connection, workspace: str, kind: Kind, id: str) -> Iterator[tuple[Referrer, list[str]]]:
    for referrer in referrers()[kind.name]:
        assert referrer.field.reference is not None
        kind_field = referrer.field.reference.kind_field
        sql = referrers_sql(referrer.kind, referrer.field, kind_field)
        parameters = (workspace, kind.name, id) if kind_field else (workspace, id)
        if ids := sorted(row[0] for row in connection.execute(sql, parameters)):
            yield referrer, ids


def _refuse_dependents(
    connection: Connection, heads: Heads, workspace: str, kind: Kind, message: RecordMessage, cascade: bool
) -> None:
    firm: Counter[str] = Counter()  # they refuse the delete with `cascade` too
    loose: Counter[str] = Counter()
    for referrer, ids in _referring(connection, workspace, kind, message.id):
        assert referrer.field.reference is not None
        if referrer.field.reference.refuses:
            firm[referrer.kind.name] += len(ids)
        elif not (referrer.field.reference.follows or referrer.field.reference.clears):
            loose[referrer.kind.name] += len(ids)
    loose += Counter({kind.name: len(lineages.descendants(connection, workspace, kind, message))})
    if not cascade:
        for journal, head in journal_heads.of_parent(connection, heads, workspace, kind.name, message.id):
            loose[f"{journal.name} entries"] += head.last_number - head.first_number + 1
    if firm or (loose and not cascade):
        raise _has_dependents(kind, message.id, firm, Counter() if cascade else loose)


def _has_dependents(kind: Kind, id: str, firm: Counter[str], loose: Counter[str]) -> FailedPrecondition:
    counts = firm + loose
    advice = f"Delete {_told(firm) if loose else 'these'} first. " if firm else ""
    advice += f"Use cascade to delete or unlink {'the others' if firm else 'these'} too." if loose else ""
    return FailedPrecondition(
        f"{kind.name} {id} cannot be deleted, because these depend on it: {_told(counts)}. {advice.strip()}",
        reason="HAS_DEPENDENTS",
        **{name.replace(" ", "_"): count for name, count in counts.items()},
    )


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def delete(
    connection: Connection, heads: Heads, workspace: str, kind: Kind, message: RecordMessage, cascade: bool, stamp: Stamp
) -> list[Change]:
    """Deletes a record. Returns the changes in the order in which they were made; the record's own change is the last.

    stamp: raises a message's version and sets its update time; called for records that lose a reference, with cascade
    or because the reference is of the kind that is always cleared.
    Raises FAILED_PRECONDITION (HAS_DEPENDENTS), with the counts, when records depend on it and `cascade` is not set, or when a
    reference to it does not allow a cascade.
    """
    _refuse_dependents(connection, heads, workspace, kind, message, cascade)
    changes: list[Change] = []
    # An explicit stack: a chain of links may be deeper than Python's recursion limit.
    stack = [(kind, message, _owned(connection, workspace, kind, message, stamp, changes))]
    while stack:
        kind, message, owned = stack[-1]
        if (child := next(owned, None)) is not None:
            _refuse_dependents(connection, heads, workspace, *child, True)
            stack.append((*child, _owned(connection, workspace, *child, stamp, changes)))
        else:
            changes += _remove(connection, heads, workspace, kind, message)
            stack.pop()
    return changes


def _remove(connection: Connection, heads: Heads, workspace: str, kind: Kind, message: RecordMessage) -> Iterator[Change]:
    """Deletes a record that no other refers to any more, and its journals."""
    id = message.id
    for journal, head in journal_heads.of_parent(connection, heads, workspace, kind.name, id):
        journals.drop(connection, heads, journal, (workspace, journal.name, kind.name, id), head)
        yield Change(journal.name, id, DROP, parent_kind=kind.name, first_number=head.first_number, last_number=head.last_number)
    records.delete(connection, kind, workspace, message)
    yield Change(kind.name, id, DELETE, version=message.version, image=message.SerializeToString())


def _owned(
    connection: Connection, workspace: str, kind: Kind, target: RecordMessage, stamp: Stamp, changes: list[Change]
) -> Iterator[tuple[Kind, RecordMessage]]:
    """Yields the records that must be deleted before this one. Clears the other references to it and adds their changes."""
    for referrer, ids in _referring(connection, workspace, kind, target.id):
        reference = referrer.field.reference
        assert reference is not None
        for other_id in ids:
            is_deleted = reference.owned or reference.follows
            load = loading.load_to_delete if is_deleted else loading.load
            message = load(connection, referrer.kind, workspace, other_id)
            if message is None:  # deleted already, because of another of its references
                continue
            if is_deleted:
                yield referrer.kind, message
            else:
                changes.append(_clear(connection, workspace, referrer, message, target.id, stamp))
    for other_id in lineages.descendants(connection, workspace, kind, target):
        assert kind.lineage is not None
        found = loading.load(connection, kind, workspace, other_id)
        if found is not None:
            changes.append(_clear(connection, workspace, Referrer(kind, kind.lineage), found, target.id, stamp))


def _clear(
    connection: Connection, workspace: str, referrer: Referrer, message: RecordMessage, target_id: str, stamp: Stamp
) -> Change:
    """Removes the reference to the target from a record, which gets a new version."""
    before = type(message)()
    before.CopyFrom(message)
    if referrer.field.repeated:
        getattr(message, referrer.field.name).remove(target_id)
    else:
        message.ClearField(referrer.field.name)
    stamp(message)
    image = records.update(connection, referrer.kind, workspace, before, message)
    return Change(referrer.kind.name, message.id, UPDATE, version=message.version, image=image)
