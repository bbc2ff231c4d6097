"""`watch`: the changes of a workspace as they happen."""

from __future__ import annotations

import argparse
from typing import Any

from holdfast.cli import exits
from holdfast.cli.json_form import json_form, json_line
from holdfast.cli.kind_names import watched_name
from holdfast.cli.options import Options
from holdfast.cli.reach import open_following, open_store
from holdfast.cli.text import one_line, time_text
from holdfast.v1 import store_service_pb2

LABELS = ("title", "name")


def watch(options: Options, given: argparse.Namespace) -> int:
    """Prints each change once, in order, until it is interrupted; with `--replay` until the present."""
    kinds = [watched_name(each) for each in given.kind or ()]
    with (
        (open_store if given.replay else open_following)(options) as store,
        store.watch(kinds=kinds, ids=given.id or (), since=given.since, replay_only=given.replay) as changes,
    ):
        for change in changes:
            print(json_line(change_form(change)) if options.as_json else _line(change), flush=not given.replay)
    return exits.OK


def change_form(change: store_service_pb2.Change) -> dict[str, Any]:
    """A change as one object; `record` is the record as it was after it."""
    form = json_form(change)
    form["action"] = action_of(change)
    if form["record"] is not None:
        form["record"] = form["record"].get(change.kind)
    return form


def _line(change: store_service_pb2.Change) -> str:
    parts = [f"{change.revision:>8}", time_text(change.commit_time.ToJsonString()), f"{action_of(change):<6}", _subject(change)]
    return one_line("  ".join(each for each in [*parts, _label(change), f"by {change.actor}" if change.actor else ""] if each))


def _subject(change: store_service_pb2.Change) -> str:
    if not change.parent_kind:
        return f"{change.kind} {change.id} v{change.version}"
    numbers = (
        f"#{change.first_number}" if change.first_number == change.last_number else f"#{change.first_number}–{change.last_number}"
    )
    return f"{change.kind} of {change.parent_kind} {change.id} {numbers}"


def _label(change: store_service_pb2.Change) -> str:
    """What people call the record."""
    value = getattr(change.record, change.kind, None) if change.HasField("record") else None
    return next((f'"{label}"' for name in LABELS if (label := getattr(value, name, ""))), "")


def action_of(change: store_service_pb2.Change) -> str:
    """What happened, in a word: insert, update, delete, append or drop."""
    return store_service_pb2.Action.Name(change.action).removeprefix("ACTION_").lower()
