"""A connection to SQLite: the driver's class, with the methods that `store/engine.py` adds.

`execute` is the driver's C method, without a Python wrapper. Only `Database` opens connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import sqlcipher3.dbapi2 as sqlite

from holdfastd.store.sqlite.dialect import SQLITE

if TYPE_CHECKING:
    from holdfastd.store.sqlite.database import Database

ROWS_A_STATEMENT = 64
_NOTHING_TO_WAIT_FOR = nullcontext()


class Connection(sqlite.Connection):
    """Implements `engine.Connection`."""

    engine: Database
    dialect = SQLITE

    def insert_rows(self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
        """Inserts many rows with each statement: a statement releases the GIL, and under load it waits longer to get it back
        than it runs. A table has few different statement texts, so each is prepared once."""
        start = 0
        while left := len(rows) - start:
            count = ROWS_A_STATEMENT if left >= ROWS_A_STATEMENT else min(left, ROWS_A_STATEMENT // 2)
            some = rows[start : start + count]
            self.execute(_insert_sql(table, columns, count), tuple(chain.from_iterable(some)))
            start += count

    def together(self) -> AbstractContextManager[Any]:
        """Does nothing: SQLite runs in this process, so there is no round trip to save."""
        return _NOTHING_TO_WAIT_FOR


@cache
def _insert_sql(table: str, columns: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"
