"""The client and processes: starting the daemon, many clients that start it at once, forks."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.cli.holder import holder_of
from holdfast.wire.address import user_place
from holdfast.wire.autostart import answers

pytestmark = pytest.mark.slow  # processes of its own


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user of one test; the user's daemons are killed at its end."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        for variable in ("HOLDFAST_SOCKET", "HOLDFAST_DATA_DIR", "PERSISTENCE", "PERSIST_DB_PATH"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("XDG_DATA_HOME", f"{directory}/data")
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)
        end_daemon()


def end_daemon() -> None:
    place = user_place()
    if answers(place.described_socket):
        with holdfast.connect(place.described_socket) as store:
            pid = store.status().pid
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while answers(place.described_socket) or holder_of(place.data_dir / "daemon.json"):  # it writes until it frees the lock
            assert time.monotonic() < deadline
            time.sleep(0.01)


def run_script(text: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a program that imports holdfast before grpc, as programs that only use holdfast do."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *map(str, arguments)]
    return subprocess.run(command, timeout=60, capture_output=True, text=True)


def test_connect_starts_the_users_daemon_and_finds_it_again(user: Path) -> None:
    with holdfast.connect() as store:
        store.tasks.create(title="t")
        status = store.status()
    assert status.data_dir == str(user / "data" / "holdfast")
    assert status.socket_path == str(user_place().own_socket)  # HOME is not the default one
    assert os.getsid(status.pid) == status.pid, "the daemon must have its own session"
    with holdfast.connect() as again:
        assert again.status().pid == status.pid
        assert again.tasks.count() == 1


def test_a_store_elsewhere_has_a_socket_of_its_own(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with holdfast.connect() as one:
        monkeypatch.setenv("HOLDFAST_DATA_DIR", str(user / "elsewhere"))
        with holdfast.connect() as two:
            assert one.status().store_id != two.status().store_id
            assert two.status().data_dir == str(user / "elsewhere")
        end_daemon()
        monkeypatch.delenv("HOLDFAST_DATA_DIR")
        monkeypatch.setenv("PERSIST_DB_PATH", str(user / "own.db"))
        with holdfast.connect() as three:
            three.tasks.create(title="t")
            assert (user / "own.db").exists() and three.status().data_dir == str(user / "own.db.d")
        end_daemon()
        monkeypatch.delenv("PERSIST_DB_PATH")
        monkeypatch.setenv("PERSISTENCE", "memory")
        with holdfast.connect() as four, holdfast.connect() as five:
            assert four.status().persistence == "memory" and four.status().pid == five.status().pid
        end_daemon()
        monkeypatch.delenv("PERSISTENCE")


def test_a_killed_daemon_is_started_again_in_the_middle_of_calls(user: Path) -> None:
    with holdfast.connect() as store:
        watch = store.watch(kinds=["task"])
        for number in range(3):
            store.tasks.create(title=str(number))
            pid = store.status().pid
            os.kill(pid, signal.SIGKILL)
        assert store.tasks.count() == 3
        assert [next(watch).record.task.title for _ in range(3)] == ["0", "1", "2"]
        watch.close()


def test_many_that_start_it_at_once_share_one(user: Path) -> None:
    script = "import holdfast\nwith holdfast.connect() as s: s.tasks.create(title='t'); print(s.status().pid)"
    clients = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(6)]
    # communicate() waits for the end of the output, so the daemon that was started must not keep the pipe open.
    pids = {client.communicate(timeout=30)[0].strip() for client in clients}
    assert len(pids) == 1 and pids != {""}
    with holdfast.connect() as store:
        assert store.tasks.count() == 6


def test_nothing_is_started_while_somebody_else_holds_the_start_lock(user: Path) -> None:
    place = user_place()
    place.data_dir.mkdir(parents=True)
    with (place.data_dir / "start.lock").open("w") as held, ThreadPoolExecutor() as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        connecting = pool.submit(holdfast.connect)
        time.sleep(1.0)
        assert [each.name for each in place.data_dir.iterdir()] == ["start.lock"]
        assert not connecting.done()
        fcntl.flock(held, fcntl.LOCK_UN)
        with connecting.result(timeout=15) as store:
            assert store.status().data_dir == str(place.data_dir)


def test_a_daemon_that_cannot_start_says_why(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_UNARY_THREADS", "many")
    with pytest.raises(holdfast.StartFailed, match="HOLDFAST_UNARY_THREADS"):
        holdfast.connect()


@pytest.mark.slow
def test_an_idle_daemon_ends_and_comes_back(user: Path) -> None:
    with holdfast.connect(idle_exit_s=1) as store:
        store.tasks.create(title="t")
        pid = store.status().pid
        deadline = time.monotonic() + 15
        while answers(user_place().described_socket):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert store.tasks.count() == 1
        assert store.status().pid != pid


def test_with_an_address_nothing_is_started(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(holdfast.Unavailable):
        holdfast.connect(user / "none.sock", connect_timeout_s=0.1)
    monkeypatch.setenv("HOLDFAST_SOCKET", str(user / "none.sock"))
    with pytest.raises(holdfast.Unavailable):
        holdfast.connect(connect_timeout_s=0.1)
    assert not (user / "data").exists()
    with pytest.raises(holdfast.InvalidArgument, match="too long"):
        holdfast.connect(user / ("x" * 120), connect_timeout_s=0.1)
    with pytest.raises(ValueError, match="not an address"):
        holdfast.connect("http://localhost")


FORKING = """
    import os, sys, threading, time, traceback
    import holdfast

    def in_child(work):
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        deadline = time.monotonic() + 20
        while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
            assert time.monotonic() < deadline, "the child hangs"
            time.sleep(0.005)
        assert os.waitstatus_to_exitcode(ended[1]) == 0, ended

    def refuses(work):
        try:
            work()
        except RuntimeError as error:
            assert "before the fork" in str(error), error
        else:
            raise AssertionError("it should have refused")

    store = holdfast.connect(sys.argv[1], workspace=sys.argv[2])
    session_id = store.sessions.create(title="s").id
