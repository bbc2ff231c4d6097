"""The table `meta`: the store's values by name. This reads and writes all of them but the log's stamp, which only SQLite has.

A damaged value is DATA_LOSS; the callers decide whether they can do without it. `check` finds every damaged value for verify.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from holdfastd.errors import DataLoss
from holdfastd.store.engine import Connection

STORE_ID = "store_id"
OLDEST = "oldest_revision"  # that a watch may resume after
SET_BACK = "clock_set_back"  # the first revision of each era but the first one, in order
CHECKSUMS = "checksums"  # "complete" after every row has its checksum
LOG_STAMP = "log_stamp"  # see `store/sqlite/log_stamp.py`
NAMES = frozenset((STORE_ID, OLDEST, SET_BACK, CHECKSUMS, LOG_STAMP))
COMPLETE = "complete"

CLEAR = "DELETE FROM meta WHERE name = ?"


def read(connection: Connection, name: str) -> str:
    """The value of a name; empty when it has none. DATA_LOSS (META_DAMAGED) when it is no text."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    except connection.Error as error:
        raise connection.engine.translate(error) or error from error
    if row is not None and not isinstance(row[0], str):
        raise damaged(name, row[0])
    return row[0] if row else ""


def write(connection: Connection, name: str, value: str) -> None:
    """Sets the value of a name."""
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def clear(connection: Connection, name: str) -> None:
    """Removes the value of a name."""
    connection.execute(CLEAR, (name,))


def revision(connection: Connection, name: str, newest: int) -> int:
    """The value of a name as a revision from 0 to `newest`; 0 when it has none. DATA_LOSS (META_DAMAGED) when it is none."""
    value = read(connection, name)
    found = revisions_in(value, newest)
    if value and len(found) != 1:
        raise damaged(name, value)
    return found[0] if value else 0


def revisions_in(value: str, newest: int) -> list[int]:
    """The ascending revisions in a value; an empty list when it has anything else."""
    parts = value.split(" ")
    if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        return []
    found = [int(part) for part in parts]
    ascending = all(one < other for one, other in pairwise(found))
    return found if ascending and found[-1] <= newest else []


def damaged(name: str, value: Any) -> DataLoss:
    """The error for a value that cannot be one of this name."""
    message = f"The value {value!r:.60} of {name} in the table meta is damaged. Run verify, and restore a backup."
    return DataLoss(message, reason="META_DAMAGED", name=name)


def check(connection: Connection, store_id: str, newest: int) -> Iterator[tuple[str, str]]:
    """The name and the fault of each damaged row of the table."""
    found = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    for name, value in found.items():
        if name not in NAMES:
            yield str(name), "no value has this name"
        elif not isinstance(value, str) or not _is_valid(name, value, newest):
            yield name, f"its value {value!r:.60} is damaged"
    if found.get(STORE_ID, store_id) != store_id:
        yield STORE_ID, f"it is not {store_id}, the id of this store"


def _is_valid(name: str, value: str, newest: int) -> bool:
    if name == STORE_ID:
        return _is_uuid(value)
    if name == CHECKSUMS:
        return value == COMPLETE
    if name in (OLDEST, SET_BACK):
        found = revisions_in(value, newest)
        return bool(found) and (name == SET_BACK or len(found) == 1)
    return True


def _is_uuid(value: str) -> bool:
    try:
        return str(uuid.UUID(value)) == value
    except ValueError:
        return False
