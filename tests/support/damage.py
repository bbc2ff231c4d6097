"""Damages records of a store whose daemon has ended."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def damaged_rows(data_dir: Path, *tables: str) -> None:
    """Damages the images of all records of these tables; `task WHERE id = 'T-1'` of one."""
    with closing(sqlite3.connect(data_dir / "holdfast.db")) as connection:
        for each in tables:
            table, where, condition = each.partition(" WHERE ")
            assert connection.execute(f"UPDATE {table} SET image = x'07'{where}{condition}").rowcount > 0
        connection.commit()
