"""The command as a process: starting and stopping the daemon, following streams, closed pipes, terminals and Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.cli import daemon as daemon_commands
from holdfast.cli import main
from holdfast.wire.autostart import answers

pytestmark = pytest.mark.slow  # processes of its own

COMMAND = [sys.executable, "-m", "holdfast"]
PATIENCE_S = 15.0


@dataclass(frozen=True)
class User:
    """A user with a per-user store on a short path. Commands run in this process, which is faster."""

    home: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Runs a command; returns the exit code, stdout and stderr."""
        code = main(arguments)
        return code, *self.capsys.readouterr()

    def json(self, *arguments: str) -> dict[str, Any]:
        code, out, err = self.run(*arguments, "--json")
        assert (code, err) == (0, "")
        found: dict[str, Any] = json.loads(out)
        return found


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[User]:
    for name in os.environ:
        if name.startswith(("HOLDFAST_", "PERSIST", "XDG_")):
            monkeypatch.delenv(name)
    with tempfile.TemporaryDirectory(prefix="hf-") as home:
        monkeypatch.setenv("HOLDFAST_DATA_DIR", f"{home}/data")
        monkeypatch.setenv("XDG_RUNTIME_DIR", home)
        one = User(Path(home), capsys)
        yield one
        assert one.run("down")[0] == 0


def test_status_and_down_start_nothing(user: User) -> None:
    code, out, err = user.run("status")
    assert (code, out) == (3, "")
    assert err.startswith("holdfast: ")
    assert "holdfast up" in err
    assert user.run("down") == (0, "not running\n", "")
    assert list(user.home.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "up", "down", "tasks"])
def test_a_socket_path_that_is_too_long_is_wrong_usage(user: User, command: str) -> None:
    given = ("list", "tasks") if command == "tasks" else (command,)
    code, out, err = user.run("--socket", "/" + "x" * 199, *given)
    assert (code, out) == (2, "")
    assert "is too long for a Unix socket: 107 bytes at most" in err


def test_up_and_down_and_again(user: User) -> None:
    first, second = user.json("up"), user.json("up")
    assert (first["started"], second["started"]) == (True, False)
    assert first["pid"] == second["pid"]
    assert user.run("up")[1].startswith(f"already running: pid {first['pid']}\n")
    status = user.json("status")
    assert (status["data_dir"], status["persistence"]) == (str(user.home / "data"), "sqlite")
    shown = user.run("status")[1]
    assert all(each in shown for each in (status["socket_path"], status["store_id"], "revision", "workspaces none yet"))

    assert user.json("down") == {"stopped": True, "pid": first["pid"]}
    assert not answers(Path(status["socket_path"]))
    assert user.json("down") == {"stopped": False, "pid": None}
    assert user.run("status")[0] == 3


