"""The lines and columns that commands print, and how wide the output and a text are."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

GAP = "  "


class Column(NamedTuple):
    """A heading, whether the cells are aligned right, and whether they are never cut, because a cut id is useless."""

    heading: str
    right: bool = False
    whole: bool = False


class Line(NamedTuple):
    """A line of text without control characters, its rich style, and whether it is cut at the terminal's width."""

    text: str
    style: str = ""
    cut: bool = False


def terminal_columns() -> int | None:
    """Returns the width of the output in columns; None if it goes to a file or a program, for which nothing is cut."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        import shutil

        return shutil.get_terminal_size().columns
    return None


def cells_of(text: str) -> int:
    """Returns the number of terminal columns that the text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
