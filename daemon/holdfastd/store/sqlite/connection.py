"""A connection to SQLite: the driver's own, with what `store/engine.py` asks for besides.

`execute` is the driver's C method. Only `Database` makes connections.
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
        """Adds the rows, many a statement: each statement gives up the GIL, and under load waits longer for it than it runs.

        The texts of a table are few, so each is prepared once.
        """
        start = 0
        while left := len(rows) - start:
            count = ROWS_A_STATEMENT if left >= ROWS_A_STATEMENT else min(left, ROWS_A_STATEMENT // 2)
            some = rows[start : start + count]
            self.execute(_insert_sql(table, columns, count), tuple(chain.from_iterable(some)))
            start += count

    def together(self) -> AbstractContextManager[Any]:
        """SQLite answers in this process, so there is nothing to send ahead."""
        return _NOTHING_TO_WAIT_FOR


@cache
def _insert_sql(table: str, columns: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"
