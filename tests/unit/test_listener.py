"""The public socket: a file at its path that is not a socket must not be replaced."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from holdfastd.errors import SetupError
from holdfastd.rpc.listener import Listener


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(tmp_path / "s", lambda: grpc.server(ThreadPoolExecutor(1)))
    yield listener
    listener.stop(0.0, lambda: None, lambda: 0)


def lay(path: Path, what: str) -> None:
    if what == "directory":
        path.mkdir()
    elif what == "link":
        path.symlink_to(path.with_name("target"))
    else:
        path.write_text("my notes")


@pytest.mark.parametrize("what", ["file", "directory", "link"])
@pytest.mark.parametrize("name", ["s", ".s.0"])
def test_a_file_that_is_no_socket_is_left_alone(listener: Listener, tmp_path: Path, name: str, what: str) -> None:
    lay(tmp_path / name, what)
    before = (tmp_path / name).lstat()
    with pytest.raises(SetupError, match="is no socket"):
        listener.bind()
    assert os.path.samestat((tmp_path / name).lstat(), before)
    assert os.listdir(tmp_path) == [name]
    if what == "file":
        assert (tmp_path / name).read_text() == "my notes"


def test_a_file_that_replaced_the_socket_is_left_alone(listener: Listener, tmp_path: Path) -> None:
    listener.bind()
    (tmp_path / "s").unlink()
    lay(tmp_path / "s", "file")
    assert not listener.is_bound()
    with pytest.raises(SetupError, match="is no socket"):
        listener.bind()
    listener.unlink()
    assert (tmp_path / "s").read_text() == "my notes"
    (tmp_path / "s").unlink()
    listener.bind()
    assert listener.is_bound()


def test_a_socket_that_a_killed_daemon_left_is_replaced(listener: Listener, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    listener.bind()
    assert listener.is_bound()
    assert stat.S_ISSOCK((tmp_path / "s").lstat().st_mode)
