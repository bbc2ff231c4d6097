"""Workspaces in SQL: which there are. They are made by the first write, in `store/commits.py`."""

from __future__ import annotations

from holdfastd.store.engine import Connection


def exists(connection: Connection, name: str) -> bool:
    """Whether anything was ever written to the workspace."""
    return connection.execute("SELECT 1 FROM workspace WHERE name = ?", (name,)).fetchone() is not None


def names(connection: Connection) -> list[str]:
    """Every workspace, by name."""
    return [name for (name,) in connection.execute("SELECT name FROM workspace ORDER BY name")]
