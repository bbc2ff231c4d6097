"""Looks at a database before it is opened: which store it is, and whether the log beside it was written over it.

Nothing is changed. An ordinary connection would not do: its end copies the log into the file and deletes the log, whatever file
that was written over. So the file alone is read with `immutable=1`, which ignores the log, and the file with its log through a
connection that cannot write. The index of the log is not rebuilt (`readonly_shm`) unless it is missing; then it is removed again.
Call these functions under the lock of the data directory, and before any other connection of this process is open, since closing
a file drops all of a process's locks on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import sqlcipher3.dbapi2 as sqlite

from holdfastd.errors import DataLoss, HoldfastError
from holdfastd.store.sqlite import migrate
from holdfastd.store.sqlite.checkpoint import log_file, log_index_file, size_and_time
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.errors import Error, foreign_errors
from holdfastd.store.sqlite.log_stamp import DAMAGED, Stamp, belongs, fits, read_salts, read_stamp

_ALONE = "mode=ro&immutable=1"
_NO_STAMP = Stamp()


@dataclass(frozen=True, slots=True)
class Inspection:
    """What lies at the database's path. store_id: empty when the file is missing or empty, or no store was begun in it. It is
    read with the log, or from the file alone when the log is foreign.

    readable: False when the file cannot be read. damaged: whether that is because of its content; if not, opening it says why.
    foreign_log: whether the log beside it was written over another file.
    """

    store_id: str = ""
    readable: bool = True
    foreign_log: bool = False
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class _Look:
    """What one connection reads."""

    store_id: str = ""
    stamp: Stamp = _NO_STAMP
    readable: bool = True
    damaged: bool = False


def inspect(database: Path) -> Inspection:
    """Looks at the database and its log."""
    log = log_file(database)
    log_bytes = size_and_time(log)[0]
    if not size_and_time(database)[0]:
        return Inspection(foreign_log=log_bytes > 0)
    alone = _look(_opened(database, _ALONE))
    if not log_bytes:
        return Inspection(alone.store_id, alone.readable, damaged=alone.damaged)
    try:
        is_of_file = fits(database, log)
    except PermissionError:
        return Inspection(readable=False)
    # A log of another file is not read over this one: the mixture may be unreadable, although the file is whole.
    if not is_of_file:
        return Inspection(alone.store_id, alone.readable, foreign_log=True, damaged=alone.damaged)
    return _with_log(alone, _look(reading(database)), read_salts(log))


def _with_log(alone: _Look, whole: _Look, salts: str) -> Inspection:
    """alone: what is read from the file alone. whole: what is read with the log. salts: those of the log."""
    if not whole.readable:
        return Inspection(readable=False, damaged=whole.damaged)
    if not alone.readable:
        return Inspection(whole.store_id)  # a checkpoint was interrupted, so the file can be read only with its log
    if alone.store_id in ("", whole.store_id) and belongs(alone.stamp, whole.stamp, salts):
        return Inspection(whole.store_id)
    return Inspection(alone.store_id, foreign_log=True)


@contextmanager
def reading(database: Path, *, with_log: bool = True) -> Iterator[Connection]:
    """A connection that reads the database, and with `with_log` what is in its log, and changes no file. Opening it, and
    reading, raise SQLite's errors."""
    index = log_index_file(database)
    if not with_log or not size_and_time(log_file(database))[0]:
        with _opened(database, _ALONE) as connection:
            yield connection
    elif index.exists():
        with _opened(database, "mode=ro&readonly_shm=1") as connection:
            yield connection
    else:
        try:
            with _opened(database, "mode=ro") as connection:
                yield connection
        finally:
            index.unlink(missing_ok=True)


def refuse_unknown_schema(database: Path, *, with_log: bool) -> None:
    """Raises SETUP when the file is another program's database, or when a newer version of this one has migrated it."""
    if size_and_time(database)[0]:
        with foreign_errors(), reading(database, with_log=with_log) as connection:
            migrate.pending(connection, migrate.find_migrations())


def named_files(database: Path, *, with_log: bool) -> set[str]:
    """The paths of all blob files that the database names, also of those that wait to be deleted."""
    if not size_and_time(database)[0]:
        return set()
    with foreign_errors(), reading(database, with_log=with_log) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('blob', 'blob_trash')"
        tables = [name for (name,) in connection.execute(query).fetchall()]
        return {path for table in tables for (path,) in connection.execute(f"SELECT path FROM {table}")}


@contextmanager
def _opened(database: Path, how: str) -> Iterator[Connection]:
    with closing(sqlite.connect(f"file:{quote(str(database))}?{how}", uri=True, factory=Connection)) as connection:
        yield connection


def _look(opening: AbstractContextManager[Connection]) -> _Look:
    try:
        with foreign_errors(), opening as connection:
            return _Look(_store_id(connection), _stamp(connection))
    except DataLoss as error:
        return _Look(readable=False, damaged=error.reason == "DATABASE_DAMAGED")
    except (Error, HoldfastError):
        return _Look(readable=False)


def _has_meta(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'").fetchone() is not None


def _store_id(connection: Connection) -> str:
    row = _has_meta(connection) and connection.execute("SELECT value FROM meta WHERE +name = 'store_id'").fetchone()
    return str(row[0]) if row else ""


def _stamp(connection: Connection) -> Stamp:
    """DAMAGED also when the row is missing because its page is torn, as a power cut during a checkpoint leaves it in the file."""
    if not _has_meta(connection):
        return _NO_STAMP
    found = read_stamp(connection)
    if found == _NO_STAMP and connection.execute("PRAGMA integrity_check(meta)").fetchone() != ("ok",):
        return DAMAGED
    return found
