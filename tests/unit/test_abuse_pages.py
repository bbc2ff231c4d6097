"""The damage part of the abuse tier calls a byte free only if no row depends on it."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.abuse.pages import Pages
from tests.abuse.rows import logical_content, roots


def fill(path: Path) -> None:
    """Tables and indexes of several levels, long rows, free pages and gaps within pages."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL, c BLOB)")
        connection.execute("CREATE INDEX t_by_b ON t (b, c)")
        rows = [(number, f"text {number}" * (number % 40), bytes([number % 251]) * (number % 9 * 700)) for number in range(600)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        connection.execute("DELETE FROM t WHERE a % 3 = 0 OR a BETWEEN 200 AND 300")


def test_no_row_depends_on_a_byte_that_is_called_free(tmp_path: Path) -> None:
    path = tmp_path / "db"
    fill(path)
    data, content, rng = path.read_bytes(), logical_content(path), random.Random(1)
    pages = Pages(data, roots(path))
    free = [at for at in range(len(data)) if pages.place_of(at) == "free space"]
    assert 0.1 < len(free) / len(data) < 0.7
    for at in rng.sample(free, 150):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        assert logical_content(path) == content, at
