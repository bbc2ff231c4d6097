"""What rich draws. Imported only when something is drawn, for rich takes as long to import as a short command to run.

Text from the store comes here made harmless (`text.visible`) and as `rich.text.Text`, never as markup, so that `[red]` in a
title is four letters in brackets. Drawings become strings that the caller prints, so that a closed pipe is noticed in one place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console, ConsoleRenderable
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from holdfast.cli.terminal import GAP, Column, Line, cells_of

UNLIMITED = 1 << 31
LEAST_COLUMNS = 6  # rich counts the gap with a column and the last has none, so a cell may get two less


def console(file: TextIO, width: int | None = None) -> Console:
    """Draws on a file or a terminal, in colours where it is a terminal and NO_COLOR is not set."""
    coloured = file.isatty() and not os.environ.get("NO_COLOR")
    return Console(file=file, width=width, color_system="auto" if coloured else None, highlight=False, markup=False, emoji=False)


def drawn(renderable: ConsoleRenderable, width: int, *, cut: bool = True) -> str:
    """The renderable as it is printed on stdout."""
    out = console(sys.stdout, width)
    with out.capture() as capture:
        out.print(renderable, soft_wrap=not cut)
    return capture.get()


def drawn_lines(lines: Iterable[Line], width: int) -> str:
    """Lines, cut where they say so; a terminal wraps the others."""
    return drawn(Text("\n").join(_text(each, width) for each in lines), width, cut=False)


def _text(line: Line, width: int) -> Text:
    text = Text(line.text, line.style)
    if line.cut:
        text.truncate(width, overflow="ellipsis")
    return text


def drawn_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> str:
    """Rows of a line each. The widest columns give way first, none below four; then the last ones are left out."""
    shown, least = _fitting(columns, rows, width)
    table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style="bold")
    for each in shown:
        table.add_column(
            Text(columns[each].heading), justify="right" if columns[each].right else "left", no_wrap=columns[each].whole
        )
    for row in rows:
        table.add_row(*(Text(row[each], no_wrap=True, overflow="ellipsis") for each in shown))
    return "".join(f"{each.rstrip()}\n" for each in drawn(table, max(width, least)).splitlines())


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> tuple[list[int], int]:
    """The places of the columns that fit when they are as narrow as they may be, and how wide they are then, together."""
    least = {
        place: max(map(cells_of, cells)) if column.whole else min(max(map(cells_of, cells)), LEAST_COLUMNS)
        for place, (column, *cells) in enumerate(zip(columns, [each.heading for each in columns], *rows, strict=True))
    }
    for place in reversed(range(len(columns))):
        if sum(least.values()) + len(GAP) * (len(least) - 1) > width and len(least) > 1 and not columns[place].whole:
            del least[place]
    return list(least), sum(least.values()) + len(GAP) * (len(least) - 1)


class Forest(Tree):
    """Trees without a common root, drawn with guides of three columns."""

    TREE_GUIDES = [("   ", "│  ", "├─ ", "└─ ")] * 3

    def __init__(self) -> None:
        super().__init__("", hide_root=True, guide_style="dim")
