"""Draws with rich. Imported only when needed, because importing rich takes as long as running a short command.

Callers escape control characters in text from the store (`text.visible`) and pass it as `rich.text.Text`, never as markup, so
that `[red]` in a title is printed as it is. Functions return strings that the caller prints, so that a closed pipe is handled in
one place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from rich.console import Console, ConsoleRenderable
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from holdfast.cli.terminal import GAP, Column, Line, cells_of

UNLIMITED = 1 << 31
LEAST_COLUMNS = 6


def console(file: TextIO, width: int | None = None) -> Console:
    """Returns a console for a file or a terminal; it uses colours on a terminal, unless NO_COLOR is set."""
    coloured = file.isatty() and not os.environ.get("NO_COLOR")
    return Console(file=file, width=width, color_system="auto" if coloured else None, highlight=False, markup=False, emoji=False)


def drawn(renderable: ConsoleRenderable, width: int, *, cut: bool = True) -> str:
    """Returns the renderable as the text to print on stdout."""
    out = console(sys.stdout, width)
    with out.capture() as capture:
        out.print(renderable, soft_wrap=not cut)
    return capture.get()


def drawn_lines(lines: Iterable[Line], width: int) -> str:
    """Returns lines as text: those with `cut` are cut to the width, the others are left for the terminal to wrap."""
    return drawn(Text("\n").join(_text(each, width) for each in lines), width, cut=False)


def _text(line: Line, width: int) -> Text:
    text = Text(line.text, line.style)
    if line.cut:
        text.truncate(width, overflow="ellipsis")
    return text


def drawn_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> str:
    """Returns a table with one line per row.

    If it is too wide, the widest columns are narrowed first, to no less than six characters; then the last ones are left out. A
    column marked `whole` is neither narrowed nor left out.
    """
    widths = _fitted(columns, rows, width)
    table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style="bold")
    for place, columns_wide in widths.items():
        column = columns[place]
        table.add_column(
            Text(column.heading), justify="right" if column.right else "left", no_wrap=column.whole, width=columns_wide
        )
    for row in rows:
        table.add_row(*(Text(row[place], no_wrap=True, overflow="ellipsis") for place in widths))
    return "".join(f"{each.rstrip()}\n" for each in drawn(table, max(width, _together(widths))).splitlines())


def _fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """The width of each column to show, by its index in `columns`."""
    headings = [each.heading for each in columns]
    widths = {place: max(map(cells_of, cells)) for place, cells in enumerate(zip(headings, *rows, strict=True))}
    least = {place: wide if columns[place].whole else min(wide, LEAST_COLUMNS) for place, wide in widths.items()}
    for place in reversed(range(len(columns))):
        if _together(least) > width and len(least) > 1 and not columns[place].whole:
            del least[place], widths[place]
    while _together(widths) > width and (cuttable := [place for place in widths if widths[place] > least[place]]):
        widths[max(cuttable, key=widths.__getitem__)] -= 1
    return widths


def _together(widths: Mapping[int, int]) -> int:
    """The width of a line with these columns."""
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


class Forest(Tree):
    """Trees without a common root, drawn with guides of three columns."""

    TREE_GUIDES = [("   ", "│  ", "├─ ", "└─ ")] * 3

    def __init__(self) -> None:
        super().__init__("", hide_root=True, guide_style="dim")
