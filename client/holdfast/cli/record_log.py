"""`log`: the history of a record as a diff, newest first."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.cli import exits
from holdfast.cli.changes import action_of
from holdfast.cli.fields import descriptor_of, rules_of
from holdfast.cli.json_form import json_form, json_line
from holdfast.cli.kind_names import is_kind, kind_named
from holdfast.cli.options import Options
from holdfast.cli.reach import open_store
from holdfast.cli.record_diff import FieldChange, changes_between, lines_of
from holdfast.cli.text import one_line, time_text
from holdfast.errors import Compacted, FailedPrecondition, NotFound
from holdfast.kinds import KINDS, Kind
from holdfast.v1 import store_service_pb2

if TYPE_CHECKING:
    from holdfast.store import Store

Change = store_service_pb2.Change


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of a record; `fields` is None where the image before it is gone, so nobody can say what changed."""

    revision: int
    time: str
    action: str
    kind: str
    id: str
    version: int
    actor: str
    fields: list[FieldChange] | None


def log(options: Options, given: argparse.Namespace) -> int:
    """Prints the changes of a record; also of one that is deleted."""
    kinds, id = ([kind_named(given.what).name], given.id) if given.id is not None else (list(KINDS), given.what)
    found: dict[str, deque[Entry]] = {}
    with open_store(options) as store:
        for entry in _entries(_history(store, kinds, id)):
            found.setdefault(entry.kind, deque(maxlen=given.limit)).append(entry)
    if not found:
        raise _nothing(given)
    for entry in reversed(found[_meant(found, id)]):
        print(json_line(_form(entry)) if options.as_json else "\n".join(_lines(entry)))
    return exits.OK


def _meant(kinds: Iterable[str], id: str) -> str:
    """The kind of the record that bears the id. A kind that takes its ids from another, as a task's state does, gives way."""
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
    return name in kind.fields and rules_of(descriptor_of(kind, name)).HasField("reference")


def _nothing(given: argparse.Namespace) -> NotFound:
    if given.id is None and is_kind(given.what):
        return NotFound(f"Say which: `holdfast log {given.what} ID`.", reason="RECORD_NOT_FOUND")
    what = given.what if given.id is None else f"{given.what} {given.id}"
    return NotFound(f"The store knows of no change of {what}.", reason="RECORD_NOT_FOUND")


def _history(store: Store, kinds: list[str], id: str) -> Iterator[Change]:
    """The changes that the store still tells, oldest first."""
    try:
        yield from store.watch(kinds=kinds, ids=[id], since=0, replay_only=True)
    except Compacted as error:
        yield from store.watch(kinds=kinds, ids=[id], since=error.oldest_revision, replay_only=True)


def _entries(changes: Iterator[Change]) -> Iterator[Entry]:
    """Each change with what it changed. Two images are held at a time."""
    images: dict[str, dict[str, Any]] = {}
    for change in changes:
        after = json_form(getattr(change.record, change.kind)) if change.HasField("record") else {}
        action, before = action_of(change), images.get(change.kind)
        images[change.kind] = after
        if action == "insert":
            fields: list[FieldChange] | None = changes_between({}, after)
        elif action == "delete":
            fields = changes_between(after, {})
        else:
            fields = None if before is None else changes_between(before, after)
        time = change.commit_time.ToJsonString()
        yield Entry(change.revision, time, action, change.kind, change.id, change.version, change.actor, fields)


def _form(entry: Entry) -> dict[str, Any]:
    """An entry for programs."""
    fields = None if entry.fields is None else {each.name: {"before": each.before, "after": each.after} for each in entry.fields}
    return {
        "revision": entry.revision,
        "commit_time": entry.time,
        "actor": entry.actor,
        "action": entry.action,
        "kind": entry.kind,
        "id": entry.id,
        "version": entry.version,
        "fields": fields,
    }


def _lines(entry: Entry) -> Iterator[str]:
    by = f"  by {entry.actor}" if entry.actor else ""
    subject = f"{entry.action} {entry.kind} {entry.id} v{entry.version}"
    yield one_line(f"revision {entry.revision}  {time_text(entry.time)}  {subject}{by}")
    if entry.fields is None:
        yield "  what was there before is no longer kept"
    for change in entry.fields or ():
        yield from lines_of(KINDS[entry.kind], change)
    yield ""
