"""Counters: numbers that are handed out once. They live through every crash because they move inside the transaction."""

from __future__ import annotations

from holdfastd.store.engine import Connection


def take(connection: Connection, workspace: str, name: str, count: int) -> int:
    """Moves the counter on by `count` and returns the last number taken."""
    row = connection.execute(
        "INSERT INTO counter (workspace, name, value) VALUES (?, ?, ?)"
        " ON CONFLICT (workspace, name) DO UPDATE SET value = counter.value + excluded.value RETURNING value",
        (workspace, name, count),
    ).fetchone()
    return int(row[0])


def raise_to(connection: Connection, workspace: str, name: str, value: int) -> None:
    """Moves the counter up to a number that somebody chose on their own, so that it is never handed out."""
    connection.execute(
        "INSERT INTO counter (workspace, name, value) VALUES (?, ?, ?)"
        " ON CONFLICT (workspace, name) DO UPDATE SET value = excluded.value WHERE excluded.value > counter.value",
        (workspace, name, value),
    )
