"""Overload with a small memory budget: the daemon's peak stays below it, other callers are served, memory is given back.

The peak is the kernel's (VmHWM), so it has everything: the interpreter, the page caches of SQLite, gRPC's buffers.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.v1 import blob_service_pb2, blob_service_pb2_grpc, record_pb2, store_service_pb2_grpc
from holdfast.v1 import store_service_pb2 as pb
from tests.end_to_end.daemons import DaemonProcess, Directory, eventually
from tests.support.api import Api

pytestmark = pytest.mark.slow  # seconds of load each

MIB = 2**20
BUDGET_BYTES = 256 * MIB
BESIDE_BYTES = 150_000_000  # the process itself
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
FROZEN_LISTS = """
import grpc, os, signal, sys
from holdfast.v1 import store_service_pb2 as pb, store_service_pb2_grpc
channel = grpc.insecure_channel("unix:" + sys.argv[1], [("grpc.max_receive_message_length", -1)])
stub = store_service_pb2_grpc.StoreServiceStub(channel)
calls = [stub.List.future(pb.StoreServiceListRequest(kind="task", page_size=3)) for _ in range(int(sys.argv[2]))]
os.kill(os.getpid(), signal.SIGSTOP)
"""

Begin = Callable[[ExitStack, DaemonProcess], "list[Any]"]


def memory(daemon: DaemonProcess, name: str) -> int:
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def channel_to(exits: ExitStack, daemon: DaemonProcess) -> grpc.Channel:
    return exits.enter_context(grpc.insecure_channel(f"unix:{daemon.socket}", OPTIONS))


def commit_of(mib: int) -> pb.StoreServiceCommitRequest:
    record = record_pb2.Record(task={"title": "large", "description": "x" * (2 * MIB - 1_000)})
    return pb.StoreServiceCommitRequest(mutations=[pb.Mutation(insert=pb.Insert(record=record)) for _ in range(mib // 2)])


def fill(daemon: DaemonProcess, mib: int) -> None:
    with ExitStack() as exits:
        stub: Any = store_service_pb2_grpc.StoreServiceStub(channel_to(exits, daemon))
        for _ in range(mib // 10):
            stub.Commit(commit_of(10), timeout=60)


def large_commits(exits: ExitStack, daemon: DaemonProcess) -> list[Any]:
    request = commit_of(14)
    stubs: list[Any] = [store_service_pb2_grpc.StoreServiceStub(channel_to(exits, daemon)) for _ in range(3)]
    return [stubs[number % 3].Commit.future(request, timeout=60) for number in range(45)]


def unread_scans(exits: ExitStack, daemon: DaemonProcess) -> list[Any]:
    stub: Any = store_service_pb2_grpc.StoreServiceStub(channel_to(exits, daemon))
    return [stub.Scan(pb.StoreServiceScanRequest(lists=[pb.ScanList(kind="task")]), timeout=60) for _ in range(12)]


def unread_lists(exits: ExitStack, daemon: DaemonProcess) -> list[Any]:
    child = subprocess.Popen([sys.executable, "-c", FROZEN_LISTS, str(daemon.socket), "300"])
    exits.callback(child.wait)
    exits.callback(child.kill)
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WSTOPSIG(status) == signal.SIGSTOP
    return []


def uploads_with_a_base(exits: ExitStack, daemon: DaemonProcess) -> list[Any]:
    stub: Any = blob_service_pb2_grpc.BlobServiceStub(channel_to(exits, daemon))
    base = stub.Put(iter(frames("", 3)), timeout=60).digest
    return [stub.Put.future(frames(base, 40), timeout=60) for _ in range(16)]


def frames(base: str, mib: int) -> Iterator[blob_service_pb2.BlobServicePutRequest]:
    yield blob_service_pb2.BlobServicePutRequest(header=blob_service_pb2.BlobPutHeader(base_digest=base))
    for _ in range(mib):
        yield blob_service_pb2.BlobServicePutRequest(chunk=b"k" * MIB)


@pytest.mark.parametrize(
    ("begin", "stored_mib"), [(large_commits, 0), (unread_scans, 100), (unread_lists, 20), (uploads_with_a_base, 0)]
)
def test_the_peak_is_bounded_and_others_are_served(directory: Directory, begin: Begin, stored_mib: int) -> None:
    daemon = directory.serve("store", "run/s.sock", "--memory-max-bytes", str(BUDGET_BYTES))
    fill(daemon, stored_mib)
    with Api(daemon.socket) as honest, ExitStack() as exits:
        parent = honest.insert("session")
        before = memory(daemon, "VmRSS")
        calls = begin(exits, daemon)
        give_up = time.monotonic() + 8
        while time.monotonic() < give_up:
            honest.append(parent, "x")  # raises when it is refused or takes longer than its timeout
        outcomes = Counter(call.code() for call in calls if call.done())
        exits.close()
        assert set(outcomes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert memory(daemon, "VmHWM") <= BUDGET_BYTES + BESIDE_BYTES
        assert eventually(lambda: memory(daemon, "VmRSS") <= before + 100 * MIB)


def test_calls_that_are_reset_at_once_cancel_no_other(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock")
    ended = threading.Event()
    attackers = [threading.Thread(target=begin_and_reset, args=(daemon.socket, ended)) for _ in range(2)]
    with Api(daemon.socket) as honest:
        parent = honest.insert("session")
        for each in attackers:
            each.start()
        give_up = time.monotonic() + 6
        try:
            while time.monotonic() < give_up:
                honest.append(parent, "x")
        finally:
            ended.set()
            for each in attackers:
                each.join()


def begin_and_reset(path: Path, ended: threading.Event) -> None:
    """Writes frames of HTTP/2 (RFC 9113) by hand: gRPC's client begins calls too slowly."""
    get = {":method": "POST", ":scheme": "http", ":path": "/holdfast.v1.StoreService/Get", ":authority": "x"}
    fields = get | {"content-type": "application/grpc", "te": "trailers"}
    headers = b"".join(b"\0%c%b%c%b" % (len(name), name.encode(), len(text), text.encode()) for name, text in fields.items())
    while not ended.is_set():
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):  # the daemon may close it
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
            threading.Thread(target=read_all, args=(connection,)).start()
            for first in range(1, 2**31, 1_000):
                calls = range(first, first + 1_000, 2)
                connection.sendall(b"".join(frame(1, 4, each, headers) + frame(3, 0, each, b"\0\0\0\x08") for each in calls))
                if ended.is_set():
                    break


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def read_all(connection: socket.socket) -> None:
    with suppress(OSError):
        while connection.recv(65536):
            pass
