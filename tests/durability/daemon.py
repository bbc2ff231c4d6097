"""The daemon under test, as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

LEASE_S = 2
# Short intervals, so that every timed job runs in each round.
BUSY_FLAGS = (
    "--lease",
    str(LEASE_S),
    "--sweep-interval",
    "1",
    "--checkpoint-interval",
    "1",
    "--grace",
    "5",
    "--log-level",
    "warning",
)
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
_LOG_LINES = 4


class DaemonFailed(Exception):
    """The daemon ended by itself, without a kill or a failpoint."""


class Child(Protocol):
    """A started process: the part of `subprocess.Popen` that is used here."""

    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...

    def terminate(self) -> None: ...


Start = Callable[[Sequence[str], Path], Child]


def starter(environment: Mapping[str, str] | None = None, program: Sequence[str] = ("-m", "holdfastd")) -> Start:
    """Returns what starts `python PROGRAM ARGUMENTS` with this environment added, and appends its output to a log."""

    def start(arguments: Sequence[str], log: Path) -> Child:
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, *program, *arguments],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    return start


class DaemonProcess:
    """A daemon that listens on `socket` and whose output is appended to `log`."""

    def __init__(self, socket: Path, log: Path, flags: Sequence[str], start: Start) -> None:
        self.socket = socket
        self._log = log
        self._process = start(["--socket", str(socket), *flags], log)

    def wait_until_serving(self) -> bool:
        """True once it serves; False when it was killed before that. Raises DaemonFailed."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.dead():
                return False
            if time.monotonic() > deadline:
                self.kill()
                raise DaemonFailed(f"the daemon did not serve within {START_TIMEOUT_S:g} s; {self._told()}")
            time.sleep(0.005)
        return True

    def dead(self) -> bool:
        """True when the process has ended. Raises DaemonFailed unless SIGKILL or an orderly stop ended it."""
        code = self._process.poll()
        if code not in (None, 0, -signal.SIGKILL):
            raise DaemonFailed(f"the daemon ended with exit code {code}; {self._told()}")
        return code is not None

    def wait_for_death(self, timeout_s: float) -> bool:
        """True when the process ends by itself within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self.dead():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def kill(self) -> None:
        """Sends SIGKILL and waits for the process to end."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> bool:
        """Sends SIGTERM and waits: True after an orderly stop, False when a failpoint killed it. Raises DaemonFailed."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonFailed(f"the daemon did not stop within {STOP_TIMEOUT_S:g} s; {self._told()}") from None
        self.dead()
        return self._process.returncode == 0

    def errors(self) -> list[str]:
        """The lines of the log that tell of an error."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [each for each in lines if "level=error" in each or "level=critical" in each or "Traceback" in each]

    def _told(self) -> str:
        last = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return f"{self._log} ends: {' | '.join(last)}"

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(os.fspath(self.socket))
            except OSError:
                return False
            return True


def on_directory(directory: Path, environment: Mapping[str, str] | None = None) -> DaemonProcess:
    """Starts a daemon: `directory/store` is its data, `directory/s` its socket, `directory/daemon.log` its log."""
    flags = ("--data-dir", str(directory / "store"), *BUSY_FLAGS)
    return DaemonProcess(directory / "s", directory / "daemon.log", flags, starter(environment))
