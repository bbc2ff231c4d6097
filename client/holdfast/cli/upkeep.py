"""`sweep` and `verify`: long work of the daemon's, with its progress on stderr where somebody looks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from types import TracebackType

from holdfast.cli import exits
from holdfast.cli.json_form import json_form, json_line
from holdfast.cli.options import Options
from holdfast.cli.reach import open_store
from holdfast.cli.text import one_line, size_text

CLEAR_LINE = "\r\x1b[K"


class Progress:
    """One line on stderr that tells how far the work is, gone at the end; nothing when stderr is not a terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def tell(self, phase: str, done: int, total: int) -> None:
        """Shows how much of a phase is done, of how much (0: not known)."""
        if self._shown and phase:
            print(f"{CLEAR_LINE}{one_line(phase)}: {done}{f' of {total}' if total else ''}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Makes room for a line of output."""
        if self._shown:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()


def sweep(options: Options, given: argparse.Namespace) -> int:
    """Deletes blobs that nothing refers to, or counts them, and prints the counts."""
    counts: dict[str, int] = {}
    with open_store(options) as store, Progress() as progress:
        for frame in store.run_job("sweep", dry_run=given.dry_run):
            progress.tell(frame.phase, frame.done, frame.total)
            counts.update(frame.counts)
    if options.as_json:
        print(json_line({"dry_run": given.dry_run, "counts": counts}))
    else:
        print("would do:" if given.dry_run else "done:")
        _print_counts(counts)
    return exits.OK


def verify(options: Options, given: argparse.Namespace) -> int:
    """Prints what is wrong with the store as it is found; fails when something is."""
    problems = 0
    counts: dict[str, int] = {}
    with open_store(options) as store, Progress() as progress:
        for frame in store.verify(read_blobs=given.read_blobs):
            for problem in frame.problems:
                progress.clear()
                told = f"{problem.reason}  {problem.subject}  {problem.detail}"
                print(json_line(json_form(problem)) if options.as_json else one_line(told), flush=True)
            problems += len(frame.problems)
            progress.tell(frame.phase, frame.done, frame.total)
            counts.update(frame.counts)
    if options.as_json:
        print(json_line({"finished": True, "problems": problems, "counts": counts}))
    else:
        print(f"problems found: {problems}" if problems else "no problems found")
        _print_counts({name: each for name, each in counts.items() if name != "problems"})
    return exits.FAILED if problems else exits.OK


def _print_counts(counts: Mapping[str, int]) -> None:
    for name, number in sorted(counts.items()):
        shown = size_text(number) if name.startswith("bytes") else str(number)
        print(f"  {name.replace('_', ' '):<22}{shown}")
