"""The two locks of a daemon: one for the data directory, one for the socket. The kernel releases them when the process ends.

A lock is an exclusive `flock` on a file whose content describes the holder. Releasing a lock leaves its file in place: if the
file were unlinked, two processes could lock two files of the same name. `ensure` handles files that others unlinked.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.contract.places import fault_of
from holdfastd import durable
from holdfastd.errors import SetupError
from holdfastd.path_lock import PathLock

HOLDER_MAX_BYTES = 64 * 1024  # more than any holder writes; no more is read
SOCKET_PATH_MAX_BYTES = 107  # sun_path has 108, one for the final NUL
# A client takes the lock for a moment to see whether a daemon runs. Retry, so that a daemon that starts meanwhile does not fail.
_ATTEMPTS, _PAUSE_S = 10, 0.02
_WRITTEN_BYTES = 4096  # the content is padded to a multiple of this, so that writing another content does not change the size
_NOT_REGULAR = {
    errno.ELOOP: "a symbolic link",
    errno.EISDIR: "a directory",
    errno.ENXIO: "a socket or a device",
    errno.EOPNOTSUPP: "a socket or a device",
}


class LockHeld(SetupError):
    """Another process holds the lock. `holder` is what that process wrote into the file; empty when it wrote nothing yet."""

    reason = "LOCK_HELD"

    def __init__(self, message: str, holder: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.holder = holder


class FileLock:
    """An exclusive lock on `path`, which is created when missing (0600). For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._content: Mapping[str, Any] = {}

    def acquire(self) -> Mapping[str, Any]:
        """Takes the lock and returns what the last holder wrote.

        Raises LockHeld when another process has it, SETUP when something other than a regular file is at the path.
        """
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_S)
            descriptor = _open_lock_file(self.path)
            if _try_lock(descriptor) and _is_at(descriptor, self.path):
                self._descriptor = descriptor
                return read_holder(self.path)
            os.close(descriptor)
        raise LockHeld(f"Another process holds {self.path}.", read_holder(self.path))

    def write(self, content: Mapping[str, Any]) -> None:
        """Replaces the file's content, which describes the holder. Durable when this returns.

        The lock is on this file, so no other file can be renamed to its path. One write replaces all of the content, so the file
        is never empty or shorter in between. A power cut may leave sectors of the old content beside sectors of the new one. As
        `clean` sorts first, such a mixture says it only if the first sector does.
        """
        self._content = content
        data = json.dumps(content, sort_keys=True).encode()
        size = (len(data) // _WRITTEN_BYTES + 1) * _WRITTEN_BYTES
        if os.pwrite(self._descriptor, data.ljust(size - 1) + b"\n", 0) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        if os.fstat(self._descriptor).st_size > size:
            os.ftruncate(self._descriptor, size)
        durable.sync(self._descriptor)

    def ensure(self) -> None:
        """Locks the file at the path when it is no longer the file that was locked. Raises LockHeld when another process has it.

        The old file stays locked until the new one is locked.
        """
        if _is_at(self._descriptor, self.path):
            return
        old = self._descriptor
        self.acquire()
        os.close(old)
        self.write(self._content)

    def release(self) -> None:
        """Releases the lock and leaves the file. Does nothing when the lock is not held."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def clean_mark(database: Path) -> dict[str, Any]:
    """The mark in `daemon.json` that the last daemon stopped in order and left nothing to recover. It counts for this file as it
    is now. No program can set a change time (ctime), so a copy that takes the file's place is told from it, even on its inode.
    """
    found = database.stat()
    return {"clean": True, "database": [found.st_ino, found.st_size, found.st_ctime_ns]}


class DataDirLock:
    """The lock on a data directory, held while the daemon runs.

    It locks `daemon.json`, which tells clients where the daemon listens, the directory itself, so that deleting that file does
    not let a second daemon start, and the directory's path, so that replacing the directory does not either.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._directory = -1
        self._file = FileLock(data_dir / "daemon.json")
        self._path = PathLock(data_dir)
        self.last_was_serving = False  # whether the last holder served a store and did not stop in order
        self.last_store_id = ""  # the store that the last holder served; empty when `daemon.json` does not say it
        self.last: Mapping[str, Any] = {}  # what the last holder wrote

    def acquire(self) -> bool:
        """Creates the directory (0700) when missing and locks it. Returns whether `daemon.json` calls the last stop clean.

        A file that is new, empty or torn does not.
        """
        _make_directory(self._data_dir)
        if not self._file.path.exists():
            # `daemon.json` is made after this, so where it exists, an earlier process has synced the directories. A process that
            # was killed before it made the file may have left directories that are not durable.
            durable.sync_parents(self._data_dir)
        try:
            self._lock_directory()
            left = self._file.acquire()
            if pid := self._path.acquire():
                raise LockHeld(f"Process {pid} serves a directory that was at {self._data_dir} before.", {"pid": pid})
        except BaseException as error:
            self.release()
            if isinstance(error, LockHeld):
                raise _owned(self._data_dir, error.holder) from error
            raise
        self.last = left
        id = left.get("store_id")
        self.last_store_id = id if isinstance(id, str) else ""
        self.last_was_serving = "store_id" in left and "pid" in left
        return left.get("clean") is True

    def _lock_directory(self) -> None:
        self._directory = os.open(self._data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for _ in range(_ATTEMPTS):
            if _try_lock(self._directory):
                return
            time.sleep(_PAUSE_S)
        raise LockHeld(f"Another process holds {self._data_dir}.", read_holder(self._file.path))

    def was_left(self, database: Path) -> bool:
        """Whether the database may be the file that the last holder left: False when it marked another file as clean."""
        return "database" not in self.last or (database.exists() and clean_mark(database).items() <= self.last.items())

    def is_in_place(self) -> bool:
        """Whether the locked directory is still the one at its path."""
        return _is_at(self._directory, self._data_dir)

    def write(self, content: Mapping[str, Any]) -> None:
        """Writes `daemon.json`."""
        self._file.write(content)

    def ensure(self) -> None:
        """Writes `daemon.json` again when it was deleted."""
        self._file.ensure()

    def release(self) -> None:
        self._path.release()
        self._file.release()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1


class SocketLock:
    """The lock beside a socket (`SOCKET.lock`), held from before bind until the server has stopped."""

    def __init__(self, socket: Path, holder: Mapping[str, Any]) -> None:
        self._socket = socket
        self._holder = holder
        self._file = FileLock(socket.with_name(socket.name + ".lock"))

    def acquire(self) -> None:
        """Checks the socket's directory, creating it (0700) when missing, and takes the lock.

        Raises SETUP when the path is too long for a Unix socket, when the directory belongs to another user, or when other
        users can write to it. Raises LockHeld when another daemon listens there.
        """
        check_socket_path(self._socket)
        _make_directory(self._socket.parent)
        check_socket_dir(self._socket.parent)
        self._guarded(self._file.acquire)
        self._file.write(self._holder)

    def ensure(self) -> None:
        """Creates directory and lock file again when they were deleted. Raises as `acquire` does."""
        _make_directory(self._socket.parent)
        check_socket_dir(self._socket.parent)
        self._guarded(self._file.ensure)

    def _guarded(self, take: Any) -> None:
        try:
            take()
        except LockHeld as error:
            who = _named(error.holder, "data directory", "data_dir")
            message = f"Another daemon ({who}) listens on {self._socket}. Stop it, or give another --socket."
            raise LockHeld(message, error.holder) from error

    def release(self) -> None:
        self._file.release()


def check_socket_path(socket: Path, private_extra_bytes: int = 4) -> None:
    """Raises SETUP when `socket`, or the private path it is first bound at, is longer than the kernel allows."""
    length, allowed = len(os.fsencode(socket)), SOCKET_PATH_MAX_BYTES - private_extra_bytes
    if length > allowed:
        raise SetupError(
            f"The socket's path has {length} bytes, but Unix sockets allow {allowed} here. Give a shorter --socket: {socket}"
        )


def check_socket_dir(directory: Path) -> None:
    """Raises SETUP unless the directory belongs to this user and no other user can write to it."""
    if fault := fault_of(directory):
        raise SetupError(f"{fault}. Run chmod 0700 on the socket's directory if it is yours, or give another --socket.")


def read_holder(path: Path) -> dict[str, Any]:
    """The content of a lock file. Empty when there is no regular file, or when its first 64 KiB are not a JSON object."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return {}
        content = json.loads(os.pread(descriptor, HOLDER_MAX_BYTES, 0))
    except (OSError, ValueError, RecursionError):  # RecursionError: deeply nested
        return {}
    finally:
        os.close(descriptor)
    return content if isinstance(content, dict) else {}


def _open_lock_file(path: Path) -> int:
    try:
        # Without O_NONBLOCK, opening a FIFO or a device may wait.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if (what := _NOT_REGULAR.get(error.errno or 0)) is None:
            raise
        raise _not_regular(path, what) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path, "a FIFO or a device")
    return descriptor


def _not_regular(path: Path, what: str) -> SetupError:
    return SetupError(f"The lock file {path} is {what}, not a regular file. Remove it; the daemon makes the file anew.")


def _owned(data_dir: Path, holder: Mapping[str, Any]) -> LockHeld:
    who = _named(holder, "socket", "socket")
    return LockHeld(f"Another daemon ({who}) owns {data_dir}. Stop it, or give another --data-dir.", holder)


def _named(holder: Mapping[str, Any], what: str, key: str) -> str:
    """The holder's pid and one of its paths, for a message. The file may hold anything."""
    pid, path = holder.get("pid"), holder.get(key)
    if not isinstance(pid, int):
        return "pid not known"
    return f"pid {pid}, {what} {path if isinstance(path, str) else 'not known'}"


def _make_directory(path: Path) -> None:
    """Creates the directory (0700) and its missing parents."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"The directory {path} cannot be made: {error.strerror}. Give another path.") from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
