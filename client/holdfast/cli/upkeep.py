"""`sweep` and `verify`: run jobs of the daemon and show their progress on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from holdfast.cli import exits
from holdfast.cli.command import command
from holdfast.cli.options import Options
from holdfast.cli.progress import ProgressBar
from holdfast.cli.reach import open_store
from holdfast.cli.text import one_line, size_text

if TYPE_CHECKING:
    from holdfast.v1 import admin_service_pb2


@command("sweep")
@click.option("--dry-run", is_flag=True, help="only count what would be deleted")
def sweep(options: Options, dry_run: bool) -> int:
    """Deletes blobs that no record refers to, or with --dry-run only counts them.

    examples:
      holdfast sweep --dry-run
    """
    from holdfast.cli.json_form import json_line

    counts: dict[str, int] = {}
    with open_store(options) as store, ProgressBar() as progress:
        for frame in store.run_job("sweep", dry_run=dry_run):
            progress.tell(frame.phase, frame.done, frame.total)
            counts.update(frame.counts)
    if options.as_json:
        print(json_line({"dry_run": dry_run, "counts": counts}))
    else:
        print("would do:" if dry_run else "done:")
        _print_counts(counts)
    return exits.OK


@command("verify")
@click.option("--read-blobs", is_flag=True, help="also read and decode every blob's content")
def verify(options: Options, read_blobs: bool) -> int:
    """Checks every row and blob of the store, and prints each problem when it is found.

    examples:
      holdfast verify                exits with 1 if there are problems
      holdfast verify --read-blobs --json
    """
    from holdfast.cli.json_form import json_line

    problems = 0
    counts: dict[str, int] = {}
    with open_store(options) as store, ProgressBar() as progress:
        for frame in store.verify(read_blobs=read_blobs):
            if frame.problems:
                with progress.hidden():
                    _print_problems(frame.problems, as_json=options.as_json)
            else:  # a frame with problems has no counts
                progress.tell(frame.phase, frame.done, frame.total)
            problems += len(frame.problems)
            counts.update(frame.counts)
    if options.as_json:
        print(json_line({"finished": True, "problems": problems, "counts": counts}))
    else:
        print(f"problems found: {problems}" if problems else "no problems found")
        _print_counts({name: each for name, each in counts.items() if name != "problems"})
    return exits.FAILED if problems else exits.OK


def _print_problems(problems: Iterable[admin_service_pb2.Problem], *, as_json: bool) -> None:
    from holdfast.cli.json_form import json_form, json_line

    for problem in problems:
        told = f"{problem.reason}  {problem.subject}  {problem.detail}"
        print(json_line(json_form(problem)) if as_json else one_line(told), flush=True)


def _print_counts(counts: Mapping[str, int]) -> None:
    for name, number in sorted(counts.items()):
        shown = size_text(number) if name.startswith("bytes") else str(number)
        print(f"  {name.replace('_', ' '):<22}{shown}")
