"""Applies a commit: its mutations in order. Then gives its history and answer to the ledger, which writes them with the batch.

The writer calls this inside its transaction. After an error it rolls back to the commit's savepoint; an append that has none
fails the whole batch (`Ledger.prepare`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from holdfast.contract.ids import random_id
from holdfast.contract.kinds import Kind, RecordMessage
from holdfastd.errors import AlreadyExists, InvalidArgument
from holdfastd.model import codec
from holdfastd.model.checking import MAX_RECORD_BYTES, check_size, refuse_other_output_only, refuse_output_only, set_defaults
from holdfastd.model.commands import Allocated, AllocateIds, Commit, Committed, CompactWatches
from holdfastd.model.ids import sequence_id, template_id, was_given
from holdfastd.model.mutations import (
    APPEND,
    DELETE,
    INSERT,
    NOTE,
    UPDATE,
    Append,
    Change,
    Delete,
    Insert,
    Mutation,
    Note,
    Result,
    Update,
    Upsert,
)
from holdfastd.model.names import check_new_id
from holdfastd.model.ordering import place_in_history
from holdfastd.store import changes, deletes, inheritance, journals, lineages, loading, records, vocabularies, workspaces
from holdfastd.store.engine import Connection
from holdfastd.store.ledger import Ledger
from holdfastd.store.sql import kind_sql
from holdfastd.store.unit import Unit as _Unit

COUNTED_DIGITS = 18  # the numbers in callers' own ids with so many digits raise the counter


def commit(ledger: Ledger, connection: Connection, command: Commit, now_ns: int) -> Committed:
    """Applies a commit. When its request id was applied before, changes nothing and returns the remembered answer."""
    known = ledger.recall(command)
    if known is not None:
        return _answer_again(connection, command.workspace, *known)
    unit = _Unit(connection, ledger, command.workspace, ledger.revision + 1, ledger.next_time(now_ns))
    ledger.begin_commit(unit.changes)
    ledger.make_workspace(connection, command.workspace, unit.now_ns)
    results = tuple([_APPLY[type(mutation)](unit, mutation) for mutation in command.mutations])
    if not unit.changes:
        return Committed(ledger.revision, unit.now_ns, results, command.workspace)
    ledger.note(command, unit.revision, unit.now_ns, unit.changes)
    ledger.remember(command, unit.revision, unit.now_ns, _answer(results))
    return Committed(unit.revision, unit.now_ns, results, command.workspace, tuple(unit.changes))


def _answer(results: Iterable[Result]) -> list[Sequence[Any]]:
    """The answer to remember: the results without their images, which are in `changes`."""
    return [(each.kind, each.id, each.version, each.first_number, each.last_number, each.ordinal) for each in results]


def _answer_again(connection: Connection, workspace: str, revision: int, answer: list[Sequence[Any]]) -> Committed:
    images = changes.images(connection, revision)
    results = tuple(
        Result(kind, id, version, first, last, images.get(ordinal), ordinal) for kind, id, version, first, last, ordinal in answer
    )
    return Committed(revision, changes.time_of(connection, revision), results, workspace)


def _insert(unit: _Unit, mutation: Insert | Upsert) -> Result:
    kind = mutation.kind
    message: RecordMessage = kind.message_class()
    message.CopyFrom(mutation.message)
    complete(unit, kind, message)
    lineages.check(unit.connection, unit.workspace, kind, message)
    is_chosen = bool(mutation.message.id or kind.id_template)  # the daemon's own ids are new
    newest = unit.newest(kind, message.id) if is_chosen else 0
    message.version = 1 + unit.last_version(kind, message.id, newest)
    codec.set_time(message.create_time, unit.now_ns)
    codec.set_time(message.update_time, unit.now_ns)
    image = records.insert(unit.connection, kind, unit.workspace, message, place_in_history(unit.revision, len(unit.changes)))
    unit.check_absent(kind, message.id, newest)
    return unit.record(kind, INSERT, message, image)


def complete(unit: _Unit, kind: Kind, message: RecordMessage) -> None:
    """Sets what the caller left out of a new record, loaded ones too: defaults, numbers and the id. Checks what it depends on."""
    vocabularies.prepare(unit.ledger.vocabularies, unit.connection, unit.workspace, kind, message)
    set_defaults(kind, message)
    inheritance.settle(unit.connection, unit.workspace, kind, message)
    records.set_numbers(unit.connection, kind, unit.workspace, message)
    _set_id(unit, kind, message)
    check_new_id(message.id, f"{kind.name}.id")


def _set_id(unit: _Unit, kind: Kind, message: RecordMessage) -> None:
    if kind.id_template:
        _set_template_id(kind, message)
    elif not message.id:
        message.id = make_ids(unit.connection, unit.workspace, kind, 1, unit.now_ns)[0]
    elif kind.sequence_ids and (digits := message.id.removeprefix(kind.id_prefix)).isdecimal() and len(digits) <= COUNTED_DIGITS:
        workspaces.raise_counter(unit.connection, unit.workspace, kind.name, int(digits))


def _set_template_id(kind: Kind, message: RecordMessage) -> None:
    made = template_id(kind, message)
    if message.id not in ("", made):
        _refuse_id(kind, message, made)
    message.id = made


def _refuse_id(kind: Kind, message: RecordMessage, made: str) -> NoReturn:
    """The caller supplied the next id and lost a race: ALREADY_EXISTS. Any other id is INVALID_ARGUMENT."""
    if was_given(kind, message):
        raise AlreadyExists(
            f"The {kind.name} id {message.id} is taken; the next is {made}.",
            reason="ID_TAKEN",
            kind=kind.name,
            id=message.id,
            next_id=made,
        )
    raise InvalidArgument(
        f"The id of a {kind.name} is made of its fields: {made}, not {message.id}.", reason="VALUE_INVALID", field="id"
    )


def _update(unit: _Unit, mutation: Update) -> Result:
    kind = mutation.kind
    if kind.immutable:
        raise InvalidArgument(f"A {kind.name} cannot be changed; insert another.", reason="KIND_IMMUTABLE", kind=kind.name)
    id = mutation.message.id
    load = loading.load_to_overwrite if loading.replaces_all(kind, mutation.mask) else loading.load
    found = load(unit.connection, kind, unit.workspace, id)
    if found is None:
        unit.check_absent(kind, id, unit.newest(kind, id))
    before = loading.check_version(kind, unit.workspace, id, found, mutation.version)
    refuse_other_output_only(kind, before, mutation.message)
    after = type(before)()
    after.CopyFrom(before)
    for name in mutation.mask:
        _replace(kind, after, mutation.message, name)
    vocabularies.prepare(unit.ledger.vocabularies, unit.connection, unit.workspace, kind, after)
    set_defaults(kind, after)
    inheritance.settle(unit.connection, unit.workspace, kind, after, before)
    check_size(after, MAX_RECORD_BYTES, f"{kind.name} record")  # the stored and the new fields were checked apart
    unit.stamp(after)
    image = records.update(unit.connection, kind, unit.workspace, before, after)
    result = unit.record(kind, UPDATE, after, image)
    for heir, message, heir_image in inheritance.follow(unit.connection, unit.workspace, kind, before, after, unit.stamp):
        unit.record(heir, UPDATE, message, heir_image)
    return result


def _replace(kind: Kind, after: RecordMessage, values: RecordMessage, name: str) -> None:
    before, value, rules = getattr(after, name), getattr(values, name), kind.by_name[name]
    if rules.inherits_from and not value:
        return  # unset means: as inherited
    if (rules.immutable or (rules.set_once and before)) and before != value:
        raise InvalidArgument(
            f"{kind.name}.{name} cannot be changed after the insert.", reason="FIELD_IMMUTABLE", kind=kind.name, field=name
        )
    after.ClearField(name)
    if kind.by_name[name].repeated:
        getattr(after, name).extend(value)
    elif not values.DESCRIPTOR.fields_by_name[name].has_presence:
        setattr(after, name, value)
    elif values.HasField(name):
        _set_present(after, name, value)


def _set_present(after: RecordMessage, name: str, value: object) -> None:
    if after.DESCRIPTOR.fields_by_name[name].message_type is None:
        setattr(after, name, value)
    else:
        getattr(after, name).CopyFrom(value)


def _upsert(unit: _Unit, mutation: Upsert) -> Result:
    kind, message = mutation.kind, mutation.message
    id = message.id or _find(unit, mutation)
    if not id or not records.exists(unit.connection, kind, unit.workspace, id):
        if mutation.version:
            unit.check_absent(kind, id, unit.newest(kind, id))
            raise records.not_found(kind, unit.workspace, id)
        refuse_output_only(kind, message)
        return _insert(unit, mutation)
    found: RecordMessage = kind.message_class()
    found.CopyFrom(message)
    found.id = id
    return _update(unit, Update(kind, found, mutation.mask, mutation.version))


def _find(unit: _Unit, mutation: Upsert) -> str:
    """The id of the record that an upsert without an id refers to; empty when there is none yet."""
    kind, message = mutation.kind, mutation.message
    if kind.id_template and not any(field.number_within for field in kind.columns):
        return template_id(kind, message)
    return records.find_by_key(unit.connection, kind, unit.workspace, message, mutation.mask)


def _delete(unit: _Unit, mutation: Delete) -> Result:
    kind = mutation.kind
    found = loading.load_to_delete(unit.connection, kind, unit.workspace, mutation.id)
    if found is None:
        unit.check_absent(kind, mutation.id, unit.newest(kind, mutation.id))
    message = loading.check_version(kind, unit.workspace, mutation.id, found, mutation.version)
    vocabularies.before_delete(unit.ledger.vocabularies, unit.connection, unit.workspace, kind, message)
    made = deletes.delete(unit.connection, unit.ledger.heads, unit.workspace, kind, message, mutation.cascade, unit.stamp)
    unit.changes += made
    unit.deleted |= {(each.kind, each.id): each.version for each in made if each.action == DELETE}
    return Result(kind.name, mutation.id, message.version, image=unit.changes[-1].image, ordinal=len(unit.changes) - 1)


def _append(unit: _Unit, mutation: Append) -> Result:
    first, last = journals.append(unit.connection, unit.ledger.heads, unit.workspace, mutation, unit.revision, unit.now_ns)
    name, parent_kind, parent_id = mutation.journal.name, mutation.parent_kind, mutation.parent_id
    if first:
        unit.changes.append(Change(name, parent_id, APPEND, parent_kind=parent_kind, first_number=first, last_number=last))
    return Result(name, parent_id, first_number=first, last_number=last)


def _note(unit: _Unit, mutation: Note) -> Result:
    """Adds a caller's action to the history of a record, which may be deleted."""
    kind, id = mutation.kind, mutation.id
    row = unit.connection.execute(kind_sql(kind).version, (unit.workspace, id)).fetchone()
    newest = 0 if row else unit.newest(kind, id)
    version = row[0] if row else unit.last_version(kind, id, newest)
    if not (version or newest):
        raise records.not_found(kind, unit.workspace, id)
    unit.changes.append(Change(kind.name, id, NOTE, version=version, parent_kind=mutation.action, image=mutation.image))
    unit.count_image(mutation.image)
    return Result(kind.name, id, version)


