"""Writers that are open when their store is closed, when the program ends, and when they are dropped."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import holdfast
from tests.conftest import DaemonProcess
from tests.end_to_end.daemons import eventually

OPEN = """
    import sys, threading
    import holdfast
    store = holdfast.connect(sys.argv[1], workspace=sys.argv[2], timeout_s=float(sys.argv[4]))
    writer = store.transcripts.writer(sys.argv[3])
    def write(count):
        for number in range(count):
            writer.write(role="response", content=str(number))
"""

CHILD = """
    import multiprocessing
    def work():
        global writer
        writer = store.transcripts.writer(sys.argv[3])
        write(1000)
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
"""


@pytest.fixture
def session_id(store: holdfast.Store) -> str:
    return store.sessions.create(title="s").id


def contents(store: holdfast.Store, session_id: str) -> list[str]:
    return [each.transcript.content for each in store.transcripts.read(session_id)]


def run_program(
    body: str, daemon: DaemonProcess, workspace: str, session_id: str, timeout_s: float = 30
) -> subprocess.CompletedProcess[str]:
    text = textwrap.dedent(OPEN) + textwrap.dedent(body)
    command = [sys.executable, "-W", "error", "-c", text, str(daemon.socket_path), workspace, session_id, str(timeout_s)]
    return subprocess.run(command, timeout=60, capture_output=True, text=True)


def test_close_stores_what_an_open_writer_holds(daemon: DaemonProcess, store: holdfast.Store, session_id: str) -> None:
    other = holdfast.connect(daemon.socket_path, workspace=store.workspace)
    writer = other.transcripts.writer(session_id)
    for number in range(1000):
        writer.write(role="response", content=str(number))
    other.close()
    assert contents(store, session_id) == [str(number) for number in range(1000)]
    with pytest.raises(holdfast.Closed):
        writer.write(role="response")
    other.close()


def test_close_raises_what_kept_entries_from_being_stored(daemon: DaemonProcess, store: holdfast.Store, session_id: str) -> None:
    other = holdfast.connect(daemon.socket_path, workspace=store.workspace)
    lost, kept = other.transcripts.writer("nobody"), other.transcripts.writer(session_id)
    lost.write(role="response")
    kept.write(role="response", content="kept")
    with pytest.raises(holdfast.ParentNotFound) as raised:
        other.close()
    assert raised.value.__notes__ == ["Of 1 entries written to the transcript of session nobody, 0 are durable."]
    assert contents(store, session_id) == ["kept"]
    with pytest.raises(holdfast.Closed):
        other.tasks.count()
    with pytest.raises(KeyError) as error, holdfast.connect(daemon.socket_path, workspace=store.workspace) as again:
        dropped = again.transcripts.writer("nobody")
        dropped.write(role="response")
        raise KeyError("x")
    assert "Closing the store failed" in error.value.__notes__[0] and "0 are durable" in error.value.__notes__[0]


def test_close_waits_no_longer_than_the_timeout(own_daemon: DaemonProcess) -> None:
    store = holdfast.connect(own_daemon.socket_path, timeout_s=1)
    writer = store.transcripts.writer(store.sessions.create(title="s").id)
    pid = store.status().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        writer.write(role="response")
        began = time.monotonic()
        with pytest.raises(holdfast.HoldfastError) as raised:
            store.close()
        assert time.monotonic() - began < 5
        assert "0 are durable" in " ".join((str(raised.value), *getattr(raised.value, "__notes__", ())))
    finally:
        os.kill(pid, signal.SIGCONT)


def test_close_in_the_writers_own_thread_says_so(daemon: DaemonProcess, store: holdfast.Store, session_id: str) -> None:
    other = holdfast.connect(daemon.socket_path, workspace=store.workspace)

    def flush(_: object) -> None:
        writer.write(role="response")
        writer.flush()

    writer = other.transcripts.writer(session_id, on_acknowledged=flush)
    writer.write(role="response")
    assert eventually(lambda: writer._error is not None)
    with pytest.raises(RuntimeError, match="on_acknowledged"):
        other.close()


@pytest.mark.parametrize(
    "body",
    [
        "write(1000)",
        "threading.Thread(target=write, args=(1000,)).start()",
        "import time; threading.Thread(target=lambda: (time.sleep(0.3), write(1000))).start()",
        CHILD,
        "write(1000); sys.exit(3)",
    ],
)
def test_the_end_of_a_program_stores_what_an_open_writer_holds(
    daemon: DaemonProcess, store: holdfast.Store, session_id: str, body: str
) -> None:
    ended = run_program(body, daemon, store.workspace, session_id)
    assert (ended.returncode, ended.stderr) == (3 if "exit" in body else 0, "")
    assert contents(store, session_id) == [str(number) for number in range(1000)]


def test_a_nul_character_in_metadata_costs_only_its_entry(store: holdfast.Store, session_id: str) -> None:
    with store.transcripts.writer(session_id) as writer:
        writer.write(role="note", content="before")
        for metadata in ({"k": "a\0b"}, {"a\0b": 1}, {"k": "\\\0"}):
            with pytest.raises(holdfast.InvalidArgument, match="metadata holds a NUL"):
                writer.write(role="note", metadata=metadata)
        writer.write(role="note", content="after", metadata={"k": "\\u0000"})
    assert contents(store, session_id) == ["before", "after"]
    with pytest.raises(holdfast.InvalidArgument, match="metadata holds a NUL"):
        store.transcripts.append(session_id, role="note", metadata=["\0"])


def test_the_end_of_a_program_says_what_is_lost(own_daemon: DaemonProcess) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        session_id = store.sessions.create(title="s").id
        pid = store.status().pid
    ended = run_program(f"import os, signal; os.kill({pid}, signal.SIGKILL); write(9)", own_daemon, "default", session_id, 0.5)
    assert ended.stderr.count("Of 9 entries written") == 1 and "are lost at the end" in ended.stderr, ended.stderr


def test_a_forked_child_leaves_its_parents_writers_alone(daemon: DaemonProcess, store: holdfast.Store, session_id: str) -> None:
    body = """
        import os
        write(1000)
        if os.fork() == 0:
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    """
    ended = run_program(body, daemon, store.workspace, session_id)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert contents(store, session_id) == [str(number) for number in range(1000)]


def drop(open_writers: list[holdfast.TranscriptWriter]) -> None:
    """Its error and its thread's frames refer to the writer, so the garbage collector frees it."""
    open_writers.clear()
    gc.collect()


def test_a_writer_dropped_after_an_unseen_error_warns(store: holdfast.Store) -> None:
    open_writers = [store.transcripts.writer("nobody")]
    for _ in range(3):
        open_writers[0].write(role="response")
    assert eventually(lambda: open_writers[0]._error is not None)
    with pytest.warns(ResourceWarning, match="Of 3 entries written to the transcript of session nobody, 0 are durable"):
        drop(open_writers)
