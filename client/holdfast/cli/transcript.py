"""`tail`: the end of a transcript or another journal, and with `-f` what is still to come."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from holdfast.cli import exits
from holdfast.cli.json_form import json_form, json_line
from holdfast.cli.kind_names import journal_named, kind_named
from holdfast.cli.options import Options
from holdfast.cli.reach import open_following, open_store
from holdfast.cli.table import terminal_columns
from holdfast.cli.text import ELLIPSIS, fitted, one_line, time_text, visible
from holdfast.contract.kinds import plural
from holdfast.errors import InvalidArgument
from holdfast.v1 import entry_pb2

SHORT_LINES = 5
INDENT = "  "
_HEADED_BY = ("role", "type")
_TOLD_IN = ("content", "message", "data")


def tail(options: Options, given: argparse.Namespace) -> int:
    """Prints entries as they come; with `--follow` until it is interrupted."""
    parent_kind, journal = kind_named(given.parent_kind).name, journal_named(given.journal)
    if not given.session:
        raise InvalidArgument("SESSION is empty: say whose transcript, as in `holdfast tail ses_…`.", reason="USAGE")
    with (open_following if given.follow else open_store)(options) as store:
        read = partial(getattr(store, plural(journal)).read, given.session, parent_kind=parent_kind)
        start: int = given.start or _start(read, given)
        with read(start=start, filter=given.filter, follow=given.follow) as entries:
            for entry in entries:
                lines = [json_line(entry_form(entry))] if options.as_json else _lines(entry, full=given.full)
                print("\n".join(lines), flush=given.follow)
    return exits.OK


def _start(read: Callable[..., Iterable[entry_pb2.Entry]], given: argparse.Namespace) -> int:
    """The number of the first entry among the last ones. Two short calls, so that memory stays flat for any number of lines."""

    def number_back(count: int, filter: str) -> int:
        """The number of the entry that far from the end, or of the first one; 0 when there is none."""
        return _last_number(read(limit=count, descending=True, filter=filter))

    newest = number_back(1, "")
    if not given.filter or not given.lines:
        return max(newest - int(given.lines) + 1, 1)
    return number_back(given.lines, given.filter) or newest + 1


def _last_number(entries: Iterable[entry_pb2.Entry]) -> int:
    number = 0
    for entry in entries:
        number = entry.number
    return number


def entry_form(entry: entry_pb2.Entry) -> dict[str, Any]:
    """An entry as one flat object: what places it, and the fields of the entry itself."""
    form = json_form(entry)
    value: dict[str, Any] = form.pop(entry.WhichOneof("value") or "", {})
    return {name: each for name, each in form.items() if each or not name.startswith("parent_")} | value


def _lines(entry: entry_pb2.Entry, *, full: bool) -> Iterator[str]:
    """The heading, the content (its first lines unless `full`), and an empty line."""
    yield _heading(entry)
    columns = terminal_columns()
    text = "\n".join(told for name in _TOLD_IN if (told := getattr(_value(entry), name, "")))
    lines = visible(text).split("\n") if text else []
    for line in lines if full else lines[:SHORT_LINES]:
        yield INDENT + (line if full or columns is None else fitted(line, columns - len(INDENT)))
    if not full and len(lines) > SHORT_LINES:
        yield f"{INDENT}{ELLIPSIS} {len(lines) - SHORT_LINES} more lines; --full shows them"
    yield ""


def _heading(entry: entry_pb2.Entry) -> str:
    said = _value(entry)
    time = said.time if said.HasField("time") else entry.create_time
    about = [said.task_id, said.phase, f"iteration {said.iteration}" if said.iteration else "", getattr(said, "source", "")]
    took = f"{said.duration_ms} ms" if getattr(said, "duration_ms", 0) else ""
    headed = [getattr(said, name, "") for name in _HEADED_BY]
    parts = [f"#{entry.number}", time_text(time.ToJsonString()), *headed, *about, took]
    return one_line("  ".join(part for part in parts if part))


def _value(entry: entry_pb2.Entry) -> Any:
    return getattr(entry, entry.WhichOneof("value") or "transcript")
