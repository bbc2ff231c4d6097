"""The processes of the demo: the daemon and the agents, each with its log in the demo's directory."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from holdfast.wire.autostart import answers

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 30.0


class ProcessFailed(Exception):
    """A process of the demo failed although it was not killed; the message holds the end of its log."""


class Process:
    """A child process. The demo kills it at its own end at the latest."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._log = log
        self._killed = False
        with log.open("ab") as file:
            self._process = subprocess.Popen([sys.executable, "-m", *command], stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> bool:
        """Whether the process has ended. Raises ProcessFailed when it failed."""
        code = self._process.poll()
        if code and not self._killed:
            raise self.failed(f"ended with exit code {code}")
        return code is not None

    def kill(self) -> bool:
        """Sends SIGKILL and waits. Returns whether the signal ended the process: it may have ended before."""
        self._killed = True
        self._process.kill()
        return self._process.wait() == -signal.SIGKILL

    def stop(self) -> None:
        """Sends SIGTERM and waits. Raises ProcessFailed when the exit code is not 0, or when it takes too long."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self.failed(f"did not stop within {STOP_TIMEOUT_S:g} s") from None
        self.ended()

    def failed(self, how: str) -> ProcessFailed:
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])
        return ProcessFailed(f"{self.name} {how}; the end of {self._log}:\n{tail}")


def socket_of(place: Path) -> Path:
    return place / "socket"


def start_daemon(place: Path) -> Process:
    """Starts a daemon on the demo's store and returns when it serves. Raises ProcessFailed."""
    socket = socket_of(place)
    flags = ("--data-dir", str(place / "store"), "--socket", str(socket))
    daemon = Process("the daemon", ("holdfastd", *flags), place / "daemon.log")
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(socket):
        if daemon.ended() or time.monotonic() > deadline:
            daemon.kill()
            raise daemon.failed("did not begin to serve")
        time.sleep(0.01)
    return daemon


def start_agent(place: Path, name: str, pace_s: float, trajectories: str) -> Process:
    """Starts an agent's process."""
    flags = ("--socket", str(socket_of(place)), "--pace", str(pace_s), "--trajectories", trajectories)
    return Process(name, ("holdfast.demo.agent", str(place), name, *flags), place / f"{name}.log")
