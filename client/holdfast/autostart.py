"""Finds the daemon of the per-user store and starts one when none answers. Called by `connection.py` only.

One client at a time starts: the others wait for the start lock, a `flock` that the kernel releases whatever happens to
its holder. The daemon gets a session of its own and no stdio of ours, so nobody who captures an agent's output hangs on it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from holdfast.address import Place
from holdfast.errors import StartFailed

LOG_LIMIT_BYTES = 1 << 20
LOG_TAIL_BYTES = 4096
POLL_S = 0.01


def answers(socket_path: Path) -> bool:
    """Whether somebody accepts connections at the socket right now."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(socket_path))
        except OSError:
            return False
        return True


def find_or_start(place: Place, *, timeout_s: float, idle_exit_s: int) -> Path:
    """The socket of a daemon that serves the place's store, started here when none did.

    Raises `StartFailed` with the daemon's last log lines when it did not come up within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    if answers(place.described_socket):
        return place.described_socket
    place.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _start_lock(place, deadline):
        return _start(place, deadline, idle_exit_s)


@contextmanager
def _start_lock(place: Place, deadline: float) -> Iterator[None]:
    descriptor = os.open(place.data_dir / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                raise StartFailed(f"Another process has been starting the daemon of {place.data_dir} for too long.")
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(place: Place, deadline: float, idle_exit_s: int) -> Path:
    """Starts the daemon until one serves. One that ends at once may have met another that is just stopping: try again."""
    process: subprocess.Popen[bytes] | None = None
    while True:
        if answers(found := place.described_socket):
            if process is not None:
                _leave_running(process)
            return found
        if process is None:
            process = _spawn(place, idle_exit_s)
        elif process.poll() is not None:
            if not _alive(place.described_pid) or time.monotonic() > deadline:
                raise _failed(place, f"ended with exit code {process.returncode}")
            process = None
            time.sleep(0.1)
        elif time.monotonic() > deadline:
            _leave_running(process)
            raise _failed(place, "did not serve in time")
        time.sleep(POLL_S)


def _spawn(place: Place, idle_exit_s: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "holdfastd", *place.flags, "--socket", str(place.socket_path)]
    if idle_exit_s:
        command += ["--idle-exit", str(idle_exit_s)]
    with _open_log(place) as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/", env=_environment()
        )


def _log_path(place: Place) -> Path:
    return place.data_dir / "daemon.log"


def _environment() -> dict[str, str]:
    """Ours, with the relative parts of PYTHONPATH made absolute, for the daemon works in the root directory."""
    environment = dict(os.environ)
    if search := environment.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in search.split(os.pathsep) if part)
    return environment


def _open_log(place: Place) -> BinaryIO:
    """The log to append to; a long one is put aside first, so that two are the most there ever are."""
    path = _log_path(place)
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _leave_running(process: subprocess.Popen[bytes]) -> None:
    """Reaps the daemon when it ends, however long that takes, so that it leaves no zombie."""
    threading.Thread(target=process.wait, name="holdfast-daemon-reaper", daemon=True).start()


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _failed(place: Place, what: str) -> StartFailed:
    path = _log_path(place)
    tail = path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip() if path.exists() else ""
    return StartFailed(f"The daemon of {place.data_dir} {what}. The end of its log, {path}:\n{tail or '(empty)'}")
