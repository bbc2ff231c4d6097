"""Changes one bit of a stored index or table, as a damaged disk does: SQL would change table and indexes alike."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def flip(path: Path, name: str, stored: bytes, at: int, bit: int) -> None:
    """Flips a bit of the byte `at` of these stored bytes, which the root page of the index or table `name` has once.

    The database must be closed, with an empty log.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data = bytearray(path.read_bytes())
    page = data[(root - 1) * size : root * size]
    assert page.count(stored) == 1, f"{page.count(stored)} times in {name}"
    data[(root - 1) * size + page.index(stored) + at] ^= 1 << bit
    path.write_bytes(data)
