"""A store for tests: in memory, with a daemon of its own, gone at the end of the block.

    with holdfast.testing.store() as store:
        task = store.tasks.create(title="t")

For pytest, put `pytest_plugins = ["holdfast.testing.pytest_plugin"]` into the top `conftest.py`; the fixture `holdfast_store` is
such a store. Nothing is imported before a store is made, because the daemon's process imports this package too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.store import Store


@contextmanager
def daemon() -> Iterator[Path]:
    """Starts a daemon with a store in memory and yields its socket, for tests with several clients or workspaces.

    The daemon ends with the block, and also when this process ends in whatever way. Raises StartFailed, also if the daemon is not
    installed.
    """
    from holdfast.testing.process import DaemonProcess

    process = DaemonProcess()
    try:
        yield process.await_socket()
    finally:
        process.end()


@contextmanager
def store(*, workspace: str = "default", actor: str | None = None, timeout_s: float = 30.0) -> Iterator[Store]:
    """Yields a client of a new store in memory, which has its own daemon and is gone at the end of the block; see `daemon`."""
    from holdfast.store import connect

    with daemon() as socket_path, connect(socket_path, workspace=workspace, actor=actor, timeout_s=timeout_s) as client:
        yield client
