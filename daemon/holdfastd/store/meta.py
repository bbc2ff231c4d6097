"""Facts about the store itself, by name."""

from __future__ import annotations

from holdfastd.store.engine import Connection


def get(connection: Connection, name: str) -> str | None:
    """The fact of that name, or None."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def put(connection: Connection, name: str, value: str) -> None:
    """Sets the fact."""
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )
