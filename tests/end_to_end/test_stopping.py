"""How the daemon ends: in order, at once, when idle, when a call hangs, and when a sync fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from holdfast.v1 import blob_service_pb2, blob_service_pb2_grpc, record_pb2, store_service_pb2, store_service_pb2_grpc
from holdfastd.daemon import EXIT_STUCK, EXIT_SYNC_FAILED, Daemon
from holdfastd.settings import load_settings
from holdfastd.supervisor import REPEAT_S
from tests.end_to_end.daemons import NOT_SERVING, PATIENCE_S, DaemonProcess, Directory, connect, eventually

pytestmark = pytest.mark.slow  # processes of its own


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order(directory: Directory, number: int) -> None:
    daemon = directory.serve()
    store_id = daemon.card()["store_id"]
    assert daemon.end(number) == 0
    assert daemon.card()["clean"] is True
    assert "pid" not in daemon.card()
    assert not daemon.socket.exists()
    assert not (daemon.data_dir / "holdfast.db-wal").exists()
    again = directory.serve()
    assert again.card()["store_id"] == store_id
    assert "unclean" not in again.log()


def commit(daemon: DaemonProcess, **fields: Any) -> Any:
    """Starts a commit of one construct and returns its future."""
    insert = store_service_pb2.Insert(record=record_pb2.Record(construct=record_pb2.Construct(name="x", **fields)))
    request = store_service_pb2.StoreServiceCommitRequest(mutations=[store_service_pb2.Mutation(insert=insert)])
    stub = store_service_pb2_grpc.StoreServiceStub(connect(daemon.socket))
    return stub.Commit.future(request, timeout=PATIENCE_S)


def watch_store(daemon: DaemonProcess) -> Any:
    """Opens a Watch and reads its first frame."""
    stream = store_service_pb2_grpc.StoreServiceStub(connect(daemon.socket)).Watch(
        store_service_pb2.StoreServiceWatchRequest(after_revision=0)
    )
    next(stream)
    return stream


def test_a_watch_is_told_and_does_not_hold_the_daemon_up(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--grace", "60")
    commit(daemon).result()
    stream = watch_store(daemon)
    assert daemon.end() == 0
    with pytest.raises(grpc.RpcError) as caught:
        for _ in stream:
            pass
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "calls_cut_off" not in daemon.log()


def test_health_says_so_first_and_its_watchers_do_not_hold_the_daemon_up(
    directory: Directory, watching: Callable[[DaemonProcess], Any]
) -> None:
    daemon = directory.serve("store", "run/s.sock", "--grace", "60")
    stream = watching(daemon)
    daemon.process.send_signal(signal.SIGTERM)
    assert next(stream).status == NOT_SERVING
    assert daemon.process.wait(5.0) == 0, daemon.log()
    assert daemon.card()["clean"] is True


def test_a_running_commit_is_finished_and_acknowledged(directory: Directory) -> None:
    daemon = directory.serve(HOLDFAST_FAILPOINTS="writer.before_commit=sleep:1")
    future = commit(daemon)
    time.sleep(0.5)
    assert daemon.end() == 0, daemon.log()
    assert future.result().revision == 1


def test_a_call_that_hangs_is_cut_off_after_the_grace(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--grace", "0.5")
    release = threading.Event()

    def frames() -> Any:
        yield blob_service_pb2.BlobServicePutRequest(header=blob_service_pb2.BlobPutHeader())
        release.wait(PATIENCE_S)

    future = blob_service_pb2_grpc.BlobServiceStub(connect(daemon.socket)).Put.future(frames())
    time.sleep(0.5)
    began = time.monotonic()
    assert daemon.end() == 0, daemon.log()
    assert 0.4 < time.monotonic() - began < 5.0
    release.set()
    assert future.exception() is not None
    assert "event=calls_cut_off" in daemon.log()
    assert "event=call_failed" not in daemon.log()
    assert daemon.card()["clean"] is True


def test_a_second_signal_ends_at_once(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--grace", "60", HOLDFAST_FAILPOINTS="writer.before_commit=sleep:30")
    future = commit(daemon)
    time.sleep(0.5)
    daemon.process.send_signal(signal.SIGTERM)
    assert eventually(lambda: "event=stopping" in daemon.log())
    time.sleep(REPEAT_S)
    assert daemon.process.poll() is None
    began = time.monotonic()
    assert daemon.end() == 128 + signal.SIGTERM
    assert time.monotonic() - began < 2.0
    assert future.exception() is not None
    assert "event=stopped_at_once" in daemon.log()
    assert "event=last_stop_was_unclean" in directory.serve().log()


def test_a_writer_that_hangs_does_not_keep_the_daemon(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--grace", "0.3", HOLDFAST_FAILPOINTS="writer.before_commit=sleep:30")
    future = commit(daemon)
    time.sleep(0.5)
    assert daemon.end() == EXIT_STUCK
    assert future.exception() is not None
    assert "event=writer_not_drained" in daemon.log()
    assert "event=last_stop_was_unclean" in directory.serve().log()


FROZEN = """\
import sys, threading
from tests.end_to_end.daemons import connect
from holdfast.v1 import blob_service_pb2, blob_service_pb2_grpc
stub = blob_service_pb2_grpc.BlobServiceStub(connect(sys.argv[1]))
for frame in stub.Get(blob_service_pb2.BlobServiceGetRequest(digest=sys.argv[2])):
    print("x", flush=True)
    threading.Event().wait()
