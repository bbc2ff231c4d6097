"""Another user makes the directory of the sockets first and listens there: no client sends that user a byte, and all calls work.

Where the tests don't run as root, the other user is played by a directory that everyone can write to.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.cli import main
from holdfast.contract import places
from holdfast.wire import trust
from holdfast.wire.address import user_place
from holdfastd.__main__ import main as holdfastd
from tests.end_to_end.daemons import Directory, is_reachable

pytestmark = pytest.mark.slow  # processes of its own

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

# Listens at the sockets in a directory that it makes, and prints how many bytes each connection brings.
IMPOSTOR = """
import os, socket, sys, threading
directory, *names = sys.argv[1:]
os.umask(0)
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.mkdir(directory, 0o777)
def serve(name):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/{name}")
        listener.listen()
        ready.release()
        while True:
            connection, _ = listener.accept()
            print(len(connection.recv(1 << 16)), flush=True)
ready = threading.Semaphore(0)
for name in names:
    threading.Thread(target=serve, args=(name,), daemon=True).start()
for name in names:
    ready.acquire()
print("ready", flush=True)
threading.Event().wait()
"""


class Impostor:
    """A process that has taken a directory and listens at sockets in it."""

    def __init__(self, directory: Path, *names: str) -> None:
        command = [sys.executable, "-c", IMPOSTOR, str(directory), *names]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None and self._process.stdout.readline() == "ready\n"

    def end(self) -> list[int]:
        """Ends it. Returns the bytes that each connection brought."""
        self._process.kill()
        return [int(line) for line in self._process.communicate()[0].split()]


@pytest.fixture
def shared(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory in the place of /tmp, and a user with an empty home beside it. The user's daemons are killed with the test."""
    for name in os.environ:
        if name.startswith(("HOLDFAST_", "PERSIST", "XDG_")):
            monkeypatch.delenv(name)
    shared, home = directory.path / "tmp", directory.path / "home"
    directory.path.chmod(0o711)
    shared.mkdir()
    shared.chmod(0o1777)
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(places, "home", lambda _: home)
    monkeypatch.setattr(places, "SHARED", shared)
    yield shared
    assert main(["down"]) == 0


@pytest.fixture
def taken(shared: Path) -> Iterator[Impostor]:
    """Another user who took the place before the first daemon started."""
    impostor = Impostor(shared / f"holdfast-{os.geteuid()}", "holdfast.sock", user_place().own_socket.name)
    yield impostor
    assert [received for received in impostor.end() if received] == []


