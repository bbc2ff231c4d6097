"""Daemons and clients of landed versions, that is of earlier commits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DaemonProcess
from tests.landed.trees import BEFORE_SCAN, LANDED, Tree, extract


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The latest landed version."""
    return extract(LANDED, tmp_path_factory.mktemp("landed"))


@pytest.fixture(scope="session")
def before_scan(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The last version without Scan."""
    return extract(BEFORE_SCAN, tmp_path_factory.mktemp("before-scan"))


@pytest.fixture
def old_daemon() -> Iterator[DaemonProcess]:
    """A daemon that is not started yet. `environment` chooses its version and may change between two starts."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        daemon = DaemonProcess(Path(directory), "--data-dir", f"{directory}/data", "--inline-max-bytes", "1024")
        yield daemon
        daemon.stop()
