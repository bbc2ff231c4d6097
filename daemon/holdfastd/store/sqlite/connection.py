"""A connection to SQLite: the driver's class, with the methods that `store/engine.py` adds.

`execute` is the driver's C method, without a Python wrapper. Only `Database` opens connections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlcipher3.dbapi2 as sqlite

from holdfastd.store.sqlite.dialect import SQLITE

if TYPE_CHECKING:
    from holdfastd.store.sqlite.database import Database

ROWS_A_STATEMENT = 64
LARGE_BYTES = 4096
Take = Callable[[Sequence[Any]], tuple[Any, ...]]
_NOTHING_TO_WAIT_FOR = nullcontext()


class Connection(sqlite.Connection):
    """Implements `engine.Connection`."""

    engine: Database
    dialect = SQLITE

    def insert_rows(self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
        """Inserts many rows with each statement: a statement releases the GIL, and under load it waits longer to get it back
        than it runs. A table has few different statement texts, so each is prepared once."""
        if not rows:
            return
        if None in rows[0]:
            columns, rows = _without_nulls(columns, rows)
        binary = [place for place, value in enumerate(rows[0]) if value.__class__ is bytes]
        start = 0
        while left := len(rows) - start:
            count = ROWS_A_STATEMENT if left >= ROWS_A_STATEMENT else min(left, ROWS_A_STATEMENT // 2)
            values = list(chain.from_iterable(rows[start : start + count]))
            for place in binary:
                values[place :: len(columns)] = map(_quick, values[place :: len(columns)])
            self.execute(_insert_sql(table, columns, count), values)
            start += count

    def together(self) -> AbstractContextManager[Any]:
        """Does nothing: SQLite runs in this process, so there is no round trip to save."""
        return _NOTHING_TO_WAIT_FOR


@cache
def _insert_sql(table: str, columns: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"


def _without_nulls(columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> tuple[tuple[str, ...], Sequence[Sequence[Any]]]:
    """Leaves out the columns that are None in all rows. For each None the driver looks for an adapter, which takes 0.9 us."""
    empty = tuple([place for place, value in enumerate(rows[0]) if value is None])
    if len(rows) > 1:
        empty = tuple([place for place in empty if all(row[place] is None for row in rows)])
    if not empty:
        return columns, rows
    names, take = _others(columns, empty)
    return names, [take(row) for row in rows]


@cache
def _others(columns: tuple[str, ...], empty: tuple[int, ...]) -> tuple[tuple[str, ...], Take]:
    """The columns that are not empty, and the function that takes their values out of a row."""
    kept = itemgetter(*[place for place in range(len(columns)) if place not in empty])
    return kept(columns), kept


def _quick(value: Any) -> Any:
    """Bytes as a `bytearray`, for which the driver does not look for an adapter. Large bytes would take longer to copy."""
    return bytearray(value) if value.__class__ is bytes and len(value) < LARGE_BYTES else value
