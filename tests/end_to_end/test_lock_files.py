"""`daemon.json` and the socket's lock file hold anything, or are no files: the daemon serves, or says what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.daemons import Directory, is_reachable

pytestmark = pytest.mark.slow  # processes of its own

CONTENTS = {
    "not JSON": b"\0\xff" * 3000,
    "deep": b"[" * 60_000,
    "megabytes": b'{"clean": true, "pid": "' + b"x" * 20_000_000 + b'"}',
    "other types": b'{"clean": "true", "pid": [1], "socket": {"a": 1}, "data_dir": 7}',
}
NO_FILES: dict[str, Callable[[Path], object]] = {
    "a directory": lambda path: path.mkdir(),
    "a symbolic link": lambda path: path.symlink_to(path.with_name("elsewhere")),
    "a FIFO": lambda path: os.mkfifo(path),
}
PLACES = ["store/daemon.json", "run/s.sock.lock"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("content", CONTENTS)
def test_any_content_is_replaced(directory: Directory, place: str, content: str) -> None:
    assert directory.serve().end() == 0
    (directory.path / place).write_bytes(CONTENTS[content])
    daemon = directory.serve()
    assert is_reachable(daemon.socket)
    assert daemon.card()["pid"] == daemon.process.pid
    assert ("last_stop_was_unclean" in daemon.log()) is (place == "store/daemon.json")
    assert "level=error" not in daemon.log()
    assert daemon.end() == 0
    assert (directory.path / place).stat().st_size == 4096


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_regular_file_is_named_with_what_to_do(directory: Directory, place: str, kind: str) -> None:
    path = directory.path / place
    path.parent.mkdir(mode=0o700)
    NO_FILES[kind](path)
    log = directory.refused()
    assert f"The lock file {path} is {kind}" in log
    assert "Remove it; the daemon makes the file anew." in log
    assert "Traceback" not in log
    assert not path.with_name("elsewhere").exists()
