"""A database with the newest schema, made once in a test process and copied, because the migrations take a tenth of a second."""

from __future__ import annotations

import functools
import tempfile
from contextlib import closing
from pathlib import Path

from holdfastd.store.sqlite import migrate
from holdfastd.store.sqlite.database import Database


def begin_database(path: Path) -> None:
    """Puts a migrated database at the path unless there is one. Who opens it gives the store its id, as in a new database."""
    if not path.exists() and path.parent.is_dir():
        path.touch(mode=0o600)
        path.write_bytes(_migrated())


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        database = Path(directory) / "holdfast.db"
        with closing(Database(database).open_writer()) as connection:
            migrate.migrate(connection, Path(directory) / "snapshots")
            connection.execute("DELETE FROM meta WHERE name = 'store_id'")
        return database.read_bytes()
