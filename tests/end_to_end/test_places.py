"""A client reaches a store only through its own daemon, never through the daemon of another store, whatever its socket."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.cli import main
from holdfast.wire import address, autostart
from holdfast.wire.address import user_place
from tests.end_to_end.daemons import Directory, is_reachable

pytestmark = pytest.mark.slow  # processes of its own

DEAD = 2**22 + 1  # larger than any pid


@pytest.fixture
def home(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a user with a default per-user store. Daemons that clients start are killed with the test."""
    for name in os.environ:
        if name.startswith(("HOLDFAST_", "PERSIST", "XDG_")):
            monkeypatch.delenv(name)
    home = directory.path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory.path))
    monkeypatch.setattr(address, "_home", lambda: home)
    yield home
    for name in ("XDG_DATA_HOME", "PERSISTENCE"):
        monkeypatch.delenv(name, raising=False)
    for path in directory.path.glob("**/daemon.json"):
        monkeypatch.setenv("HOLDFAST_DATA_DIR", str(path.parent))
        assert main(["down"]) == 0


def served() -> str:
    with holdfast.connect() as store:
        return store.status().data_dir


def leave_card(data_dir: Path, socket: Path) -> None:
    """Leaves daemon.json as after the kill of a daemon."""
    data_dir.mkdir(parents=True)
    (data_dir / "daemon.json").write_text(json.dumps({"pid": DEAD, "socket": str(socket)}))


def test_another_data_home_is_another_store(home: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    default = home / ".local" / "share" / "holdfast"
    assert served() == str(default)
    assert user_place().socket_path == directory.path / "holdfast" / "holdfast.sock"
    monkeypatch.setenv("XDG_DATA_HOME", str(directory.path / "elsewhere"))
    assert main(["create", "task", "title=x"]) == 0
    assert served() == str(directory.path / "elsewhere" / "holdfast")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert served() == str(default)
    with holdfast.connect() as store:
        assert not store.tasks.exists("TASK-001")


def test_the_same_directory_by_another_path_is_the_same_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = served()
    (home / "link").symlink_to(default)
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(home / "link"))
    assert served() == default


def test_a_socket_used_by_another_stores_daemon_is_left_alone(home: Path, directory: Directory) -> None:
    other = directory.serve("other", "holdfast/holdfast.sock")
    assert user_place().socket_path == other.socket
    assert main(["status"]) == 3
    assert main(["down"]) == 0
    assert is_reachable(other.socket)
    assert served() == str(user_place().data_dir)
    assert served() == str(user_place().data_dir), "the second connection must find the same daemon"
    assert user_place().described_socket == user_place().own_socket
    assert main(["down"]) == 0
    assert is_reachable(other.socket)


def test_when_its_own_socket_is_taken_too_both_directories_are_named(
    home: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(directory.path / "mine"))
    other = directory.serve("other", f"holdfast/{user_place().socket_path.name}")
    with pytest.raises(holdfast.StartFailed) as failed:
        holdfast.connect()
    assert str(directory.path / "mine") in failed.value.message
    assert str(other.data_dir) in failed.value.message


def test_a_stale_card_does_not_lead_to_another_store(
    home: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = directory.serve("b", "run/shared.sock")
    leave_card(directory.path / "a", other.socket)
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(directory.path / "a"))
    assert main(["status"]) == 3
    capsys.readouterr()
    assert main(["down"]) == 0
    assert capsys.readouterr().out == "not running\n"
    assert is_reachable(other.socket)
    assert main(["up"]) == 0
    assert capsys.readouterr().out.startswith("started: ")
    assert main(["create", "task", "title=x"]) == 0
    assert served() == str(directory.path / "a")
    assert main(["down"]) == 0
    assert is_reachable(other.socket)
    with holdfast.connect(other.socket) as store:
        assert not store.tasks.exists("TASK-001")


def test_a_store_in_memory_is_not_taken_for_one_on_disk(
    home: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = directory.serve("none", "run/m.sock", "--persistence", "memory")
    leave_card(directory.path / "a", in_memory.socket)
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(directory.path / "a"))
    assert served() == str(directory.path / "a")
    monkeypatch.setenv("PERSISTENCE", "memory")
    with holdfast.connect(idle_exit_s=1) as one, holdfast.connect() as two:
        assert one.status().persistence == "memory"
        assert one.status().store_id == two.status().store_id
    assert main(["down"]) == 0


def test_without_the_daemons_packages_it_is_said_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(autostart.sys.modules, "trio", None)
    with pytest.raises(holdfast.StartFailed, match=r"not installed here .*trio.* `pip install '\.\[daemon\]'`"):
        holdfast.connect()


TORN = {"empty": b"", "half": b'{"pid": 4', "nested": b"[" * 60_000, "megabytes": b"x" * 3_000_000, "zeros": bytes(4096)}


@pytest.mark.parametrize("content", TORN.values(), ids=TORN.keys())
def test_a_daemon_is_started_over_a_torn_daemon_json(home: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    data_dir = user_place().data_dir
    data_dir.mkdir(parents=True)
    (data_dir / "daemon.json").write_bytes(content)
    assert main(["status"]) != 0 and str(data_dir) in capsys.readouterr().err
    assert (data_dir / "daemon.json").read_bytes() == content
    assert main(["up"]) == 0
    assert served() == str(data_dir)
    assert json.loads((data_dir / "daemon.json").read_text())["socket"] == str(user_place().described_socket)


def test_a_running_daemon_whose_daemon_json_is_torn_is_not_mistaken_for_none(home: Path, directory: Directory) -> None:
    daemon = directory.serve(str(user_place().data_dir), "run/elsewhere.sock")
    (daemon.data_dir / "daemon.json").write_text('{"pid": 4')
    with pytest.raises(holdfast.FailedPrecondition, match="cannot be read: it is not JSON") as refused:
        holdfast.connect()
    assert refused.value.reason == "DAEMON_FILE_UNREADABLE"
    assert main(["--json", "down"]) == 1, "it is no conflict with what is stored"
    assert daemon.end() == 0
