"""What a database says: its schema, its rows and SQLite's own check; and which columns differ between two of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

# Columns that verify cannot check, since nothing else in the store says the same. No answer about records, entries or blobs
# follows from them.
UNCHECKED = {
    "workspace.create_time": "when a workspace was made; no call returns it",
    "counter.value": "a counter that is too high leaves out ids; one that is too low is found",
    "schema_migrations.applied_at": "when a migration ran; no call returns it",
    "meta.value": "the store's id and marks; a client that remembers the id detects another one",
}


def logical_content(path: Path) -> Any:
    """Schema, rows by table, and the result of `integrity_check`; a text when SQLite cannot read them."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        connection.text_factory = bytes
        try:
            schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
            tables = {name.decode(): _table(connection, name.decode()) for type, name, _, _ in schema if type == b"table"}
            return schema, tables, connection.execute("PRAGMA integrity_check").fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            return str(error)


def _table(connection: sqlite3.Connection, name: str) -> tuple[list[str], list[Any]]:
    cursor = connection.execute(f'SELECT * FROM "{name}"')
    return [column[0] for column in cursor.description], cursor.fetchall()


def unread(before: Any, after: Any) -> str:
    """Why a flip that verify does not find may be there: it changes nothing, or only columns that nothing else implies."""
    if after == before:
        return "in use, but changes no row"
    if isinstance(after, str) or after[0] != before[0] or after[2] != before[2]:
        return ""
    changed = {each for table in before[1] for each in _changed(table, before[1][table], after[1][table])}
    return f"unchecked column {', '.join(sorted(changed))}" if changed <= UNCHECKED.keys() else ""


def _changed(table: str, before: Any, after: Any) -> set[str]:
    names, rows = before
    if len(rows) != len(after[1]):
        return {f"{table}: rows"}
    pairs = [pair for one, other in zip(rows, after[1], strict=True) for pair in zip(names, one, other, strict=True)]
    return {f"{table}.{name}" for name, one, other in pairs if one != other}


def roots(path: Path) -> list[int]:
    """The root pages of all tables and indexes."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        return [root for (root,) in connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 1")]
