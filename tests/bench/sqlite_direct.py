"""Processes that share one SQLite file without a server: Python's sqlite3, WAL, synchronous=FULL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.bench.crew import Job, repeat
from tests.bench.entries import CONTENT, ROLE
from tests.bench.plan import Workplace
from tests.bench.rival import BATCH, Rival

BUSY_TIMEOUT_S = 60.0
_TABLE = (
    "CREATE TABLE entry (session TEXT NOT NULL, number INTEGER NOT NULL, create_time INTEGER NOT NULL,"
    " role TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (session, number))"
)
_INSERT = "INSERT INTO entry VALUES (?, ?, ?, ?, ?)"


@contextmanager
def open_rival(place: Workplace) -> Iterator[Rival]:
    """An empty file."""
    path = place.data / "direct.db"
    connection = connect(path)
    connection.execute(_TABLE)
    connection.close()
    yield Rival("SQLite directly", prepare, (path,), "database is locked")


def connect(path: Path) -> sqlite3.Connection:
    """A connection with durable commits and a busy timeout."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def prepare(index: int, path: Path) -> Mapping[str, Job]:
    """One process with its own connection and session."""
    connection, numbers = connect(path), count(1)
    return {
        "one": lambda seconds: repeat(_inserts(connection, index, numbers, 1), seconds),
        "hundred": lambda seconds: repeat(_inserts(connection, index, numbers, BATCH), seconds),
    }


def _inserts(connection: sqlite3.Connection, index: int, numbers: count[int], size: int) -> Callable[[], int]:
    """Inserts `size` entries per transaction. Returns 0 when the database stayed locked for longer than the timeout."""

    def insert() -> int:
        rows = [(f"session-{index}", next(numbers), time.time_ns(), ROLE, CONTENT) for _ in range(size)]
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, rows)
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return 0
        return size

    return insert
