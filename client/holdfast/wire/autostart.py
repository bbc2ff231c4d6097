"""Finds the daemon of the per-user store and starts one when none answers. Called by `connection.py` and by the command line.

A socket is used only if no other user can be listening there (`trust.py`), and a daemon only if the data directory that it
reports is that of the place, whatever socket it listens on. One client at a
time starts a daemon: the others wait for the start lock, a `flock`, which the kernel releases when its holder dies. The daemon
runs in a session of its own and does not inherit stdin, stdout or stderr; otherwise a process that captures an agent's output
would wait for the daemon to end.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from holdfast.contract import places
from holdfast.contract.places import fault_of
from holdfast.errors import ResourceExhausted, StartFailed, Unavailable
from holdfast.wire import trust
from holdfast.wire.address import Place
from holdfast.wire.description import check_held, check_regular, read_description
from holdfast.wire.trust import CheckedSocket
from holdfast.wire.trust import answers as answers

if TYPE_CHECKING:
    from holdfast.v1 import admin_service_pb2

LOG_LIMIT_BYTES = 1 << 20
LOG_TAIL_BYTES = 4096
LOG_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # neither a symbolic link nor a FIFO that waits for its other end
POLL_S = 0.01
# The modules that the extra `daemon` installs.
DAEMON_MODULES = ("holdfastd", "grpc_health", "grpc_reflection", "sqlcipher3", "trio")


def find_or_start(place: Place, *, timeout_s: float, idle_exit_s: int) -> CheckedSocket:
    """The socket of a daemon that serves the place's store. Starts the daemon if none does.

    Raises `StartFailed`, with the last lines of the daemon's log, when it does not serve within `timeout_s`, and
    `FailedPrecondition` when `daemon.json` is no regular file, or when a running daemon's cannot be read.
    """
    deadline = time.monotonic() + timeout_s
    if (found := find(place, timeout_s=timeout_s)) is not None:
        return found
    _make_directories(place)
    with _start_lock(place, deadline):
        return _start(place, deadline, idle_exit_s)


def await_running(place: Place, *, timeout_s: float) -> CheckedSocket:
    """The socket of a daemon that serves the place's store; never starts one. Raises Unavailable when none does in time."""
    deadline = time.monotonic() + timeout_s
    while (found := find(place, timeout_s=timeout_s)) is None:
        if time.monotonic() > deadline:
            raise not_running(place)
        time.sleep(POLL_S)
    return found


def not_running(place: Place) -> Unavailable:
    """The error for a store without a daemon. It names the sockets that other users hold.

    Raises FailedPrecondition instead if `daemon.json` cannot be read, because it might name the socket of a running daemon.
    """
    read_description(place.description_path)
    said = f"The daemon of {place.data_dir} is not running. Start it with `holdfast up`.{refusals(place)}"
    return Unavailable(said, reason="NOT_RUNNING")


def refusals(place: Place) -> str:
    """Which sockets of the place were not used because they may be another user's, as the end of a message; empty if none."""
    faults = [fault for each in place.sockets if (fault := trust.refusal(each))]
    if not faults:
        return ""
    return f" Not used: {'; '.join(dict.fromkeys(faults))}. If that is the daemon you mean, give its socket in HOLDFAST_SOCKET."


def find(place: Place, *, timeout_s: float) -> CheckedSocket | None:
    """The socket of a daemon that serves the place's store; None when none does.

    Raises `DeadlineExceeded` when a process accepts connections but does not answer GetStatus within `timeout_s`, and
    `FailedPrecondition` when no daemon is found and `daemon.json` is something that no daemon replaces, such as a directory.
    """
    if (found := _find(place, time.monotonic() + timeout_s)) is None:
        check_regular(place.description_path)
    return found


def _find(place: Place, deadline: float) -> CheckedSocket | None:
    for each in place.sockets:
        if (found := trust.checked(each)) is not None:
            status = _status(each, deadline)
            if status is not None and _serves(status, place):
                return found
    return None


def _serves(status: admin_service_pb2.AdminServiceGetStatusResponse, place: Place) -> bool:
    if place.in_memory or not status.data_dir:
        return place.in_memory and not status.data_dir
    return place.is_served_from(status.data_dir)


def _status(socket_path: Path, deadline: float) -> admin_service_pb2.AdminServiceGetStatusResponse | None:
    """The status of the daemon at a checked socket; None when no daemon listens there any more, or the daemon is stopping."""
    import grpc  # here, because loading it takes long and is not needed where no daemon runs

    from holdfast.v1 import admin_service_pb2
    from holdfast.wire import forks
    from holdfast.wire.channel import close_channel, open_channel
    from holdfast.wire.status import error_of

    request = admin_service_pb2.AdminServiceGetStatusRequest(brief=True)  # states no version; `Connection.open` checks that
    stubs = open_channel(socket_path)
    try:
        while True:
            try:
                with forks.calls:
                    return stubs.admin.GetStatus(request, timeout=max(deadline - time.monotonic(), POLL_S))
            except grpc.RpcError as failure:
                error = error_of(failure)
            if isinstance(error, Unavailable):
                return None
            if not isinstance(error, ResourceExhausted) or time.monotonic() > deadline:
                raise error
            time.sleep(max(error.retry_delay_s, POLL_S))
    finally:
        close_channel(stubs)


