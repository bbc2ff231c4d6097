"""The public socket: a file at its path that is not a socket stays, and a server is public only when it answers."""

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
from holdfastd.rpc.door import Door, DoorLimits
from holdfastd.rpc.listener import Listener
from holdfastd.rpc.peers import Peers


class Source:
    """Servers without services; the first few do not answer."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.fallen_back: list[str] = []
        self.asked: list[tuple[str, list[str]]] = []

    def build(self) -> grpc.Server:
        return grpc.server(ThreadPoolExecutor(1))

    def fault_of(self, socket: Path) -> str:
        self.asked.append((socket.name, sorted(os.listdir(socket.parent))))
        return self.faults.pop(0) if self.faults else ""

    def fall_back(self, fault: str) -> bool:
        self.fallen_back.append(fault)
        return len(self.fallen_back) == 1


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def listener(tmp_path: Path, source: Source) -> Iterator[Listener]:
    listener = Listener(tmp_path / "s", source, Door(Peers(), DoorLimits()))
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
@pytest.mark.parametrize("name", ["s", ".s.0", ".s.1"])
def test_a_file_that_is_no_socket_is_left_alone(listener: Listener, tmp_path: Path, name: str, what: str) -> None:
    lay(tmp_path / name, what)
    before = (tmp_path / name).lstat()
    with pytest.raises(SetupError, match="is no socket"):
        listener.bind()
    assert os.path.samestat((tmp_path / name).lstat(), before)
    assert os.listdir(tmp_path) == [name]
    if what == "file":
        assert (tmp_path / name).read_text() == "my notes"


def test_a_file_that_takes_the_sockets_place_is_left_alone(listener: Listener, tmp_path: Path) -> None:
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


def test_the_first_server_must_answer_before_its_socket_is_public(listener: Listener, source: Source, tmp_path: Path) -> None:
    listener.bind()
    assert source.asked == [(".s.0", [".s.0"])]
    (tmp_path / "s").unlink()
    listener.bind()
    assert len(source.asked) == 1
    assert listener.is_served()


def test_a_server_that_does_not_answer_is_replaced_once(listener: Listener, source: Source, tmp_path: Path) -> None:
    source.faults = ["silence"]
    listener.bind()
    assert source.fallen_back == ["silence"]
    assert source.asked[1] == (".s.0", [".s.0"])
    assert os.listdir(tmp_path) == ["s"]


def test_no_server_that_answers_is_an_error_that_leaves_nothing(listener: Listener, source: Source, tmp_path: Path) -> None:
    source.faults = ["silence", "a closed connection"]
    with pytest.raises(SetupError, match="does not answer at its own socket: a closed connection"):
        listener.bind()
    assert os.listdir(tmp_path) == []
