"""Prints lines and tables on stdout: drawn by rich on a terminal, plain for a file or a program (tables with tabs)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice

from holdfast.cli.terminal import Column, Line, terminal_columns

PAGE_ROWS = 200


def write_lines(lines: Iterable[Line], *, flush: bool = False) -> None:
    """Prints lines."""
    width = terminal_columns()
    if width is None:
        text = "".join(f"{each.text}\n" for each in lines)
    else:
        from holdfast.cli.drawing import drawn_lines

        text = drawn_lines(lines, width)
    print(text, end="", flush=flush)


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows as they arrive, in constant memory: on a terminal in tables of 200 rows, each with a heading.

    For a file or a program it prints one heading, nothing is cut, and a tab separates the cells, which hold none.
    """
    width = terminal_columns()
    rest = iter(rows)
    page = list(islice(rest, PAGE_ROWS))  # before the heading: nothing is printed when the rows cannot be read
    if width is None:
        for row in chain([[each.heading for each in columns]], page, rest):
            print("\t".join(row))
        return
    from holdfast.cli.drawing import drawn_table

    print(drawn_table(columns, page, width), end="")
    while page := list(islice(rest, PAGE_ROWS)):
        print(drawn_table(columns, page, width), end="")
