"""The daemon under test, as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.crash.deaths import Death

LEASE_S = 2
# Short intervals, so that every timed job runs in each round.
FLAGS = ("--lease", str(LEASE_S), "--sweep-interval", "1", "--checkpoint-interval", "1", "--grace", "5", "--log-level", "warning")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


class DaemonFailed(Exception):
    """The daemon ended by itself, without a kill or a failpoint."""


class DaemonProcess:
    """One daemon per directory: `directory/store` is its data, `directory/s` its socket, `directory/daemon.log` its log."""

    def __init__(self, directory: Path, death: Death | None = None) -> None:
        self.socket = directory / "s"
        self._log = directory / "daemon.log"
        environment = {**os.environ, "HOLDFAST_FAILPOINTS": death.environment if death else ""}
        command = [
            sys.executable,
            "-m",
            "holdfastd",
            "--data-dir",
            str(directory / "store"),
            "--socket",
            str(self.socket),
            *FLAGS,
        ]
        with self._log.open("ab") as log:
            log.write(f"--- {death or 'no death'}\n".encode())
            log.flush()
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until_serving(self) -> bool:
        """True once it serves; False when it was killed before that. Raises DaemonFailed."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.dead():
                return False
            if time.monotonic() > deadline:
                self.kill()
                raise DaemonFailed(f"the daemon did not serve within {START_TIMEOUT_S:g} s; {self._log}")
            time.sleep(0.005)
        return True

    def dead(self) -> bool:
        """True when the process has ended. Raises DaemonFailed unless SIGKILL or an orderly stop ended it."""
        code = self._process.poll()
        if code not in (None, 0, -signal.SIGKILL):
            raise DaemonFailed(f"the daemon ended with exit code {code}; {self._log}")
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
            raise DaemonFailed(f"the daemon did not stop within {STOP_TIMEOUT_S:g} s; {self._log}") from None
        self.dead()
        return self._process.returncode == 0

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(os.fspath(self.socket))
            except OSError:
                return False
            return True
