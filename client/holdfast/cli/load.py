"""`load`: adds existing records and entries from JSON lines."""

from __future__ import annotations

import click

from holdfast.cli import exits
from holdfast.cli.command import command, offered, positive
from holdfast.cli.options import Options
from holdfast.errors import HoldfastError, InvalidArgument

_WHAT = "the kind or journal, such as tasks or transcript"
_FILE = "a file of JSON lines; - is stdin"
_PARENT = "the parent of entries that name none, as KIND:ID, such as session:ses_1"
_DRY_RUN = "check everything, but change nothing"
_CONFLICT = "what to do with items that the store has: fail (the default) or skip them"
_BATCH = "the largest number of items in a batch, up to 10,000 (default: 1000)"
_ANY_PATH = 'let {"@file": …} name files outside the directory of FILE'
_ACTOR = 'the actor to record in the history for lines without "@actor" (default: your user name)'


@command("load")
@click.argument("noun", metavar="KIND|JOURNAL", help=_WHAT, shell_complete=offered("watched"))
@click.argument("file", metavar="FILE", help=_FILE)
@click.option("--parent", metavar="KIND:ID", default="", help=_PARENT)
@click.option("--dry-run", is_flag=True, help=_DRY_RUN)
@click.option("--on-conflict", metavar="WHAT", type=click.Choice(["fail", "skip"]), default="fail", help=_CONFLICT)
@click.option("--batch", metavar="N", type=positive, default=1000, help=_BATCH)
@click.option("--allow-any-path", is_flag=True, help=_ANY_PATH)
@click.option("--actor", metavar="NAME", help=_ACTOR)
def load(
    options: Options,
    noun: str,
    file: str,
    parent: str,
    dry_run: bool,
    on_conflict: str,
    batch: int,
    allow_any_path: bool,
    actor: str | None,
) -> int:
    """Adds existing records or entries from JSON lines; they keep their ids, times, versions, numbers and actors. Each batch is
    loaded whole or not at all; after an error, correct the file and load it again with --on-conflict skip.

    A line has the fields that `show --json` prints. {"@file": "context.json.gz"} in place of a value reads it from that file,
    decompressed (.gz, .zst); the path is relative to FILE. "@actor" names the actor of the line's row in the history.

    examples:
      holdfast load tasks tasks.jsonl --dry-run
      holdfast load transcript talk.jsonl --parent session:ses_1
      holdfast list tasks --json | holdfast --workspace copy load tasks -
    """
    from holdfast.cli.kind_names import watched_name
    from holdfast.cli.load_lines import Lines, located
    from holdfast.cli.progress import ProgressBar
    from holdfast.cli.reach import open_store
    from holdfast.domain.loads import Loader

    name = watched_name(noun)
    lines = Lines(file, allow_any_path=allow_any_path)
    with open_store(options, actor=actor) as store, ProgressBar() as progress:
        loader = Loader(
            store.transaction().scope,
            name,
            parent=_parent_of(parent),
            skip_existing=on_conflict == "skip",
            dry_run=dry_run,
            batch=batch,
        )
        try:
            loader.run(lines, lambda report: progress.tell(f"load {name}", lines.count, lines.total))
        except HoldfastError as error:
            raise located(error, lines, loader.report) from None
    _print_report(name, loader.report, as_json=options.as_json)
    return exits.OK


def _parent_of(text: str) -> tuple[str, str]:
    """The kind and the id that `--parent` names; empty ones without it."""
    from holdfast.cli.kind_names import kind_named

    kind, colon, id = text.partition(":")
    if text and not (kind and colon and id):
        raise InvalidArgument(f"--parent is KIND:ID, such as session:ses_1, not {text!r}.", reason="USAGE")
    return (kind_named(kind).name, id) if text else ("", "")


def _print_report(name: str, report: object, *, as_json: bool) -> None:
    from dataclasses import asdict

    from holdfast.cli.json_form import json_line
    from holdfast.domain.loads import LoadReport

    assert isinstance(report, LoadReport)
    if as_json:
        print(json_line({"name": name, **asdict(report)}))
        return
    print("would do:" if report.dry_run else "done:")
    print(f"  {'loaded':<22}{report.loaded}")
    print(f"  {'skipped':<22}{report.skipped}")
    if report.unchecked:
        print(f"  {'not checked':<22}{report.unchecked}  (they refer to records of an earlier batch)")