"""
CONTENT = bytes(1 << 20)


def put(daemon: DaemonProcess, chunks: int) -> str:
    """Stores a blob and returns its digest."""
    frames = [blob_service_pb2.BlobServicePutRequest(header=blob_service_pb2.BlobPutHeader())]
    frames += [blob_service_pb2.BlobServicePutRequest(chunk=CONTENT) for _ in range(chunks)]
    with connect(daemon.socket) as channel:
        answer = blob_service_pb2_grpc.BlobServiceStub(channel).Put(iter(frames), timeout=PATIENCE_S)
    return str(answer.digest)


@pytest.fixture
def frozen(directory: Directory) -> Iterator[Callable[[DaemonProcess, str], subprocess.Popen[str]]]:
    """Starts a process that reads the first chunk of a blob, and stops it as Ctrl-Z does."""
    readers: list[subprocess.Popen[str]] = []

    def freeze(daemon: DaemonProcess, digest: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", FROZEN, str(daemon.socket), digest]
        readers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert readers[-1].stdout is not None and readers[-1].stdout.readline() == "x\n"
        readers[-1].send_signal(signal.SIGSTOP)
        return readers[-1]

    yield freeze
    for each in readers:
        each.kill()
        each.communicate()


def test_a_frozen_reader_does_not_hold_the_daemon_up(
    directory: Directory, frozen: Callable[[DaemonProcess, str], subprocess.Popen[str]]
) -> None:
    daemon = directory.serve("store", "run/s.sock", "--grace", "1")
    frozen(daemon, put(daemon, 64))
    time.sleep(0.5)  # the daemon has filled all buffers and waits in gRPC's send
    began = time.monotonic()
    assert daemon.end() == 0, daemon.log()
    assert 0.9 < time.monotonic() - began < 2.0 + 1.0  # the grace, a second, and the end of the process on a busy machine
    assert daemon.card()["clean"] is True
    assert "event=calls_cut_off" in daemon.log()
    # gRPC cannot end a connection while it writes to it, so its server stops only when the door has cut the connection.
    assert "event=server_not_stopped" not in daemon.log()
    assert "unclean" not in directory.serve().log()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def download(digest: str, stream: int) -> bytes:
    """The frames of a call of Get, with uncompressed headers."""
    fields = {":method": "POST", ":scheme": "http", ":path": "/holdfast.v1.BlobService/Get", ":authority": "localhost"}
    fields |= {"content-type": "application/grpc", "te": "trailers"}
    block = b"".join(b"\0%c%b%c%b" % (len(name), name.encode(), len(value), value.encode()) for name, value in fields.items())
    message = blob_service_pb2.BlobServiceGetRequest(digest=digest).SerializeToString()
    return frame(1, 4, stream, block) + frame(0, 1, stream, b"\0" + len(message).to_bytes(4, "big") + message)


def test_a_peer_that_never_reads_does_not_hold_the_daemon_up(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--grace", "1")
    digest = put(daemon, 64)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(daemon.socket))
        # The largest windows: only the socket's buffer ends what gRPC sends.
        windows = frame(4, 0, 0, b"\0\4\x7f\xff\xff\xff") + frame(8, 0, 0, b"\x7f\xff\0\0")
        peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + windows + b"".join(download(digest, each) for each in (1, 3, 5)))
        time.sleep(1.0)
        began = time.monotonic()
        assert daemon.end() == 0, daemon.log()
        assert time.monotonic() - began < 3.0
    assert "event=server_not_stopped" not in daemon.log()
    assert daemon.card()["clean"] is True


NO_MORE_THREADS = """\
import os, threading
start = threading.Thread.start
def limited(self):
    if os.path.exists(os.environ["LIMIT"]):
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = limited
"""


@pytest.mark.parametrize("failpoint", ["", "writer.before_commit=sleep:30"], ids=["in order", "stuck"])
def test_a_stop_needs_no_new_thread(directory: Directory, failpoint: str) -> None:
    directory.path.joinpath("sitecustomize.py").write_text(NO_MORE_THREADS)
    limit = directory.path / "limit"
    environment = {"PYTHONPATH": str(directory.path), "LIMIT": str(limit), "HOLDFAST_FAILPOINTS": failpoint}
    daemon = directory.serve("store", "run/s.sock", "--grace", "0.5", **environment)
    limit.touch()
    future = commit(daemon)
    if failpoint:
        time.sleep(0.5)
        assert daemon.end() == EXIT_STUCK, daemon.log()
    else:
        assert future.result().revision == 1
        assert daemon.end() == 0, daemon.log()
        assert daemon.card()["clean"] is True


def test_an_idle_daemon_ends_and_a_watched_one_does_not(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--idle-exit", "1")
    commit(daemon).result()
    stream = watch_store(daemon)
    with pytest.raises(TimeoutError):
        daemon.wait(1.7)
    stream.cancel()
    assert daemon.wait(PATIENCE_S) == 0
    assert "event=idle" in daemon.log()
    assert daemon.card()["clean"] is True


def test_a_failed_fsync_stops_the_process(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    paths = {"data_dir": str(directory.path / "store"), "socket": str(directory.path / "s.sock")}
    daemon = Daemon(load_settings(paths, {}), end_process=codes.append)
    daemon.open()
    try:
        with connect(directory.path / "s.sock") as channel:
            content = [os.urandom(1 << 20)]
            frames = [blob_service_pb2.BlobServicePutRequest(header=blob_service_pb2.BlobPutHeader())]
            frames += [blob_service_pb2.BlobServicePutRequest(chunk=chunk) for chunk in content]
            monkeypatch.setattr(os, "fsync", refuse)
            with pytest.raises(grpc.RpcError):
                blob_service_pb2_grpc.BlobServiceStub(channel).Put(iter(frames), timeout=PATIENCE_S)
    finally:
        monkeypatch.undo()
        daemon.close()
    assert codes == [EXIT_SYNC_FAILED]


def refuse(descriptor: int) -> None:
    raise OSError(5, "Input/output error")
