"""What the architecture tests look at: the source tree, and a database that the real migrations have made."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import migrate

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
