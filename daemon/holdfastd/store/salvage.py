"""Reads the rows of a table around those that the engine cannot read. The checks of verify use it after a scan has failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from holdfastd.errors import DataLoss
from holdfastd.store.engine import Connection

ROWS_AT_ONCE = 8  # an entry may have almost 2 MiB

Row = Sequence[Any]
Read = Callable[[int, int], list[Row]]  # the rows with a number from the first to the last


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Consecutive numbers whose rows cannot be read."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


def rows(connection: Connection, numbers: Sequence[int], read: Read) -> Iterator[Row | Unreadable]:
    """The rows of these ascending numbers in order, and in place of those that are on damaged pages their numbers."""
    found = _read(connection, list(numbers), read)
    for is_row, group in groupby(found, key=lambda each: not isinstance(each, Unreadable)):
        each = list(group)
        if is_row:
            yield from each
        else:
            yield Unreadable(each[0].first, each[-1].last)


def _read(connection: Connection, numbers: list[int], read: Read) -> Iterator[Any]:
    """Halves each range that cannot be read, down to single numbers."""
    ranges = [numbers[start : start + ROWS_AT_ONCE] for start in range(0, len(numbers), ROWS_AT_ONCE)][::-1]
    while ranges:
        some = ranges.pop()
        found = attempt(connection, lambda some=some: read(some[0], some[-1]))  # type: ignore[misc]
        if found is not None:
            yield from found
        elif len(some) == 1:
            yield Unreadable(some[0], some[0])
        else:
            half = len(some) // 2
            ranges += [some[half:], some[:half]]


def attempt(connection: Connection, read: Callable[[], list[Row]]) -> list[Row] | None:
    """What `read` returns; None when damage prevents it. Other errors pass."""
    try:
        return read()
    except connection.Error as error:
        if not isinstance(connection.engine.translate(error), DataLoss):
            raise
        return None