_APPLY: dict[type[Mutation], Callable[[_Unit, Any], Result]] = {
    Insert: _insert,
    Upsert: _upsert,
    Update: _update,
    Delete: _delete,
    Append: _append,
    Note: _note,
}


def make_ids(connection: Connection, workspace: str, kind: Kind, count: int, now_ns: int) -> list[str]:
    """New ids of a kind. Sequence ids skip the numbers that callers chose themselves."""
    if not kind.sequence_ids:
        return sorted(random_id(kind.id_prefix, now_ns) for _ in range(count))
    ids: list[str] = []
    while len(ids) < count:
        wanted = count - len(ids)
        last = workspaces.take_numbers(connection, workspace, kind.name, wanted)
        numbers = range(last - wanted + 1, last + 1)
        ids += [
            id for id in (sequence_id(kind, each) for each in numbers) if not _is_taken(connection, workspace, kind, id, last)
        ]
    return ids


def _is_taken(connection: Connection, workspace: str, kind: Kind, id: str, number: int) -> bool:
    """Whether a record has an id of a number that the counter is not raised to."""
    return number >= 10**COUNTED_DIGITS and records.exists(connection, kind, workspace, id)


def allocate_ids(ledger: Ledger, connection: Connection, command: AllocateIds, now_ns: int) -> Allocated:
    """Takes new ids, which are never given again. When the request id was used before, returns the remembered answer."""
    known = ledger.recall(command)
    if known is not None:
        return Allocated(tuple(str(id) for (id,) in known[1]), ledger.revision)
    ledger.make_workspace(connection, command.workspace, now_ns)
    ids = make_ids(connection, command.workspace, command.kind, command.count, now_ns)
    ledger.remember(command, ledger.revision, now_ns, [(id,) for id in ids])
    return Allocated(tuple(ids), ledger.revision)


def compact_watches(ledger: Ledger, connection: Connection, command: CompactWatches, now_ns: int) -> int:
    """Raises the oldest revision after which a watch may resume; never lowers it. Returns the oldest revision."""
    oldest = max(changes.oldest_revision(connection), min(command.revision, ledger.revision))
    changes.set_oldest_revision(connection, oldest)
    return oldest
