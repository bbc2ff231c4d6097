"""The two locks of a daemon: one for the data directory, one for the socket. The kernel releases both, however it dies.

A lock is an exclusive `flock` on a file whose content tells who holds it. The files stay when the locks are gone:
unlinking a lock file lets two processes hold "the" lock at once. `ensure` is for files that somebody else unlinked.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfastd.errors import SetupError

SOCKET_PATH_MAX_BYTES = 107  # sun_path has 108, one for the final NUL
# A client may probe the lock for a moment to see whether a daemon lives; that must not keep one from starting.
_ATTEMPTS, _PAUSE_S = 10, 0.02


class LockHeld(SetupError):
    """Another process holds the lock. `holder` is what it wrote about itself, empty when it has not yet."""

    reason = "LOCK_HELD"

    def __init__(self, message: str, holder: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.holder = holder


class FileLock:
    """An exclusive lock on `path`, made when missing (0600). One thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._content: Mapping[str, Any] = {}

    @property
    def is_new(self) -> bool:
        """Whether nobody ever wrote into the file. Only while the lock is held."""
        return os.fstat(self._descriptor).st_size == 0

    def acquire(self) -> Mapping[str, Any]:
        """Takes the lock and returns what the last holder left in it; raises LockHeld when another process has it."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_S)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if _try_lock(descriptor) and _is_at(descriptor, self.path):
                self._descriptor = descriptor
                return read_holder(self.path)
            os.close(descriptor)
        raise LockHeld(f"Another process holds {self.path}.", read_holder(self.path))

    def write(self, content: Mapping[str, Any]) -> None:
        """Says in the file who holds it; durable when this returns."""
        self._content = content
        data = json.dumps(content, sort_keys=True).encode() + b"\n"
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, data, 0)
        os.fsync(self._descriptor)

    def ensure(self) -> None:
        """When the file was unlinked or replaced: takes the lock on the new one. Raises LockHeld when that is taken.

        The old lock is kept until the new one is held.
        """
        if _is_at(self._descriptor, self.path):
            return
        old = self._descriptor
        self.acquire()
        os.close(old)
        self.write(self._content)

    def release(self) -> None:
        """Gives the lock up; the file stays. Does nothing when it is not held."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DataDirLock:
    """The lock on a data directory, held for the daemon's life.

    It is on `daemon.json`, which tells clients where the daemon listens, and on the directory itself, so that somebody who
    deletes that file does not let a second daemon in.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._directory = -1
        self._file = FileLock(data_dir / "daemon.json")

    def acquire(self) -> bool:
        """Makes the directory (0700) when missing and takes it. Returns whether the last daemon stopped cleanly."""
        _make_directory(self._data_dir)
        try:
            self._lock_directory()
            left = self._file.acquire()
        except BaseException as error:
            self.release()
            if isinstance(error, LockHeld):
                raise _owned(self._data_dir, error.holder) from error
            raise
        # A new file is empty; one that cannot be read was cut off by a crash.
        return left.get("clean") is True or self._file.is_new

    def _lock_directory(self) -> None:
        self._directory = os.open(self._data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for _ in range(_ATTEMPTS):
            if _try_lock(self._directory):
                return
            time.sleep(_PAUSE_S)
        raise LockHeld(f"Another process holds {self._data_dir}.", read_holder(self._file.path))

    def write(self, content: Mapping[str, Any]) -> None:
        """Publishes `daemon.json`."""
        self._file.write(content)

    def ensure(self) -> None:
        """Puts `daemon.json` back when somebody deleted it."""
        self._file.ensure()

    def release(self) -> None:
        self._file.release()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1


class SocketLock:
    """The lock beside a socket (`SOCKET.lock`), held from before bind until the server is gone."""

    def __init__(self, socket: Path, holder: Mapping[str, Any]) -> None:
        self._socket = socket
        self._holder = holder
        self._file = FileLock(socket.with_name(socket.name + ".lock"))

    def acquire(self) -> None:
        """Checks the socket's directory, makes it (0700) when missing, and takes the lock.

        Raises SETUP when the path is too long for a Unix socket, when the directory belongs to somebody else or others can
        write to it, and LockHeld when another daemon listens there.
        """
        check_socket_path(self._socket)
        _make_directory(self._socket.parent)
        check_socket_dir(self._socket.parent)
        self._guarded(self._file.acquire)
        self._file.write(self._holder)

    def ensure(self) -> None:
        """Makes directory and lock anew when somebody deleted them. Raises as `acquire` does."""
        _make_directory(self._socket.parent)
        check_socket_dir(self._socket.parent)
        self._guarded(self._file.ensure)

    def _guarded(self, take: Any) -> None:
        try:
            take()
        except LockHeld as error:
            who = (
                f"pid {error.holder['pid']}, data directory {error.holder.get('data_dir')}"
                if "pid" in error.holder
                else "pid not known"
            )
            message = f"Another daemon ({who}) listens on {self._socket}. Stop it, or give another --socket."
            raise LockHeld(message, error.holder) from error

    def release(self) -> None:
        self._file.release()


def check_socket_path(socket: Path, private_extra_bytes: int = 4) -> None:
    """Raises SETUP when `socket`, or the private name it is first bound to, is too long for the kernel."""
    length, allowed = len(os.fsencode(socket)), SOCKET_PATH_MAX_BYTES - private_extra_bytes
    if length > allowed:
        raise SetupError(
            f"The socket's path has {length} bytes, but Unix sockets allow {allowed} here. Give a shorter --socket: {socket}"
        )


def check_socket_dir(directory: Path) -> None:
    """Raises SETUP unless the directory is ours and nobody else can put files into it."""
    found = directory.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise SetupError(f"{directory} is not a directory. Give another --socket.")
    # Who owns a symbolic link can point it elsewhere later, so both have to be ours.
    for owner in (directory.lstat().st_uid, found.st_uid):
        if owner != os.geteuid():
            raise SetupError(
                f"The socket's directory {directory} belongs to user {owner}, not to {os.geteuid()}. Give another --socket."
            )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SetupError(
            f"Others can write to the socket's directory {directory}. Run chmod 0700 on it, or give another --socket."
        )


def read_holder(path: Path) -> dict[str, Any]:
    """What a lock file says; empty when it is missing, empty or half written."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _owned(data_dir: Path, holder: Mapping[str, Any]) -> LockHeld:
    who = f"pid {holder['pid']}, socket {holder.get('socket')}" if "pid" in holder else "pid not known"
    return LockHeld(f"Another daemon ({who}) owns {data_dir}. Stop it, or give another --data-dir.", holder)


def _make_directory(path: Path) -> None:
    """Makes the directory (0700) and what is missing above it, durably: acknowledged writes will depend on it."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"The directory {path} cannot be made: {error.strerror}. Give another path.") from error
    for each in missing:
        descriptor = os.open(each.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
