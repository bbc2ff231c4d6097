"""The measured servers, each as a process: the daemon, and the no-op server that it is compared with."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType

import grpc

from holdfast.v1 import admin_service_pb2, record_pb2, store_service_pb2
from holdfast.wire.agreement import Agreement
from holdfast.wire.channel import Stubs, close_channel, open_channel
from tests.bench.plan import Workplace

METADATA = Agreement().metadata
PATIENCE_S = 60.0
POLL_S = 0.001
MOST_MUTATIONS = 1_000  # per commit


class Server:
    """A process that serves gRPC on a Unix socket. The constructor starts it; the end of the `with` block stops it."""

    def __init__(self, command: Sequence[str], socket_path: Path, log: Path) -> None:
        self.socket = socket_path
        self._log = log
        began = time.perf_counter()
        with log.open("ab") as output:
            self._process = subprocess.Popen([sys.executable, "-m", *command], stdin=subprocess.DEVNULL, stderr=output)
        self._await_socket()
        self.stubs: Stubs = open_channel(socket_path)
        self.status()
        self.start_s = time.perf_counter() - began

    @property
    def pid(self) -> int:
        return self._process.pid

    def status(self) -> admin_service_pb2.AdminServiceGetStatusResponse:
        request = admin_service_pb2.AdminServiceGetStatusRequest()
        return self.stubs.admin.GetStatus(request, metadata=METADATA, wait_for_ready=True, timeout=PATIENCE_S)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ends the process and waits for it."""
        close_channel(self.stubs)
        self._process.send_signal(number)
        self._process.wait(PATIENCE_S)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self.stop()
        if error is not None:
            error.add_note(f"The log of {self.socket.name}:\n{self._log.read_text()}")

    def _await_socket(self) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not _accepts(self.socket):
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"{self.socket.name} did not start:\n{self._log.read_text()}")
            time.sleep(POLL_S)


def start_daemon(place: Workplace, name: str = "store") -> Server:
    """Starts the daemon with default settings on the store of that name, which is created if it does not exist."""
    path = place.sockets / f"{name}.sock"
    command = ["holdfastd", "--data-dir", str(place.data / name), "--socket", str(path)]
    return Server(command, path, place.sockets / f"{name}.log")


def start_noop(place: Workplace) -> Server:
    """Starts the no-op server."""
    path = place.sockets / "noop.sock"
    return Server(["tests.bench.noop", str(path)], path, place.sockets / "noop.log")


def make_sessions(server: Server, count: int) -> list[str]:
    """Creates sessions in the daemon's store."""
    return add_records(server, (record_pb2.Record(session=record_pb2.Session(title="bench")) for _ in range(count)))


def add_records(server: Server, records: Iterable[record_pb2.Record]) -> list[str]:
    """Inserts records into the daemon's store, in as many commits as necessary; returns their ids in order."""
    left, ids = iter(records), list[str]()
    while batch := list(islice(left, MOST_MUTATIONS)):
        steps = [store_service_pb2.Mutation(insert=store_service_pb2.Insert(record=each)) for each in batch]
        answer = server.stubs.store.Commit(store_service_pb2.StoreServiceCommitRequest(mutations=steps), metadata=METADATA)
        ids += [each.id for each in answer.results]
    return ids


def grpc_version() -> str:
    return str(grpc.__version__)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
