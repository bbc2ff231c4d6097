"""Fixtures of the registry tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import DaemonProcess
from tests.registry.world import World
from tests.support.api import Api


@pytest.fixture
def world(daemon: DaemonProcess) -> Iterator[World]:
    """A world in a new workspace of the shared daemon."""
    with Api(daemon.socket_path) as api:
        yield World(api)
