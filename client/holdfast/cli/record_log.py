"""`log`: shows the history of a record as diffs, newest first."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from holdfast.cli.field_values import is_message
from holdfast.cli.fields import descriptor_of, rules_of
from holdfast.cli.json_form import json_form, json_line
from holdfast.cli.kind_names import is_kind, kind_named
from holdfast.cli.options import Options
from holdfast.cli.reach import open_store
from holdfast.cli.record_diff import FieldChange, Omitted, changes_between, lines_of
from holdfast.cli.terminal import Line
from holdfast.cli.text import one_line, time_text
from holdfast.cli.unreadable import counted
from holdfast.contract.kinds import KINDS, Kind
from holdfast.contract.messages import message_with
from holdfast.errors import DataLoss, FailedPrecondition, HoldfastError, NotFound
from holdfast.v1 import entry_pb2, journal_service_pb2
from holdfast.values.fields import json_value

if TYPE_CHECKING:
    from holdfast.store import Store


_OWN_ACTIONS = ("insert", "update", "delete")
_CLOCK_NOTE = "holdfast: The clock was set back between these changes: they are ordered by revision, not by time."


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of a record."""

    revision: int
    time: str
    action: str
    kind: str
    id: str
    version: int
    actor: str
    peer_uid: int | None
    peer_pid: int | None
    fields: list[FieldChange]
    diff: Any = None  # of an action that a caller added: what the caller gave with it


def entries(options: Options, what: str, id: str | None, limit: int | None) -> Iterator[Entry]:
    """Returns the changes of a record, also of a deleted one, newest first. `what` is its kind, or its id if `id` is None.

    Prints a note on stderr when their times are not in that order. Raises NotFound, FailedPrecondition when records of several
    kinds have the id, and DataLoss when none of the changes can be read.
    """
    kinds, wanted = ([kind_named(what).name], id) if id is not None else (list(KINDS), what)
    found: dict[str, deque[entry_pb2.Entry]] = {}
    with open_store(options) as store, counted() as unreadable:
        for told in _history(store, kinds, wanted):
            found.setdefault(told.audit.kind, deque(maxlen=limit)).append(told)
    if not found:
        raise _damaged(what, id) if unreadable.count else _nothing(what, id)
    chosen = found[_meant(found, wanted)]
    if any(older.audit.time.ToNanoseconds() > newer.audit.time.ToNanoseconds() for older, newer in pairwise(chosen)):
        print(_CLOCK_NOTE, file=sys.stderr)
    return map(_entry, reversed(chosen))


def _meant(kinds: Iterable[str], id: str) -> str:
    """The kind of the record with the id. Kinds that take their ids from another, such as task_state, are the last choice."""
    candidates = list(kinds)
    own = [each for each in candidates if not _borrows_id(KINDS[each])]
    candidates = own or candidates
    if len(candidates) > 1:
        raise FailedPrecondition(
            f"{id!r} is the id of a {' and of a '.join(candidates)}. Say which: `holdfast log {candidates[0]} {id}`.",
            reason="AMBIGUOUS",
        )
    return candidates[0]


def _borrows_id(kind: Kind) -> bool:
    name = kind.id_template.removeprefix("{").removesuffix("}")
    return name in kind.by_name and rules_of(descriptor_of(kind, name)).HasField("reference")


def _damaged(what: str, id: str | None) -> HoldfastError:
    named = what if id is None else f"{what} {id}"
    return DataLoss(f"No change of {named} can be read. `holdfast verify` names the damage.", reason="HISTORY_DAMAGED")


def _nothing(what: str, id: str | None) -> NotFound:
    if id is None and is_kind(what):
        return NotFound(f"The ID is missing: `holdfast log {what} ID`.", reason="RECORD_NOT_FOUND")
    named = what if id is None else f"{what} {id}"
    return NotFound(f"The store has no change of {named}.", reason="RECORD_NOT_FOUND")


def _history(store: Store, kinds: list[str], id: str) -> Iterator[entry_pb2.Entry]:
    """Yields the audit's entries, oldest first for each kind. Asks for one kind at a time, so that the daemon uses an index."""
    from holdfast.blobs.contents import as_stored
    from holdfast.domain.audit import JOURNAL
    from holdfast.journals.entry_pages import entry_pages

    scope = store.transaction().scope
    for kind in kinds:
        request = message_with(
            journal_service_pb2.JournalServiceListRequest,
            workspace=scope.workspace,
            journal=JOURNAL,
            parent_kind=kind,
            parent_id=id,
        )
        yield from entry_pages(scope, request, None, as_stored(list))


