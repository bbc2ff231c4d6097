"""`tail` prints the entries of a journal, `watch` the changes of a workspace; both can wait for new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli import exits
from holdfast.cli.command import command, count, offered, positive
from holdfast.cli.options import Options
from holdfast.cli.printing import write_lines
from holdfast.cli.reach import open_following, open_store
from holdfast.cli.terminal import Line
from holdfast.cli.text import one_line, time_text, visible
from holdfast.errors import InvalidArgument, NotFound
from holdfast.values.fields import message_of

if TYPE_CHECKING:
    from holdfast.store import Store
    from holdfast.v1 import entry_pb2, store_service_pb2

SHORT_LINES = 5
LAST_LINES = 10
INDENT = "  "
_HEADED_BY = ("role", "type")
_TOLD_IN = ("content", "message", "data")
_LABELS = ("title", "name")
_WHOSE = "the kind of the journal's parent (default: session)"
_WHICH = "the journal, such as event (default: transcript)"
_LINES = "the largest number of entries (default: 10, or all with --start)"
_ONLY = "only this kind or journal; may be repeated"


@command("tail")
@click.argument("session", metavar="SESSION", help="the session's id", shell_complete=offered("session_ids"))
@click.option("-f", "--follow", is_flag=True, help="wait for new entries, also while the daemon restarts")
@click.option("-n", "--lines", metavar="N", type=count, help=_LINES)
@click.option("--start", metavar="NUMBER", type=positive, help="begin with this entry, instead of the last ones")
@click.option("--filter", metavar="FILTER", default="", help="only entries that match, such as 'role = \"prompt\"'")
@click.option("--parent-kind", metavar="KIND", default="session", help=_WHOSE, shell_complete=offered("kinds"))
@click.option("--journal", metavar="JOURNAL", default="transcript", help=_WHICH, shell_complete=offered("journals"))
@click.option("--full", is_flag=True, help="print all lines of each entry")
def tail(
    options: Options,
    session: str,
    follow: bool,
    lines: int | None,
    start: int | None,
    filter: str,
    parent_kind: str,
    journal: str,
    full: bool,
) -> int:
    """Shows the end of a transcript, or of another journal; with `--follow` also new entries, until interrupted.

    examples:
      holdfast tail ses_… -f
      holdfast tail ses_… --start 1 --full       the whole transcript
      holdfast tail ses_… --start 99 -n 3        entries 99 to 101
      holdfast tail TASK-001 --parent-kind task
      holdfast tail TASK-001 --parent-kind task --journal event -f
      holdfast tail ses_… --start 1 --json > transcript.jsonl
    """
    from holdfast.cli.json_form import json_line, with_contents
    from holdfast.cli.kind_names import journal_named, kind_named
    from holdfast.contract.kinds import plural

    of, read_from = kind_named(parent_kind).name, plural(journal_named(journal))
    if not session:
        raise InvalidArgument("SESSION is empty: say whose transcript, as in `holdfast tail ses_…`.", reason="USAGE")
    with (open_following if follow else open_store)(options) as store:
        read = partial(getattr(store, read_from).read, session, parent_kind=of)
        with _naming_the_parent(store, journal_named(journal), of, session):
            first = start or _start(read, LAST_LINES if lines is None else lines, filter)
            with read(start=first, filter=filter, follow=follow) as found:
                # Without --start, `lines` determines the first entry, and --follow continues after these entries.
                for entry in map(message_of, islice(found, lines if start else None)):
                    if options.as_json:
                        print(json_line(with_contents(store, entry, entry_form(entry))), flush=follow)
                    else:
                        write_lines(_lines(entry, full=full), flush=follow)
    return exits.OK


@contextmanager
def _naming_the_parent(store: Store, journal: str, of: str, id: str) -> Iterator[None]:
    """Adds to the error about a missing parent of which kind it may be."""
    from holdfast.contract.kinds import JOURNALS, KINDS

    try:
        yield
    except NotFound as error:
        if error.reason == "RECORD_NOT_FOUND":
            others = [each for each in JOURNALS[journal].parent_kinds if each != of and each in KINDS]
            found = [each for each in others if store.collection(each).exists(id)]
            if found:
                error.message += f" There is a {found[0]} {id}: add `--parent-kind {found[0]}`."
            elif others:
                error.message += f" The parent may be of another kind, which `--parent-kind` names: {', '.join(others)}."
        raise


def _start(read: Callable[..., Iterable[entry_pb2.Entry]], lines: int, filter: str) -> int:
    """The number of the first entry to print. Found by at most two calls that keep one number, so memory is constant."""

    def number_back(count: int, filter: str) -> int:
        """The number of the entry `count` from the end, or of the first if there are fewer; 0 if there is none."""
        return _last_number(read(limit=count, descending=True, filter=filter, contents=False))

    newest = number_back(1, "")
    if not filter or not lines:
        return max(newest - lines + 1, 1)
    return number_back(lines, filter) or newest + 1


def _last_number(entries: Iterable[entry_pb2.Entry]) -> int:
    number = 0
    for entry in entries:
        number = entry.number
    return number


def entry_form(entry: entry_pb2.Entry) -> dict[str, Any]:
    """Returns an entry as one flat object: its number, times and parent, and the fields of its value."""
    from holdfast.cli.json_form import json_form

    whole = json_form(entry)
    value: dict[str, Any] = whole.pop(entry.WhichOneof("value") or "", {})
    return {name: each for name, each in whole.items() if each or not name.startswith("parent_")} | value


def _lines(entry: entry_pb2.Entry, *, full: bool) -> Iterator[Line]:
    """Yields the heading, the content (its first lines unless `full`), and an empty line."""
    yield Line(_heading(entry), "bold")
    text = "\n".join(each for name in _TOLD_IN if (each := getattr(_value(entry), name, "")))
    told = visible(text).split("\n") if text else []
    yield from (Line(INDENT + line, cut=not full) for line in (told if full else told[:SHORT_LINES]))
    if not full and len(told) > SHORT_LINES:
        yield Line(f"{INDENT}… {len(told) - SHORT_LINES} more lines; --full shows them", "dim")
    yield Line("")


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


@command("watch")
@click.option("--kind", "kinds", metavar="KIND", multiple=True, help=_ONLY, shell_complete=offered("watched"))
@click.option("--id", "ids", metavar="ID", multiple=True, help="only this record or journal; may be repeated")
@click.option("--since", metavar="REV", type=count, help="begin after this revision; 0: at the first change (default: now)")
@click.option("--replay", is_flag=True, help="end at the present revision instead of waiting for new changes")
def watch(options: Options, kinds: Sequence[str], ids: Sequence[str], since: int | None, replay: bool) -> int:
    """Shows changes as they happen, each once and in order, until interrupted; with `--replay` only those up to now.

    examples:
      holdfast watch --kind tasks
      holdfast watch --kind task --id TASK-001 --since 0 --replay      the history of a task
      holdfast watch --json | jq .record
    """
    from holdfast.cli.json_form import json_line
    from holdfast.cli.kind_names import watched_name

    watched = [watched_name(each) for each in kinds]
    with (
        (open_store if replay else open_following)(options) as store,
        store.watch(kinds=watched, ids=ids, since=since, replay_only=replay) as found,
    ):
        for change in map(message_of, found):
            print(json_line(change_form(change)) if options.as_json else _change_line(change), flush=not replay)
    return exits.OK


def change_form(change: store_service_pb2.Change) -> dict[str, Any]:
    """Returns a change as one object; `record` is the record after the change."""
    from holdfast.cli.json_form import json_form

    found = json_form(change)
    found["action"] = _action_of(change)
    if found["record"] is not None:
        found["record"] = found["record"].get(change.kind)
    return found


def _change_line(change: store_service_pb2.Change) -> str:
    """A change on one line: revision, time, action, subject and actor."""
    parts = [f"{change.revision:>8}", time_text(change.commit_time.ToJsonString()), f"{_action_of(change):<6}", _subject(change)]
    return one_line("  ".join(each for each in [*parts, _label(change), f"by {change.actor}" if change.actor else ""] if each))


def _subject(change: store_service_pb2.Change) -> str:
    if not change.parent_kind:
        return f"{change.kind} {change.id} v{change.version}"
    numbers = (
        f"#{change.first_number}" if change.first_number == change.last_number else f"#{change.first_number}–{change.last_number}"
    )
    return f"{change.kind} of {change.parent_kind} {change.id} {numbers}"


def _label(change: store_service_pb2.Change) -> str:
    """The record's title or name in quotes, if it has one."""
    value = getattr(change.record, change.kind, None) if change.HasField("record") else None
    return next((f'"{label}"' for name in _LABELS if (label := getattr(value, name, ""))), "")


def _action_of(change: store_service_pb2.Change) -> str:
    """The action: insert, update, delete, append or drop, or the name that a caller gave to its own."""
    from holdfast.v1 import store_service_pb2

    if change.HasField("note"):
        return change.note.action
    return store_service_pb2.Action.Name(change.action).removeprefix("ACTION_").lower()
