"""Applies a load: records and entries of another store, which keep their ids, times, versions and numbers.

The writer calls `load` inside its transaction, under the command's savepoint. Successive steps of one actor form one commit, so
the history has the actor of each; all of them become durable together. `store/loaded_entries.py` has the part for entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from holdfast.contract.kinds import Kind, RecordMessage
from holdfastd.errors import AlreadyExists, FailedPrecondition, HoldfastError, InvalidArgument
from holdfastd.model import codec
from holdfastd.model.blobs import RAW
from holdfastd.model.commands import Commit, Committed, Load, StoreBlob
from holdfastd.model.ids import template_id
from holdfastd.model.loads import LoadedRecord, LoadStep
from holdfastd.model.mutations import APPEND, INSERT, Change, Result
from holdfastd.model.ordering import place_in_history
from holdfastd.store import blobs, changes, lineages, loaded_entries, records
from holdfastd.store.commits import complete
from holdfastd.store.engine import Connection
from holdfastd.store.ledger import Ledger
from holdfastd.store.unit import Unit


def load(ledger: Ledger, connection: Connection, command: Load, now_ns: int) -> Committed:
    """Applies a load; a trial is undone before this returns. When its request id was applied before, returns that answer."""
    if command.is_trial:
        return _tried(ledger, connection, command, now_ns)
    known = ledger.recall(command)
    if known is not None:
        revision, answer = known
        results = tuple(Result(*row) for row in answer)
        return Committed(revision, changes.time_of(connection, revision), results, command.workspace)
    loaded = _applied(ledger, connection, command, now_ns)
    if loaded.changes:
        ledger.remember(command, loaded.revision, loaded.commit_time, _answer(loaded.results))
    return loaded


def _answer(results: Iterable[Result]) -> list[Sequence[Any]]:
    """The answer to remember: the results without images."""
    return [(each.kind, each.id, each.version, each.first_number, each.last_number) for each in results]


def _tried(ledger: Ledger, connection: Connection, command: Load, now_ns: int) -> Committed:
    mark = ledger.mark()
    connection.execute("SAVEPOINT trial")
    for digest in command.assumed_digests:
        _assume_blob(connection, digest, now_ns)
    tried = _applied(ledger, connection, command, now_ns)
    connection.execute("ROLLBACK TO trial")
    connection.execute("RELEASE trial")
    ledger.reset(mark)
    return Committed(ledger.revision, ledger.commit_time, tried.results, command.workspace)


def _assume_blob(connection: Connection, digest: str, now_ns: int) -> None:
    """Inserts a row in place of a blob that is to be put before the load itself, unless the store has the blob."""
    if blobs.blob(connection, digest) is None:
        blobs.store_blob(connection, StoreBlob(digest, 0, 0, "", RAW, "", b"", 0), now_ns)


def _applied(ledger: Ledger, connection: Connection, command: Load, now_ns: int) -> Committed:
    time_ns = ledger.next_time(now_ns)
    ledger.make_workspace(connection, command.workspace, time_ns)
    results: list[Result] = []
    made: list[Change] = []
    for actor, steps in groupby(command.steps, lambda step: step.actor):
        unit = Unit(connection, ledger, command.workspace, ledger.revision + 1, time_ns)
        ledger.begin_commit(unit.changes)
        for step in steps:
            results += _step(unit, step, command.skips)
        if unit.changes:
            who = Commit(command.workspace, actor, command.request_id, command.fingerprint, (), command.peer)
            ledger.note(who, unit.revision, time_ns, unit.changes)
            made += unit.changes
    return Committed(ledger.revision, time_ns, tuple(results), command.workspace, tuple(made))


def _step(unit: Unit, step: LoadStep, skips: bool) -> Iterator[Result]:
    """The results of a step, one for each item. An error gets the position of the item as its metadata `item`."""
    try:
        if isinstance(step, LoadedRecord):
            yield _record(unit, step.kind, step.message, skips)
        else:
            append = step.append
            skipped, first, last = loaded_entries.add(unit, step, skips)
            yield from [Result(append.journal.name, append.parent_id)] * skipped
            for number in range(first, last + 1):
                yield Result(append.journal.name, append.parent_id, first_number=number, last_number=number)
            if last >= first:
                unit.changes.append(_appended(step.append.journal.name, append.parent_kind, append.parent_id, first, last))
    except HoldfastError as error:
        error.metadata.setdefault("item", str(step.item))
        raise


def _appended(journal: str, parent_kind: str, parent_id: str, first: int, last: int) -> Change:
    return Change(journal, parent_id, APPEND, parent_kind=parent_kind, first_number=first, last_number=last)


def _record(unit: Unit, kind: Kind, given: RecordMessage, skips: bool) -> Result:
    """Inserts a record. One that the store has is left out if `skips` is set, else ALREADY_EXISTS."""
    id = _known_id(unit, kind, given) if skips else given.id
    if id and records.exists(unit.connection, kind, unit.workspace, id):
        if not skips:
            raise AlreadyExists(f"The {kind.name} {id} exists already.", reason="ID_TAKEN", kind=kind.name, id=id)
        return Result(kind.name, id)
    message: RecordMessage = kind.message_class()
    message.CopyFrom(given)
    complete(unit, kind, message)
    lineages.check_order(kind, message)
    newest = unit.newest(kind, message.id)
    _set_version(unit, kind, message, newest)
    _set_times(message, unit.now_ns)
    image = records.insert(unit.connection, kind, unit.workspace, message, place_in_history(unit.revision, len(unit.changes)))
    unit.check_absent(kind, message.id, newest)
    return unit.record(kind, INSERT, message, image)


def _known_id(unit: Unit, kind: Kind, message: RecordMessage) -> str:
    """The id of the record, or the one that its fields make or find; a load that is repeated would add others again."""
    if message.id:
        return message.id
    if kind.id_template and all(getattr(message, each.name) for each in kind.columns if each.number_within):
        return template_id(kind, message)
    if kind.keys:
        return records.find_by_key(unit.connection, kind, unit.workspace, message)
    raise InvalidArgument(
        f"A {kind.name} without an id cannot be looked for, so a load that skips what is there needs its id.",
        reason="FIELD_REQUIRED",
        field="id",
    )


def _set_version(unit: Unit, kind: Kind, message: RecordMessage, newest: int) -> None:
    last = unit.last_version(kind, message.id, newest)
    if message.version and message.version <= last:
        raise FailedPrecondition(
            f"A deleted {kind.name} {message.id} had version {last}, and versions go on rising. Leave version unset to get"
            f" {last + 1}, or load into another workspace.",
            reason="VERSION_USED",
            kind=kind.name,
            id=message.id,
            version=last,
        )
    message.version = message.version or last + 1


def _set_times(message: RecordMessage, now_ns: int) -> None:
    """Of the two times, one that is unset is as the other: the record was not changed since. Both unset: that of the load."""
    if message.HasField("update_time") and not message.HasField("create_time"):
        message.create_time.CopyFrom(message.update_time)
    if not message.HasField("create_time"):
        codec.set_time(message.create_time, now_ns)
    if not message.HasField("update_time"):
        message.update_time.CopyFrom(message.create_time)