def _make_directories(place: Place) -> None:
    """Creates the directories of the sockets and of the store.

    Raises StartFailed if there can be none for the sockets, and if other users can write to that of the store.
    """
    _make_socket_dir(place)
    if not place.start_sockets[0].parent.is_dir() and (faults := places.fault_of_all(os.environ)):
        raise StartFailed(
            f"No daemon is started, because there is no directory for its socket: {faults}. "
            "Start one with `holdfastd --data-dir DIR --socket PATH`, and give PATH in HOLDFAST_SOCKET."
        )
    try:
        place.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        why = f"{place.data_dir} cannot be created ({error.strerror})"
        raise StartFailed(f"No daemon is started: {why}. Give another directory in HOLDFAST_DATA_DIR.") from error
    fault = fault_of(place.data_dir, (trust.ROOT,), stat.S_IWOTH) or (place.in_memory and fault_of(place.data_dir.parent))
    if fault:
        raise StartFailed(f"No daemon is started: {fault}. Give another directory in HOLDFAST_DATA_DIR.")


def _make_socket_dir(place: Place) -> None:
    """Creates the directory before the daemon does. If another user was faster, creates the one that is chosen then."""
    for _ in range(2):
        with suppress(OSError):  # the daemon, which creates it too, reports why it cannot
            place.start_sockets[0].parent.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def _start_lock(place: Place, deadline: float) -> Iterator[None]:
    descriptor = os.open(place.data_dir / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
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


def _start(place: Place, deadline: float, idle_exit_s: int) -> CheckedSocket:
    """Starts a daemon and waits until one serves. Starts another if the first ended because an earlier one was still stopping."""
    process: subprocess.Popen[bytes] | None = None
    while True:
        if (found := _find(place, deadline)) is not None:
            if process is not None:
                _leave_running(process)
            return found
        if process is None:
            process = _spawn(place, _free_socket(place, deadline), idle_exit_s)
        elif process.poll() is not None:
            if not _alive(place.described_pid) or time.monotonic() > deadline:
                check_held(place.description_path)
                raise _failed(place, f"ended with exit code {process.returncode}")
            process = None
            time.sleep(0.1)
        elif time.monotonic() > deadline:
            _leave_running(process)
            raise _failed(place, "did not serve in time")
        time.sleep(POLL_S)


def _free_socket(place: Place, deadline: float) -> Path:
    """The socket for the new daemon. Raises `StartFailed` when daemons of other stores listen at every candidate."""
    _make_socket_dir(place)
    taken = []
    for each in place.start_sockets:
        if fault := trust.refusal(each):
            taken.append(fault)
            continue
        status = _status(each, deadline) if answers(each) else None
        if status is None or _serves(status, place):  # a daemon of this place has come up meanwhile
            return each
        taken.append(f"at {each} the daemon of {status.data_dir or 'a store in memory'} listens")
    raise StartFailed(
        f"The daemon of {place.data_dir} cannot be started: {' and '.join(taken)}. "
        "Stop that, or set HOLDFAST_SOCKET and start a daemon there with `holdfastd --data-dir DIR --socket PATH`."
    )


def absent_modules() -> list[str]:
    """The modules of the daemon that are not installed here."""
    return [each for each in DAEMON_MODULES if importlib.util.find_spec(each) is None]


def _check_installed() -> None:
    """Raises `StartFailed`, with the command to install the daemon, if only the client is installed."""
    if missing := absent_modules():
        raise StartFailed(
            f"The daemon is not installed here (there is no {', '.join(missing)}): "
            "run `pip install '.[daemon]'` in a checkout of Holdfast, or set HOLDFAST_SOCKET to the socket of one that runs."
        )


def _spawn(place: Place, socket_path: Path, idle_exit_s: int) -> subprocess.Popen[bytes]:
    _check_installed()
    command = [sys.executable, "-m", "holdfastd", *place.flags, "--socket", str(socket_path)]
    if idle_exit_s:
        command += ["--idle-exit", str(idle_exit_s)]
    with _open_log(place) as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/", env=daemon_environment()
        )


def _log_path(place: Place) -> Path:
    return place.data_dir / "daemon.log"


def daemon_environment() -> dict[str, str]:
    """The environment of this process with absolute paths in PYTHONPATH, because the daemon's working directory is `/`."""
    environment = dict(os.environ)
    if search := environment.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in search.split(os.pathsep) if part)
    return environment


def _open_log(place: Place) -> BinaryIO:
    """Opens the log for appending. Renames one that is over the limit to `.log.1`, which replaces an older one."""
    path = _log_path(place)
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | LOG_FLAGS, 0o600), "ab")


def _leave_running(process: subprocess.Popen[bytes]) -> None:
    """Waits for the daemon in a thread, so that it does not stay a zombie when it ends before this process."""
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
    tail = _log_tail(_log_path(place)).decode(errors="replace").strip() or "(empty)"
    return StartFailed(f"The daemon of {place.data_dir} {what}.{refusals(place)} The end of its log, {_log_path(place)}:\n{tail}")


def _log_tail(path: Path) -> bytes:
    with suppress(FileNotFoundError), os.fdopen(os.open(path, os.O_RDONLY | LOG_FLAGS), "rb") as log:
        log.seek(max(os.fstat(log.fileno()).st_size - LOG_TAIL_BYTES, 0))
        return log.read(LOG_TAIL_BYTES)
    return b""
