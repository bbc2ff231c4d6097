"""Reads pages of rows within a byte limit, and the images of records. A damaged row becomes a `DamagedImage`, not an error."""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.contract.kinds import Kind
from holdfastd.store.engine import Connection, Cursor
from holdfastd.store.records import checked_image
from holdfastd.store.sql import quoted

ROWS_AT_ONCE = 32
SMALL_ROW_BYTES = 16 * 2**10


@dataclass(frozen=True, slots=True)
class DamagedImage:
    """A row that could not be read."""

    reason: str


Image = bytes | DamagedImage


def fetch(cursor: Cursor, limit_bytes: int) -> tuple[list[Sequence[Any]], bool]:
    """The rows up to and including the one with which their size exceeds `limit_bytes`, and whether these were all rows.

    An answer cannot hold more, and a full page of the largest records would take a gigabyte of memory. Rows are measured in
    groups, by the length of their `marshal` form: it is little longer than their values, and as fast as a copy.
    """
    taken: list[Sequence[Any]] = []
    size, count = 0, 1
    while some := cursor.fetchmany(count):
        measured = len(marshal.dumps(some))
        size += measured
        if size > limit_bytes:
            return _up_to(taken + some, limit_bytes)
        taken += some
        count = ROWS_AT_ONCE if measured < SMALL_ROW_BYTES * len(some) else 1  # large rows one by one, to bound memory
    return taken, True


def _up_to(rows: list[Sequence[Any]], limit_bytes: int) -> tuple[list[Sequence[Any]], bool]:
    size = 0
    for count, row in enumerate(rows, 1):
        size += sum(len(value) for value in row if isinstance(value, str | bytes))  # len(text) is a lower bound of its UTF-8 size
        if size > limit_bytes:
            return rows[:count], False
    return rows, False


def images(connection: Connection, kind: Kind, workspace: str, ids: Sequence[str]) -> Iterator[tuple[str, Image]]:
    """The ids and images of the records that exist, in no particular order."""
    named = connection.dialect.any_of("id", ids)
    sql = f"SELECT image, checksum, id FROM {quoted(kind.name)} WHERE workspace = ? AND {named.sql}"
    for image, checksum, id in connection.execute(sql, (workspace, *named.parameters)).fetchall():
        yield id, image_of(connection, kind, workspace, id, image, checksum)


def image_of(connection: Connection, kind: Kind, workspace: str, id: str, image: bytes | None, checksum: int | None) -> Image:
    """As `checked_image`, with damage as a value. Call it row by row, because columns may be large."""
    try:
        return checked_image(connection, kind, workspace, id, image, checksum) or DamagedImage("it has gone")
    except ValueError as error:
        return DamagedImage(str(error))
