"""Compares two images of a record field by field, and formats the differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from holdfast.cli.fields import block
from holdfast.cli.json_form import json_line
from holdfast.cli.terminal import Line
from holdfast.cli.text import size_text
from holdfast.contract.kinds import Kind

BOOKKEEPING = ("id", "version", "create_time", "update_time")
MAX_DIFFED_LINES = 5_000  # difflib's time grows with the square of it
CONTEXT_LINES = 1
_STYLES = {"+": "green", "-": "red", "…": "cyan"}
_EMPTY: tuple[Any, ...] = (None, "", [], 0)


@dataclass(frozen=True, slots=True, eq=False)
class Omitted:
    """Stands for a value that the audit leaves out; only its size as JSON is known. Equal only to itself."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field's value before and after, as a JSON value or `Omitted`."""

    name: str
    before: Any
    after: Any


def changes_between(kind: Kind, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FieldChange]:
    """Returns the fields that differ, in the order of the contract. An empty mapping stands for a missing image."""
    fields = [each for each in kind.fields if each.name not in BOOKKEEPING]
    found = [(each, before.get(each.name), after.get(each.name)) for each in fields]
    return [FieldChange(field.name, old, new) for field, old, new in found if not _same(old, new)]


def _same(before: Any, after: Any) -> bool:
    """Whether two values are equal. An empty field of a new or deleted record equals a missing one."""
    if before is None or after is None:
        return before in _EMPTY and after in _EMPTY
    return bool(before == after and (type(before) is type(after)))


def lines_of(kind: Kind, change: FieldChange) -> Iterator[Line]:
    """Yields the change for people: `+` an added value, `-` a removed one, `old → new` on one line, several lines as a diff."""
    sides = change.before, change.after
    if any(isinstance(each, Omitted) for each in sides):
        before, after = map(_size, sides)
    else:
        before, after = (block(kind, change.name, each) for each in sides)
    if "\n" in before or "\n" in after:
        yield Line(f"  {change.name}:")
        yield from (Line(f"    {line}", _STYLES.get(line[:1], "")) for line in _diff(before, after))
    elif before and after:
        yield Line(f"  {change.name}: {before} → {after}", "yellow")
    else:
        yield Line(f"{'-' if before else '+'} {change.name}: {before or after}", _STYLES["-" if before else "+"])


def _size(value: Any) -> str:
    if value in _EMPTY:
        return ""
    return size_text(value.size_bytes if isinstance(value, Omitted) else len(json_line(value).encode()))


def _diff(before: str, after: str) -> Iterator[str]:
    old, new = (before.split("\n") if before else []), (after.split("\n") if after else [])
    if len(old) + len(new) > MAX_DIFFED_LINES:
        yield f"{len(old):,} lines → {len(new):,} lines"
        return
    for number, line in enumerate(unified_diff(old, new, n=CONTEXT_LINES, lineterm="")):
        if number >= 2 and not (line.startswith("@@") and number == 2):  # skips the file names and the first hunk's header
            yield "…" if line.startswith("@@") else line
