"""Tables for people: columns as wide as what is in them, cut to the terminal's width."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from holdfast.cli.text import columns_of, fitted

SAMPLE_ROWS = 200
LEAST_COLUMNS = 6
GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and whether the cells are numbers."""

    heading: str
    right: bool = False


def terminal_columns() -> int | None:
    """How wide the output may be; None, when it goes to a file or a program, means that nothing is cut."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], limit: int | None) -> None:
    """Prints rows as they come: the first 200 decide how wide the columns are, so memory stays flat.

    `limit` is the width to keep to. The first column, which holds the id, is the last to be cut.
    """
    rest = iter(rows)
    sample = list(islice(rest, SAMPLE_ROWS))
    headings = [each.heading for each in columns]
    widths = [max(map(columns_of, cells)) for cells in zip(headings, *sample, strict=True)]
    if limit is not None:
        widths = fit(widths, limit)
    for row in chain([headings], sample, rest):
        print(_line(columns, row, widths, limit is not None))


def fit(widths: Sequence[int], limit: int) -> list[int]:
    """Widths that fit into `limit` together: the widest give way first, none below six columns."""
    fitting = list(widths)
    excess = sum(fitting) + len(GAP) * (len(fitting) - 1) - limit
    while excess > 0:
        # The first column gives way only when the others are as narrow as they get.
        widest = max(range(1, len(fitting)), key=fitting.__getitem__, default=0)
        if fitting[widest] <= LEAST_COLUMNS:
            widest = 0
        if fitting[widest] <= LEAST_COLUMNS:
            break
        taken = min(excess, max(fitting[widest] - _second(fitting, widest), 1), fitting[widest] - LEAST_COLUMNS)
        fitting[widest] -= taken
        excess -= taken
    return fitting


def _second(widths: Sequence[int], widest: int) -> int:
    """The width that the widest column may shrink to in one go: that of the next but the first."""
    return max((width for index, width in enumerate(widths) if index not in (0, widest)), default=LEAST_COLUMNS)


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], cut: bool) -> str:
    shown = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        text = fitted(cell, width) if cut else cell
        padding = " " * (width - columns_of(text))
        shown.append(padding + text if column.right else text + padding)
    return GAP.join(shown).rstrip()
