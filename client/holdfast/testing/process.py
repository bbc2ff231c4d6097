"""Starts and ends the daemon of a test. The daemon ends when its standard input does, so it never outlives the test's process."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from holdfast.errors import StartFailed
from holdfast.wire import forks
from holdfast.wire.autostart import absent_modules, answers, daemon_environment

START_S = 20.0
END_S = 15.0
POLL_S = 0.005


class DaemonProcess:
    """A daemon with a store in memory. Its directory, with the socket and the log, is gone when it has ended."""

    def __init__(self) -> None:
        if absent := absent_modules():
            raise StartFailed(
                f"holdfast.testing needs the daemon, which is not installed here (there is no {', '.join(absent)}): "
                "run `pip install '.[daemon]'` in a checkout of Holdfast.",
                reason="NOT_INSTALLED",
            )
        self._directory = Path(tempfile.mkdtemp(prefix="hf-"))
        self._generation = forks.generation
        try:
            self._process = self._started()
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        forks.register(self)

    def after_fork(self) -> None:
        """In a forked child: closes its end of the pipe, so that the daemon ends with the process that started it."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def await_socket(self) -> Path:
        """Returns the socket once the daemon serves there. Raises StartFailed with the daemon's log."""
        socket_path, deadline = self._directory / "s.sock", time.monotonic() + START_S
        while not answers(socket_path):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise StartFailed(f"The daemon of the test did not start. Its log:\n{self._log_path.read_text()}")
            time.sleep(POLL_S)
        return socket_path

    def end(self) -> None:
        """Ends the daemon and waits for it. Does nothing in a forked child."""
        if self._generation != forks.generation:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _log_path(self) -> Path:
        return self._directory / "log"

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "holdfast.testing.child", str(self._directory)]
        with self._log_path.open("wb") as log:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, cwd="/", env=_environment()
            )


def _environment() -> dict[str, str]:
    """The environment without settings of a daemon, which would be those of the user's own store."""
    ours = ("HOLDFAST_", "PERSIST")
    return {name: value for name, value in daemon_environment().items() if not name.startswith(ours)}
