"""Many rows in few statements.

Each statement gives up the GIL and has to get it back, which under load costs more than the row: so rows go in together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from holdfastd.store.sqlite.connection import Connection

ROWS_A_STATEMENT = 64


@cache
def _values(width: int, rows: int) -> str:
    row = f"({', '.join('?' * width)})"
    return ", ".join([row] * rows)


def insert_rows(connection: Connection, head: str, rows: Sequence[Sequence[Any]]) -> None:
    """Adds the rows; `head` is `INSERT INTO table (columns)`. The texts are few, so each is prepared once."""
    start = 0
    while left := len(rows) - start:
        count = ROWS_A_STATEMENT if left >= ROWS_A_STATEMENT else min(left, ROWS_A_STATEMENT // 2)
        some = rows[start : start + count]
        sql = f"{head} VALUES {_values(len(some[0]), count)}"
        connection.execute(sql, tuple(chain.from_iterable(some)))
        start += count
