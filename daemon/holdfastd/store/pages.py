"""Pages of records: rows decoded into messages, with what their child tables hold, in a constant number of statements.

A row that cannot be decoded is named and left out; it never fails the page.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from holdfastd.model import codec
from holdfastd.model.kinds import Field, Kind, RecordMessage
from holdfastd.store.connection import Connection, Cursor
from holdfastd.store.dialect import any_of
from holdfastd.store.sql import quoted

ROWS_AT_ONCE = 32
SMALL_ROW_BYTES = 16 * 2**10


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that could not be decoded."""

    id: str
    reason: str


def fetch(cursor: Cursor, limit_bytes: int) -> tuple[list[Sequence[Any]], bool]:
    """The rows up to the one by which their text passes `limit_bytes`, and whether these were all.

    An answer has room for so much, and a page's worth of the largest records would be a gigabyte. Rows are measured some at a
    time, as `marshal` lays them out, which is their text and a little more at the speed of a copy.
    """
    taken: list[Sequence[Any]] = []
    size, count = 0, 1
    while some := cursor.fetchmany(count):
        measured = len(marshal.dumps(some))
        size += measured
        if size > limit_bytes:
            return _up_to(taken + some, limit_bytes)
        taken += some
        count = ROWS_AT_ONCE if measured < SMALL_ROW_BYTES * len(some) else 1  # large ones come singly, or they fill the memory
    return taken, True


def _up_to(rows: list[Sequence[Any]], limit_bytes: int) -> tuple[list[Sequence[Any]], bool]:
    size = 0
    for count, row in enumerate(rows, 1):
        size += sum(len(value) for value in row if isinstance(value, str | bytes))  # of a text at most its bytes
        if size > limit_bytes:
            return rows[:count], False
    return rows, False


@cache
def _many_sql(kind: Kind) -> str:
    columns = ", ".join(quoted(each.name) for each in kind.columns)
    return f"SELECT {columns} FROM {quoted(kind.name)} WHERE workspace = ? AND id {any_of('?')}"


@cache
def _children_sql(kind: Kind, field: Field) -> str:
    table = quoted(f"{kind.name}_{field.name}")
    columns = ", ".join(quoted(name) for name in codec.child_columns(field))
    return f"SELECT id, {columns} FROM {table} WHERE workspace = ? AND id {any_of('?')} ORDER BY id, ordinal"


def load_many(connection: Connection, kind: Kind, workspace: str, ids: Sequence[str]) -> list[RecordMessage | Damaged]:
    """The records with these ids that exist, in no order."""
    rows = connection.execute(_many_sql(kind), (workspace, json.dumps(ids))).fetchall()
    return decode(connection, kind, workspace, rows)


def decode(connection: Connection, kind: Kind, workspace: str, rows: Iterable[Sequence[Any]]) -> list[RecordMessage | Damaged]:
    """The messages of rows that hold `kind.columns`, in the rows' order, whole with their repeated fields."""
    records = [_decode_row(kind, row) for row in rows]
    by_id = {each.id: each for each in records if not isinstance(each, Damaged)}
    if by_id:
        for field in kind.children:
            children = connection.execute(_children_sql(kind, field), (workspace, json.dumps(list(by_id))))
            for id, *row in children:
                codec.add_child(field, by_id[id], row)
    return records


def _decode_row(kind: Kind, row: Sequence[Any]) -> RecordMessage | Damaged:
    try:
        message: RecordMessage = codec.from_row(kind, row)
    except (TypeError, ValueError) as error:
        return Damaged(str(row[0]), str(error))
    return message
