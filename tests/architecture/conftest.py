"""Fixtures of the architecture tests: the source tree, and a database created by the real migrations."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfastd.store.sqlite.connection import Connection, open_writer
from holdfastd.store.sqlite.migrate import migrate

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
    connection = open_writer(directory / "holdfast.db")
    migrate(connection, directory / "snapshots")
    yield connection
    connection.close()
