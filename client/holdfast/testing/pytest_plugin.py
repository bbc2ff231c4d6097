"""Fixtures for pytest. Ask for them in the top `conftest.py`: `pytest_plugins = ["holdfast.testing.pytest_plugin"]`.

It is no entry point, because then every run of pytest in an environment with Holdfast would load it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast import testing


@pytest.fixture
def holdfast_store() -> Iterator[holdfast.Store]:
    """A store in memory with a daemon of its own, for one test. Starting it takes about half a second."""
    with testing.store() as store:
        yield store


@pytest.fixture(scope="session")
def holdfast_daemon() -> Iterator[Path]:
    """The socket of a daemon with a store in memory, for all tests of the run."""
    with testing.daemon() as socket_path:
        yield socket_path


@pytest.fixture
def holdfast_workspace(holdfast_daemon: Path) -> Iterator[holdfast.Store]:
    """A new workspace in the store that the tests of the run share: faster than `holdfast_store`; only blobs are shared."""
    with holdfast.connect(holdfast_daemon, workspace=f"test-{uuid.uuid4().hex}") as store:
        yield store