def test_other_commands_start_the_daemon_and_followers_do_not_undo_down(user: User) -> None:
    assert user.run("list", "tasks")[0] == 0
    status = user.json("status")
    with holdfast.connect(status["socket_path"]) as store:
        store.tasks.create(title="seen")
    command = [*COMMAND, "watch", "--since", "0", "--timeout", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert "seen" in follower.stdout.readline()
        assert user.run("down")[1] == f"stopped: pid {status['pid']}\n"
        assert follower.communicate(timeout=PATIENCE_S)[1].startswith("holdfast: ")
        assert follower.returncode == 3
    assert user.run("status")[0] == 3


def test_down_by_socket_stops_exactly_that_daemon(own_daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(own_daemon.socket_path)
    assert main(["up", "--socket", path]) == 0
    assert capsys.readouterr().out.startswith("already running")
    # A lock file that names this process but is not locked: `down` must not kill the process.
    (own_daemon.directory / "other.sock.lock").write_text(json.dumps({"pid": os.getpid()}))
    assert main(["down", "--socket", str(own_daemon.directory / "other.sock")]) == 0
    assert capsys.readouterr().out == "not running\n"
    assert main(["down", "--socket", path]) == 0
    assert own_daemon._process.wait(PATIENCE_S) == 0
    assert main(["up", "--socket", path]) == 3
    assert "holdfastd --data-dir" in capsys.readouterr().err
    assert main(["list", "tasks", "--socket", path, "--timeout", "0.1", "--json"]) == 3
    assert json.loads(capsys.readouterr().err)["reason"] == "NOT_RUNNING"


def test_down_does_not_kill_a_process_that_only_has_the_same_number(own_daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """As with a daemon in a container: here the pid in the lock file belongs to another process."""
    with subprocess.Popen(["sleep", "60"]) as bystander:
        lock = own_daemon.socket_path.with_name("holdfast.sock.lock")
        lock.write_text(json.dumps({"pid": bystander.pid}))
        try:
            assert main(["down", "--socket", str(own_daemon.socket_path)]) == 5
            assert "is not its pid here" in capsys.readouterr().err
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_down_says_whose_daemon_it_is(
    own_daemon: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    owner = os.geteuid()
    told = f"holdfast.sock.lock belongs to user {owner}: if a daemon runs there, it is that user's. Only user {owner} or root"
    for refused in ("open", "kill"):
        with monkeypatch.context() as another:
            another.setattr(os, refused, refuse)
            another.setattr(os, "geteuid", lambda: owner + 1)
            another.setattr(daemon_commands, "fault_of", lambda *_: "")
            assert main(["down", "--socket", str(own_daemon.socket_path)]) == 1
        assert told in capsys.readouterr().err
    assert answers(own_daemon.socket_path)


def test_tail_follows_over_a_restart_of_the_daemon(own_daemon: Any) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        session = store.sessions.create(title="s")
        store.transcripts.append(session.id, role="note", content="before")
        command = [*COMMAND, "tail", session.id, "-f", "--json", "--socket", str(own_daemon.socket_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            assert json.loads(follower.stdout.readline())["content"] == "before"
            own_daemon.kill()
            own_daemon.start()
            store.transcripts.append(session.id, role="note", content="after")
            assert json.loads(follower.stdout.readline())["number"] == 2
            follower.send_signal(signal.SIGINT)
            out, err = follower.communicate(timeout=PATIENCE_S)
            assert (follower.returncode, out, err) == (130, "", "")


def test_watch_shows_changes_as_they_happen(daemon: Any, store: holdfast.Store) -> None:
    store.tasks.create(title="before")
    command = [*COMMAND, "--socket", str(daemon.socket_path), "--workspace", store.workspace]
    since = str(store.status().revision)
    with subprocess.Popen([*command, "watch", "--kind", "tasks", "--since", since], stdout=subprocess.PIPE, text=True) as watch:
        task = store.tasks.create(title="now")
        assert watch.stdout is not None
        assert f'insert  task {task.id} v1  "now"' in watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        assert watch.wait(PATIENCE_S) == 130


@pytest.mark.parametrize("line", ["list tasks --json", "watch --since 0 --replay"])
def test_a_closed_pipe_is_no_error(line: str, daemon: Any, store: holdfast.Store) -> None:
    with store.transaction() as transaction:
        for _ in range(300):
            transaction.tasks.create(title="x" * 1000)
    arguments = [*line.split(), "--socket", str(daemon.socket_path), "--workspace", store.workspace]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.readline()
        writer.stdout.close()
        assert (writer.wait(PATIENCE_S), writer.stderr.read()) == (141, b"")


@pytest.mark.parametrize("line", ["list tasks", "create task title=t", "cat DIGEST", "verify", "status --json", "help"])
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(line: str, closed: str, daemon: Any, store: holdfast.Store) -> None:
    store.tasks.create(title="t")
    digest = store.blobs.put(b"content").digest
    command = [*COMMAND, *line.replace("DIGEST", digest).split(), "--socket", str(daemon.socket_path)]
    script = f'"$@" --workspace {store.workspace} {closed}'
    done = subprocess.run(["sh", "-c", script, "sh", *command], capture_output=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) is (">&-" not in closed.replace("2>&-", ""))


def test_a_full_disk_is_a_line(daemon: Any) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "status", "--socket", str(daemon.socket_path)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "holdfast: [Errno 28] No space left on device\n")


def test_binary_content_stays_off_terminals(daemon: Any, store: holdfast.Store) -> None:
    binary, text = store.blobs.put(b"\0\x1b[2J").digest, store.blobs.put("grüß dich\n".encode()).digest
    assert on_terminal("cat", text, "--socket", str(daemon.socket_path)) == (0, "grüß dich\r\n")
    code, shown = on_terminal("cat", binary, "--socket", str(daemon.socket_path))
    assert code == 5
    assert "--force" in shown
    assert "\x1b" not in shown
    assert on_terminal("cat", binary, "--force", "--socket", str(daemon.socket_path)) == (0, "\0\x1b[2J")


def on_terminal(*arguments: str) -> tuple[int, str]:
    """Runs a command with a terminal as stdout and stderr; returns its exit code and the text on the terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *arguments], stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        os.close(ours)
        return process.wait(PATIENCE_S), shown.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("show tasks th", "the-task"),
        ("set task the-task sta", "status="),
        ("set task the-task status = ru", "running"),  # bash splits words at `=`
        ("create comment task_id = th", "the-task"),
        ("wat", "watch"),
        ("list sess", "session"),
        ("list tasks --columns id,blo", "id,blocked_by"),
        ("list tasks --order-by = upd", "update_time"),
    ],
)
def test_bash_completes(daemon: Any, store: holdfast.Store, tmp_path: Path, words: str, offered: str) -> None:
    if (bash := shutil.which("bash")) is None:
        pytest.skip("no bash here")
    store.tasks.create(title="t", id="the-task")
    (tmp_path / "holdfast").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    (tmp_path / "holdfast").chmod(0o755)
    script = subprocess.run([*COMMAND, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    typed = f"holdfast --socket {daemon.socket_path} --workspace {store.workspace} {words}"
    words = f"COMP_WORDS=({typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))"
    asked = f'{script}\n{words}; _holdfast_completion holdfast; printf "%s\\n" "${{COMPREPLY[@]}}"'
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([bash, "-c", asked], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{offered}\n", "")


def test_down_waits_for_the_locks_and_says_when_it_takes_too_long(own_daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    process = own_daemon._process
    process.send_signal(signal.SIGSTOP)
    try:
        assert main(["down", "--socket", str(own_daemon.socket_path), "--timeout", "0.1", "--json"]) == 1
        assert json.loads(capsys.readouterr().err)["metadata"] == {"pid": str(process.pid)}
        threading.Timer(0.2, process.send_signal, [signal.SIGCONT]).start()
        assert main(["down", "--socket", str(own_daemon.socket_path)]) == 0
    finally:
        process.send_signal(signal.SIGCONT)
    assert not answers(own_daemon.socket_path)


def test_verify_fails_when_something_is_wrong(own_daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        artifact = store.artifacts.put(source=os.urandom(200_000), name="a")
        path = own_daemon.data_dir / store.blobs.stat(artifact.content_digest).path
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["verify", "--socket", str(own_daemon.socket_path)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"blob_size  {artifact.content_digest}  ")
    assert "\nproblems found: 1\n" in out
    assert main(["verify", "--socket", str(own_daemon.socket_path), "--json"]) == 1
    problem, result = map(json.loads, capsys.readouterr().out.splitlines())
    assert (problem["reason"], result["problems"]) == ("blob_size", 1)
    assert main(["cat", artifact.id, "--socket", str(own_daemon.socket_path)]) == 1
    assert artifact.content_digest in capsys.readouterr().err