"""


def fork_test(text: str) -> str:
    return textwrap.dedent(FORKING) + textwrap.dedent(text)


def test_a_child_goes_on_with_a_channel_of_its_own(daemon: Any) -> None:
    script = """
    reader = store.transcripts.follow(session_id)
    writer = store.transcripts.writer(session_id)
    writer.write(role="parent")
    writer.flush()
    next(reader)

    def child():
        assert store.sessions.get(session_id).title == "s"
        store.transcripts.append(session_id, role="child")
        store.checkpoints.save(session_id, context="c")
        refuses(lambda: writer.write(role="x"))
        refuses(lambda: next(reader))
        with store.transcripts.writer(session_id) as own:
            own.write(role="child's writer")
        store.close()

    in_child(child)
    writer.write(role="parent")
    writer.close()
    assert [next(reader).transcript.role for _ in range(3)] == ["child", "child's writer", "parent"]
    reader.close()
    """
    done = run_script(fork_test(script), daemon.socket_path, "forks-own-channel")
    assert done.returncode == 0, done.stderr


def test_only_the_process_that_began_a_transaction_commits_it(daemon: Any) -> None:
    script = """
    with store.transaction() as transaction:
        before = transaction.tasks.create(title="before the fork")

        def child():
            refuses(lambda: transaction.tasks.create(title="child"))
            refuses(lambda: transaction.tasks.update(before.id, title="child"))
            refuses(lambda: transaction.tasks.delete(before.id))
            refuses(lambda: transaction.transcripts.append(session_id, role="child"))
            refuses(lambda: transaction.__exit__(None, None, None))
            assert transaction.__exit__(SystemExit, SystemExit(0), None) is None, "an exception leaves the block as it is"
            with store.transaction() as own:
                own.tasks.create(title="child's transaction")

        in_child(child)
        transaction.tasks.create(title="after the fork")
    titles = [each.title for each in store.tasks.list(order_by="create_time")]
    assert sorted(titles) == ["after the fork", "before the fork", "child's transaction"], titles
    """
    done = run_script(fork_test(script), daemon.socket_path, "forks-transaction")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_forks_while_threads_are_in_calls_and_streams(daemon: Any) -> None:
    script = """
    over = threading.Event()

    def busy():
        while not over.is_set():
            store.tasks.count()

    readers = [store.transcripts.follow(session_id) for _ in range(2)]
    work = [busy] * 4 + [lambda reader=reader: list(reader) for reader in readers]
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    for number in range(3):
        in_child(lambda: store.tasks.create(title=f"child {number}"))
    over.set()
    for reader in readers:
        reader.close()
    for thread in threads:
        thread.join()
    assert store.tasks.count() == 3
    """
    done = run_script(fork_test(script), daemon.socket_path, "forks-busy")
    assert done.returncode == 0, done.stderr


def test_a_child_may_end_like_any_process(daemon: Any) -> None:
    script = """
    pid = os.fork()
    if pid == 0:
        store.tasks.create(title="child")
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    store.tasks.create(title="parent")
    """
    done = run_script(fork_test(script), daemon.socket_path, "forks-exit")
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr


def test_calls_after_an_unsafe_fork_are_refused(daemon: Any) -> None:
    script = """
    reader = store.transcripts.follow(session_id)
    store.transcripts.append(session_id, role="a")
    next(reader)

    def child():
        try:
            store.tasks.count()
        except RuntimeError as error:
            assert "GRPC_ENABLE_FORK_SUPPORT" in str(error), error
        else:
            raise AssertionError("it should have refused")

    in_child(child)
    assert store.tasks.count() == 0
    """
    done = run_script("import grpc\n" + fork_test(script), daemon.socket_path, "forks-unsafe")
    assert done.returncode == 0, done.stderr
