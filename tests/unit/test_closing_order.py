"""The order in which the daemon closes its parts. The data directory's lock is last: its files are in use until then."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from holdfastd.daemon import Daemon
from holdfastd.jobs.scheduler import Scheduler
from holdfastd.locks import DataDirLock, SocketLock
from holdfastd.rpc.listener import Listener
from holdfastd.settings import load_settings
from holdfastd.store.sqlite.checkpoint import LogCheckpointer
from holdfastd.store.sqlite.readers import Readers


def test_the_lock_of_the_data_directory_is_released_last(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    def noted(owner: Any, name: str, what: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def note(*args: Any, **keywords: Any) -> Any:
            closed.append(what)
            return real(*args, **keywords)

        monkeypatch.setattr(owner, name, note)

    for owner, name, what in (
        (Listener, "unlink", "socket"),
        (Scheduler, "stop", "jobs"),
        (Readers, "close", "readers"),
        (LogCheckpointer, "close", "checkpointer"),
        (SocketLock, "release", "socket's lock"),
        (DataDirLock, "release", "data directory's lock"),
    ):
        noted(owner, name, what)
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        opened = Daemon(load_settings({"data_dir": f"{directory}/data", "socket": f"{directory}/run/s.sock"}, {}))
        opened.open()
        closed.clear()
        opened.close()
    assert closed == ["socket", "jobs", "readers", "checkpointer", "socket's lock", "data directory's lock"]