def test_client_and_daemon_meet_under_the_users_home(taken: Impostor, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with holdfast.connect() as store:
        store.tasks.create(title="my secret")
        assert Path(store.status().socket_path).parent == shared.parent / "home" / ".local" / "state" / "holdfast"
    assert main(["status"]) == 0
    assert main(["down"]) == 0
    assert main(["status"]) == 3
    capsys.readouterr()


def test_a_stale_address_in_the_data_directory_is_not_used(taken: Impostor, shared: Path) -> None:
    place = user_place()
    place.data_dir.mkdir(parents=True)
    fake = shared / f"holdfast-{os.geteuid()}" / "holdfast.sock"
    (place.data_dir / "daemon.json").write_text(json.dumps({"pid": os.getpid(), "socket": str(fake)}))
    with holdfast.connect() as store:
        store.tasks.create(title="my secret")
        assert store.status().data_dir == str(place.data_dir)


def test_a_directory_that_is_taken_between_two_calls_is_noticed_before_the_next_call(shared: Path) -> None:
    run = shared / f"holdfast-{os.geteuid()}"
    with holdfast.connect() as store, holdfast.connect() as other:
        task = store.tasks.create(title="before")
        pid = store.status().pid
        assert Path(store.status().socket_path).parent == run
        os.kill(pid, signal.SIGKILL)
        name = Path(user_place().described_socket).name
        shutil.rmtree(run)  # as a program that cleans /tmp does
        impostor = Impostor(run, name)
        try:
            assert store.tasks.get(task.id).title == "before"
            other.transcripts.append(other.sessions.create(title="s").id, role="r", content="my secret")
            assert store.status().pid != pid
        finally:
            received = impostor.end()
    assert [each for each in received if each] == []


@as_root
def test_a_listener_of_another_user_in_the_users_own_directory_is_refused(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    script = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.setgid(65534); os.setuid(65534)
listener.listen()
print("ready", flush=True)
print(len(listener.accept()[0].recv(100)), flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        assert trust.checked(path) is None
        assert process.stdout.readline() == "0\n"
        process.kill()


@as_root
def test_a_socket_file_of_another_user_is_refused_without_connecting(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.sock"))
        listener.listen()
        assert trust.checked(tmp_path / "s.sock") is not None
        os.chown(tmp_path / "s.sock", NOBODY, NOBODY)
        assert "belongs to user 65534" in trust.refusal(tmp_path / "s.sock")
        os.chown(tmp_path / "s.sock", 0, 0)
        os.chmod(tmp_path / "s.sock", 0o666)
        assert "Other users can connect" in trust.refusal(tmp_path / "s.sock")


def test_an_address_that_the_user_gives_is_used_as_it_is(
    shared: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = directory.serve("store", "open/s.sock")
    daemon.socket.parent.chmod(0o777)
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(daemon.data_dir))
    assert main(["status"]) == 3
    said = capsys.readouterr().err
    assert "Others can write" in said and str(daemon.socket.parent) in said and "HOLDFAST_SOCKET" in said
    with holdfast.connect(daemon.socket) as store:
        store.tasks.create(title="t")
    monkeypatch.setenv("HOLDFAST_SOCKET", str(daemon.socket))
    assert main(["status"]) == 0
    monkeypatch.delenv("HOLDFAST_SOCKET")
    daemon.socket.parent.chmod(0o700)
    assert main(["status"]) == 0


def test_down_ends_no_process_that_another_user_names(shared: Path) -> None:
    run = shared / f"holdfast-{os.geteuid()}"
    place = user_place()
    run.mkdir()
    run.chmod(0o777)
    place.data_dir.mkdir(parents=True)
    (place.data_dir / "daemon.json").write_text(json.dumps({"socket": str(place.socket_path)}))  # left by a daemon of before
    with subprocess.Popen(["sleep", "60"]) as own, (run / f"{place.socket_path.name}.lock").open("w") as lock:
        lock.write(json.dumps({"pid": own.pid, "data_dir": str(place.data_dir)}))
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["down"]) == 0
        assert own.poll() is None
        own.kill()


def test_nothing_is_started_in_a_data_directory_that_others_can_write_to(
    shared: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = directory.path / "data"
    data_dir.mkdir()
    data_dir.chmod(0o777)
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(data_dir))
    with pytest.raises(holdfast.StartFailed, match=r"Others can write to the directory .*data.*HOLDFAST_DATA_DIR"):
        holdfast.connect()
    assert list(data_dir.iterdir()) == []


@pytest.mark.parametrize("name", ["start.lock", "daemon.log"])
def test_a_link_in_the_data_directory_is_not_followed(
    shared: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    victim, data_dir = directory.path / "victim", directory.path / "data"
    victim.write_text("precious")
    data_dir.mkdir()
    (data_dir / name).symlink_to(victim)
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(data_dir))
    with pytest.raises(OSError, match="symbolic link"):
        holdfast.connect()
    assert victim.read_text() == "precious"


def test_a_user_without_a_home_is_told_who_has_the_place(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    taken = shared / f"holdfast-{os.geteuid()}"
    taken.mkdir()
    taken.chmod(0o777)
    with monkeypatch.context() as homeless:
        homeless.setattr(places, "home", lambda _: Path("/dev/null/home"))
        homeless.setenv("HOLDFAST_DATA_DIR", str(tmp_path / "data"))
        assert main(["up"]) == 3
        told = capsys.readouterr().err
        assert f"there is no directory for its socket: Others can write to the directory {taken}; /dev/null/home/" in told
        assert "give PATH in HOLDFAST_SOCKET" in told
        assert holdfastd(["--data-dir", str(tmp_path / "data")]) == 1
        assert "There is no directory for the socket: Others can write" in capsys.readouterr().err
        homeless.setattr(places, "home", lambda _: shared.parent / "home")
        homeless.setenv("HOLDFAST_DATA_DIR", "/dev/null/home/data")
        assert main(["up"]) == 3
        assert "cannot be created (Not a directory). Give another directory in HOLDFAST_DATA_DIR." in capsys.readouterr().err


def test_the_daemon_alone_chooses_the_same_place(taken: Impostor, directory: Directory, shared: Path) -> None:
    script = f"""
from pathlib import Path
from holdfast.contract import places
places.SHARED, places.home = Path({str(shared)!r}), lambda _: Path({str(shared.parent / "home")!r})
from holdfastd.__main__ import main
main()
"""
    place = user_place()
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as process:
        path = places.runtime_dir({}) / "holdfast.sock"
        while not (path.exists() and is_reachable(path)):
            assert process.poll() is None
        with holdfast.connect() as store:
            assert (store.status().pid, store.status().data_dir) == (process.pid, str(place.data_dir))
        process.terminate()
