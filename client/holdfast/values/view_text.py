"""Shows a view: on one line of bounded length for `repr`, and as a table for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

LINE_CHARACTERS = 400
VALUE_CHARACTERS = 60
CELL_CHARACTERS = 300
_ITEMS = 3


def one_line(name: str, fields: Iterable[tuple[str, Any]]) -> str:
    """Returns `Task(id='TASK-001', …)`: the fields until the line is full. Control characters are escaped."""
    line = f"{name}("
    for number, (field, value) in enumerate(fields):
        part = f"{', ' if number else ''}{field}={_short(value, VALUE_CHARACTERS)}"
        if len(line) + len(part) > LINE_CHARACTERS:
            return f"{line}, …)"
        line += part
    return f"{line})"


def html_table(name: str, fields: Iterable[tuple[str, Any]]) -> str:
    """Returns one table with a row for each field. All text is escaped."""
    rows = "".join(
        f"<tr><th>{escape(field)}</th><td>{escape(_short(value, CELL_CHARACTERS, quotes=False))}</td></tr>"
        for field, value in fields
    )
    return f"<table><caption>{escape(name)}</caption>{rows}</table>"


def _short(value: Any, most: int, *, quotes: bool = True) -> str:
    """The value as `repr` shows it, which escapes characters that do not print; at most `most` characters of it."""
    if isinstance(value, str):
        shown = repr(value[: most + 1])
        shown = shown if quotes else shown[1:-1]
    elif isinstance(value, list):
        items = [_short(each, most, quotes=quotes) for each in value[:_ITEMS]]
        shown = f"[{', '.join([*items, '…'] if len(value) > _ITEMS else items)}]"
    elif hasattr(value, "isoformat"):
        shown = str(value)
    else:
        shown = repr(value)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
