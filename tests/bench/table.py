"""The results as a Markdown table that is also readable in a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

from tests.bench.figures import Absent, Line, Series

HEADINGS = ("work", "Holdfast", "rivals of the same run", "bar", "reached", "")


def markdown(lines: Iterable[Line], machine: Mapping[str, str], rounds: int) -> str:
    """The table and the machine. A line with several figures takes several table rows."""
    rows = [row for line in lines for row in _rows(line)]
    widths = [max(len(cell) for cell in column) for column in zip(HEADINGS, *rows, strict=True)]
    table = [_row(HEADINGS, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    table += [_row(row, widths) for row in rows]
    about = [f"- {name}: {value}" for name, value in machine.items()]
    note = f"Medians of {rounds} rounds (least–most), the sides of a round run one after the other."
    return "\n".join([*table, "", note, "", *about])


def document(lines: Iterable[Line], machine: Mapping[str, str], rounds: int) -> dict[str, Any]:
    """All results of all rounds."""
    return {"machine": dict(machine), "rounds": rounds, "lines": [_line(each) for each in lines]}


def _rows(line: Line) -> list[tuple[str, ...]]:
    first = [line.work], line.figures, line.rivals, [line.bar.text], [line.bar.reached], [line.bar.verdict]
    return [tuple(str(cell) for cell in cells) for cells in zip_longest(*first, fillvalue="")]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _line(line: Line) -> dict[str, Any]:
    return {
        "work": line.work,
        "figures": [_found(each) for each in line.figures],
        "rivals": [_found(each) for each in line.rivals],
        "bar": {**asdict(line.bar), "verdict": line.bar.verdict},
    }


def _found(found: Series | Absent) -> dict[str, Any]:
    return {**asdict(found), "median": found.median} if isinstance(found, Series) else asdict(found)
