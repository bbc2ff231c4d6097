"""Tables for people: columns as wide as what is in them, cut to the terminal's width."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from holdfast.cli.text import columns_of, fitted

SAMPLE_ROWS = 200
LEAST_COLUMNS = 6
GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, whether the cells are numbers, and whether they are never cut, as an id is good for nothing then."""

    heading: str
    right: bool = False
    whole: bool = False


def terminal_columns() -> int | None:
    """How wide the output may be; None, when it goes to a file or a program, means that nothing is cut."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], limit: int | None) -> None:
    """Prints rows as they come: the first 200 decide how wide the columns are, so memory stays flat.

    `limit` is the width to keep to, but for columns that are shown whole.
    """
    rest = iter(rows)
    sample = list(islice(rest, SAMPLE_ROWS))
    headings = [each.heading for each in columns]
    widths = [max(map(columns_of, cells)) for cells in zip(headings, *sample, strict=True)]
    if limit is not None:
        widths = fit(widths, limit, {index for index, each in enumerate(columns) if each.whole})
    for row in chain([headings], sample, rest):
        print(_line(columns, row, widths, limit is not None))


def fit(widths: Sequence[int], limit: int, whole: Collection[int] = ()) -> list[int]:
    """Widths that fit into `limit` together, if they can: the widest give way first, none below six columns.

    Where that is not enough the last columns are left out, with a width of 0. The columns in `whole` stay as they are.
    """
    fitting = list(widths)
    least = [width if index in whole else min(width, LEAST_COLUMNS) for index, width in enumerate(widths)]
    for index in reversed(range(len(widths))):
        if index not in whole and _together(least) > limit and any(least[:index] + least[index + 1 :]):
            fitting[index] = least[index] = 0
    while (excess := _together(fitting) - limit) > 0:
        widest = max((each for each in range(len(fitting)) if fitting[each] > least[each]), key=fitting.__getitem__, default=None)
        if widest is None:
            break
        second = max((width for index, width in enumerate(fitting) if index != widest and index not in whole), default=0)
        fitting[widest] -= min(excess, max(fitting[widest] - second, 1), fitting[widest] - least[widest])
    return fitting


def _together(widths: Sequence[int]) -> int:
    """What a line of the columns that are shown takes."""
    return sum(width + len(GAP) for width in widths if width) - len(GAP)


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], cut: bool) -> str:
    shown = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        if not width:
            continue
        text = fitted(cell, width) if cut and not column.whole else cell
        padding = " " * (width - columns_of(text))
        shown.append(padding + text if column.right else text + padding)
    return GAP.join(shown).rstrip()
