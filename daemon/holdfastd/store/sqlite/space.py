"""Giving back the space of what was deleted. It only works on a database that was made with auto_vacuum=INCREMENTAL."""

from __future__ import annotations

from holdfastd.model.commands import FreePages
from holdfastd.store.engine import Connection


def free_pages(connection: Connection, command: FreePages, now_ns: int) -> int:
    """Shortens the file by up to `limit` pages; returns how many pages hold nothing now."""
    connection.execute(f"PRAGMA incremental_vacuum({command.limit:d})").fetchall()
    return empty_pages(connection)


def empty_pages(connection: Connection) -> int:
    """How many pages hold nothing."""
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])
