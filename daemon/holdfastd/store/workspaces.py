"""Workspaces and their counters in SQL. The first write to a workspace inserts its row, in `store/ledger.py`.

A counter gives each number once, also after a crash, because it is raised in the transaction that uses the number.
"""

from __future__ import annotations

from holdfastd.store.engine import Connection


def exists(connection: Connection, name: str) -> bool:
    """Whether anything was ever written to the workspace. A damaged index or row may hide it, so the history is asked, too."""
    questions = ("SELECT 1 FROM workspace WHERE name = ?", "SELECT 1 FROM changes WHERE workspace = ? LIMIT 1")
    return any(connection.execute(each, (name,)).fetchone() is not None for each in questions)


def names(connection: Connection, after: str, limit: int) -> list[str]:
    """The next names after this one, sorted."""
    rows = connection.execute("SELECT name FROM workspace WHERE name > ? ORDER BY name LIMIT ?", (after, limit))
    return [name for (name,) in rows]


def count(connection: Connection) -> int:
    """How many workspaces there are."""
    return int(connection.execute("SELECT count(*) FROM workspace").fetchone()[0])


def take_numbers(connection: Connection, workspace: str, counter: str, count: int) -> int:
    """Raises the counter by `count`. Returns the last number taken."""
    row = connection.execute(
        "INSERT INTO counter (workspace, name, value) VALUES (?, ?, ?)"
        " ON CONFLICT (workspace, name) DO UPDATE SET value = counter.value + excluded.value RETURNING value",
        (workspace, counter, count),
    ).fetchone()
    return int(row[0])


def raise_counter(connection: Connection, workspace: str, counter: str, value: int) -> None:
    """Raises the counter to a number that a caller chose, if it is lower, so that the number is not given again."""
    connection.execute(
        "INSERT INTO counter (workspace, name, value) VALUES (?, ?, ?)"
        " ON CONFLICT (workspace, name) DO UPDATE SET value = excluded.value WHERE excluded.value > counter.value",
        (workspace, counter, value),
    )
