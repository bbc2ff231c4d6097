"""Giving the space of deleted rows back to the file system, a bounded piece in each writer's turn."""

from __future__ import annotations

from holdfastd.model.commands import FreePages
from holdfastd.store.engine import Connection


def free_pages(connection: Connection, command: FreePages, now_ns: int) -> int:
    """Gives up to `limit` pages back; returns how many are still empty."""
    return connection.engine.free_pages(connection, command.limit)
