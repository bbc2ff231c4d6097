"""A caller that leaves before its commit starts: nothing of the commit is in records, history or counters."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import holdfast
from tests.conftest import DaemonProcess

pytestmark = pytest.mark.slow  # processes of its own

HOLD_S = 0.8
CALLER = """
import sys, holdfast
store = holdfast.connect(sys.argv[1], timeout_s=float(sys.argv[2]), actor="caller")
store.status()
print("calling", flush=True)
sys.stdin.readline()
try:
    store.tasks.create(title="from the caller")
    store.tasks.next_id()
    print("done")
except holdfast.HoldfastError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def slow_daemon(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> DaemonProcess:
    """A daemon that delays every commit before writing it."""
    monkeypatch.setenv("HOLDFAST_FAILPOINTS", f"writer.before_commit=sleep:{HOLD_S}")
    daemon: DaemonProcess = request.getfixturevalue("own_daemon")
    return daemon


@contextmanager
def caller(daemon: DaemonProcess, timeout_s: float) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for a line before its first write."""
    command = [sys.executable, "-c", CALLER, str(daemon.socket_path), str(timeout_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "calling\n"
        yield process
        if process.poll() is None:
            process.kill()


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@contextmanager
def writer_held(store: holdfast.Store) -> Iterator[threading.Thread]:
    """Runs a commit that is delayed in the writer, so that other commits queue. On exit it waits for that commit."""
    held = threading.Thread(target=store.tasks.create, kwargs={"title": "held"})
    held.start()
    time.sleep(HOLD_S / 4)
    yield held
    held.join()


def assert_no_trace(store: holdfast.Store) -> None:
    """Only the delayed commit was applied, and the next one gets the next revision and the next id."""
    assert [each.title for each in store.tasks.list()] == ["held"]
    assert {each.actor for each in store.audit.query()} == {"keeper"}
    revision = store.status().revision
    assert store.tasks.create(title="next").id == "TASK-002"
    assert store.status().revision == revision + 1
    assert [each.reason for frame in store.verify() for each in frame.problems] == []


def test_a_deadline_that_passes_in_the_queue(slow_daemon: DaemonProcess) -> None:
    with holdfast.connect(slow_daemon.socket_path, actor="keeper") as store, caller(slow_daemon, HOLD_S / 4) as process:
        with writer_held(store):
            let_go(process)
            assert process.communicate(timeout=20)[0] == "DeadlineExceeded\n"
        assert_no_trace(store)


def test_the_deadline_of_a_single_call(slow_daemon: DaemonProcess) -> None:
    """A shorter timeout on the same connection; the connection's other calls keep theirs."""
    with holdfast.connect(slow_daemon.socket_path, actor="keeper") as store:
        impatient = store.with_timeout(HOLD_S / 8)
        with writer_held(store):
            for call in (lambda: impatient.tasks.create(title="late"), impatient.tasks.next_id):
                began = time.monotonic()
                with pytest.raises(holdfast.DeadlineExceeded):
                    call()
                assert HOLD_S / 10 < time.monotonic() - began < HOLD_S / 2
        assert_no_trace(store)


def test_a_caller_that_is_killed_in_the_queue(slow_daemon: DaemonProcess) -> None:
    with holdfast.connect(slow_daemon.socket_path, actor="keeper") as store, caller(slow_daemon, 30.0) as process:
        with writer_held(store) as held:
            let_go(process)
            while not store.status().queued_commits:
                assert held.is_alive(), "the delayed commit ended before the call was queued"
            process.kill()
        assert_no_trace(store)


def test_a_caller_that_waits_gets_its_answer(slow_daemon: DaemonProcess) -> None:
    with holdfast.connect(slow_daemon.socket_path, actor="keeper") as store, caller(slow_daemon, 30.0) as process:
        with writer_held(store):
            let_go(process)
        assert process.communicate(timeout=20)[0] == "done\n"
        assert [each.title for each in store.tasks.list()] == ["held", "from the caller"]
        assert store.tasks.next_id() == "TASK-004"
