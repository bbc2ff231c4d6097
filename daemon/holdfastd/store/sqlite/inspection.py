"""Looks at a database before it is opened: which store it is, and whether the log beside it was written over it.

The file alone is read as SQLite's manual describes it for `immutable=1`: without its log. Nothing is changed. Call it before any
other connection of this process is open, since closing a file drops all of a process's locks on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import sqlcipher3.dbapi2 as sqlite

from holdfastd.store.sqlite.checkpoint import log_file
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.errors import Error
from holdfastd.store.sqlite.log_stamp import Stamp, belongs, fits, read_salts, read_stamp

# The driver raises UnicodeDecodeError for a damaged name of a table or column.
_UNREADABLE = (Error, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What lies at the database's path. store_id: empty when the file is missing or empty, or no store was begun in it. It is
    read with the log, or from the file alone when the log is foreign.

    readable: False when the file cannot be read as a database; opening it says why. foreign_log: whether the log beside it was
    written over another file.
    """

    store_id: str = ""
    readable: bool = True
    foreign_log: bool = False


def inspect(database: Path) -> Inspection:
    """Looks at the database and its log."""
    log = log_file(database)
    log_bytes = log.stat().st_size if log.exists() else 0
    if not database.exists() or database.stat().st_size == 0:
        return Inspection(foreign_log=log_bytes > 0)
    try:
        with _opened(database, "mode=ro&vfs=unix-excl") as connection:
            id, stamp = _store_id(connection), _stamp(connection)
    except _UNREADABLE:
        return Inspection(readable=False)
    return _with_log(database, log, id, stamp) if log_bytes else Inspection(id)


def _with_log(database: Path, log: Path, id: str, stamp: Stamp) -> Inspection:
    """`id` and `stamp` were read with the log."""
    try:
        with _opened(database, "mode=ro&immutable=1") as alone:
            id_alone, stamp_alone = _store_id(alone), _stamp(alone)
    except _UNREADABLE:
        return Inspection(id)  # a checkpoint was interrupted, so the file can be read only with its log
    if id_alone in ("", id) and belongs(stamp_alone, stamp, read_salts(log)) and fits(database, log):
        return Inspection(id)
    return Inspection(id_alone, foreign_log=True)


@contextmanager
def _opened(database: Path, how: str) -> Iterator[Connection]:
    with closing(sqlite.connect(f"file:{quote(str(database))}?{how}", uri=True, factory=Connection)) as connection:
        yield connection


def _has_meta(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'").fetchone() is not None


def _store_id(connection: Connection) -> str:
    row = _has_meta(connection) and connection.execute("SELECT value FROM meta WHERE +name = 'store_id'").fetchone()
    return str(row[0]) if row else ""


def _stamp(connection: Connection) -> Stamp:
    return read_stamp(connection) if _has_meta(connection) else Stamp()
