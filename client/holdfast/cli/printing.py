"""Prints lines and tables on stdout: drawn by rich on a terminal, plain for a file or a program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice

from holdfast.cli.terminal import GAP, Column, Line, cells_of, terminal_columns

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

    For a file or a program it prints one heading, and the first 200 rows determine the widths of the columns.
    """
    width = terminal_columns()
    rest = iter(rows)
    page = list(islice(rest, PAGE_ROWS))
    if width is None:
        _write_plain(columns, page, rest)
        return
    from holdfast.cli.drawing import drawn_table

    print(drawn_table(columns, page, width), end="")
    while page := list(islice(rest, PAGE_ROWS)):
        print(drawn_table(columns, page, width), end="")


def _write_plain(columns: Sequence[Column], page: Sequence[Sequence[str]], rest: Iterable[Sequence[str]]) -> None:
    headings = [each.heading for each in columns]
    widths = [max(map(cells_of, column)) for column in zip(headings, *page, strict=True)]
    for row in chain([headings], page, rest):
        print(GAP.join(map(_padded, columns, row, widths)).rstrip())


def _padded(column: Column, cell: str, width: int) -> str:
    padding = " " * (width - cells_of(cell))
    return padding + cell if column.right else cell + padding
