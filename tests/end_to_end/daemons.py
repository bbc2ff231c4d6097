"""Daemons as processes for tests: each in its own directory, started, watched and ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.forker import ForkedDaemon, shared_forker

COMMAND = [sys.executable, "-m", "holdfastd"]
PATIENCE_S = 45.0  # of a busy machine
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def eventually(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_reachable(path: Path) -> bool:
    """True when a daemon answers on the socket over a new connection."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    with connect(path) as channel:
        return is_serving(channel)


def connect(path: Path) -> grpc.Channel:
    """A channel with its own connection."""
    return grpc.insecure_channel(f"unix:{path}", [("grpc.use_local_subchannel_pool", 1)])


def is_serving(channel: grpc.Channel) -> bool:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
    return bool(answer.status == SERVING)


@dataclass
class DaemonProcess:
    process: subprocess.Popen[str] | ForkedDaemon
    data_dir: Path
    socket: Path
    log_path: Path

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")  # gRPC's library logs bytes of callers

    def card(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.data_dir / "daemon.json").read_text())
        return content

    def ended_or_serves(self) -> str:
        assert eventually(lambda: self.process.poll() is not None or "event=serving" in self.log()), self.log()
        return "serves" if self.process.poll() is None else "ended"

    def await_serving(self) -> DaemonProcess:
        assert self.ended_or_serves() == "serves", self.log()
        return self

    def wait(self, timeout_s: float) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


class Directory:
    """A directory with a short path, for sockets. Its daemons are killed with it.

    command: what starts a daemon; by default it is forked from a process that has imported it, which takes a third of the time.
    """

    def __init__(self, path: Path, command: Sequence[str] = ()) -> None:
        self.path = path
        self.command = command
        self.daemons: list[DaemonProcess] = []

    def start(self, data: str = "store", sock: str = "run/s.sock", *flags: str, **environment: str) -> DaemonProcess:
        log_path = self.path / f"{len(self.daemons)}.log"
        arguments = ["--data-dir", str(self.path / data), "--socket", str(self.path / sock), *flags]
        process = self._process(arguments, log_path, os.environ | environment)
        daemon = DaemonProcess(process, self.path / data, self.path / sock, log_path)
        self.daemons.append(daemon)
        return daemon

    def _process(self, arguments: list[str], log_path: Path, environment: dict[str, str]) -> subprocess.Popen[str] | ForkedDaemon:
        log_path.touch()
        if not self.command and shared_forker().can_start(environment):
            return shared_forker().start(arguments, log_path, environment)
        with log_path.open("w") as log:
            return subprocess.Popen([*(self.command or COMMAND), *arguments], stderr=log, env=environment, text=True)

    def serve(self, data: str = "store", sock: str = "run/s.sock", *flags: str, **environment: str) -> DaemonProcess:
        return self.start(data, sock, *flags, **environment).await_serving()

    def refused(self, data: str = "store", sock: str = "run/s.sock", *flags: str, **environment: str) -> str:
        """Starts a daemon that must refuse to start, and returns its output."""
        daemon = self.start(data, sock, *flags, **environment)
        assert daemon.process.wait(PATIENCE_S) == 1, daemon.log()
        return daemon.log()


@contextmanager
def new_directory(command: Sequence[str] = ()) -> Iterator[Directory]:
    """A directory of its own. At the end of the block its daemons are killed and it is removed."""
    made = Directory(Path(tempfile.mkdtemp(prefix="hf-")), command)
    try:
        yield made
    finally:
        for daemon in made.daemons:
            daemon.process.kill()
            daemon.process.wait()
        shutil.rmtree(made.path)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