def _entry(told: entry_pb2.Entry) -> Entry:
    audit = told.audit
    if audit.action not in _OWN_ACTIONS:
        return _own(told)
    before, after = _side(audit, "before"), _side(audit, "after")
    before, after = ({} if audit.action == "insert" else before), ({} if audit.action == "delete" else after)
    fields = changes_between(KINDS[audit.kind], before, after)
    time = audit.time.ToJsonString()
    uid, pid = (getattr(audit, each) if audit.HasField(each) else None for each in ("peer_uid", "peer_pid"))
    return Entry(told.revision, time, audit.action, audit.kind, audit.id, audit.version, audit.actor, uid, pid, fields)


def _own(told: entry_pb2.Entry) -> Entry:
    """An action that a caller added to the audit. It changed no field."""
    audit = told.audit
    uid, pid = (getattr(audit, each) if audit.HasField(each) else None for each in ("peer_uid", "peer_pid"))
    time, note = audit.time.ToJsonString(), json_value(audit.diff)
    return Entry(told.revision, time, audit.action, audit.kind, audit.id, audit.version, audit.actor, uid, pid, [], note)


def _side(audit: entry_pb2.Audit, side: str) -> dict[str, Any]:
    """The record before or after, as far as the diff tells: fields that the diff does not name are empty."""
    values: dict[str, Any] = {}
    for name, sides in (json_value(audit.diff) or {}).items():
        if side in sides:
            values[name] = sides[side]
        elif f"{side}_bytes" in sides:
            values[name] = Omitted(sides[f"{side}_bytes"])
    return _whole(KINDS[audit.kind].message_class(), values)


def _whole(empty: Message, values: dict[str, Any]) -> dict[str, Any]:
    """A message as JSON with the given values set, in the order of the contract."""
    form = json_form(empty)
    for field in cast(Iterable[FieldDescriptor], empty.DESCRIPTOR.fields):
        if (value := values.get(field.name)) is None:
            continue
        if field.is_repeated and is_message(field) and isinstance(value, list):
            assert field.message_type is not None
            member = message_factory.GetMessageClass(field.message_type)
            form[field.name] = [_whole(member(), each) for each in value]
        else:
            form[field.name] = value
    return form


def form(entry: Entry) -> dict[str, Any]:
    """Returns an entry as JSON."""
    return {
        "revision": entry.revision,
        "commit_time": entry.time,
        "actor": entry.actor,
        "peer_uid": entry.peer_uid,
        "peer_pid": entry.peer_pid,
        "action": entry.action,
        "kind": entry.kind,
        "id": entry.id,
        "version": entry.version,
        "fields": {each.name: _told("before", each.before) | _told("after", each.after) for each in entry.fields},
        **({} if entry.diff is None else {"diff": entry.diff}),
    }


def _told(side: str, value: Any) -> dict[str, Any]:
    return {f"{side}_bytes": value.size_bytes} if isinstance(value, Omitted) else {side: value}


def lines(entry: Entry) -> Iterator[Line]:
    """Yields an entry for people: a heading, the changed fields, and an empty line."""
    by = f"  by {who}" if (who := _who(entry)) else ""
    subject = f"{entry.action} {entry.kind} {entry.id} v{entry.version}"
    yield Line(one_line(f"revision {entry.revision}  {time_text(entry.time)}  {subject}{by}"), "bold")
    for change in entry.fields:
        yield from lines_of(KINDS[entry.kind], change)
    if entry.diff is not None:
        yield Line(one_line(f"  {json_line(entry.diff)}"))
    yield Line("")


def _who(entry: Entry) -> str:
    """The actor and the process: `maria (uid 1000, pid 4711)`. Empty if neither is known."""
    peer = [f"{name} {value}" for name, value in (("uid", entry.peer_uid), ("pid", entry.peer_pid)) if value is not None]
    return " ".join(each for each in (entry.actor, f"({', '.join(peer)})" if peer else "") if each)
