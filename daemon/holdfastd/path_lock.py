"""The lock on a data directory's path, beside the lock on the directory itself (`locks.py`).

When the directory is replaced, the running daemon's lock stays on the old one, so another daemon could lock the new one before
the first daemon notices and ends. This lock is bound to the path: it is an abstract Unix socket (unix(7)), named after the parent
directory and the directory's name, which the kernel frees when the process ends. Abstract sockets exist on Linux only, and each
network namespace has its own. Elsewhere the first daemon still ends within a second (`ground.py`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from holdfastd import logs

# A daemon whose directory was replaced ends within a second; wait for that instead of refusing to start.
PATIENCE_S, _PAUSE_S = 3.0, 0.05

log = logs.logger(__name__)


class PathLock:
    """The lock on the path `directory`, whose parent exists. For one thread at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket: socket.socket | None = None

    def acquire(self, patience_s: float = PATIENCE_S) -> int:
        """Takes the lock and returns 0. After `patience_s`, returns the process id of the daemon of this user that holds it.

        Any user can take an abstract name. So when another user holds it, the daemon goes on without this lock.
        """
        if sys.platform != "linux":
            return 0
        name = _name_of(self._directory)
        give_up = time.monotonic() + patience_s
        while not self._bind(name):
            pid, uid = _holder_of(name)
            is_over = time.monotonic() >= give_up
            if pid and uid == os.geteuid() and is_over:
                return pid
            if is_over or (pid and uid != os.geteuid()):
                log.warning("path_lock_taken", extra={"uid": uid if pid else "unknown", "data_dir": self._directory})
                return 0
            time.sleep(_PAUSE_S)
        return 0

    def release(self) -> None:
        """Releases the lock; does nothing when it is not held."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _bind(self, name: bytes) -> bool:
        bound = socket.socket(socket.AF_UNIX)
        try:
            bound.bind(name)
            bound.listen()
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        self._socket = bound
        return True


def _name_of(directory: Path) -> bytes:
    parent = os.stat(directory.parent)
    text = f"{os.geteuid()} {parent.st_dev} {parent.st_ino} {directory.name}"
    return b"\0holdfast-" + hashlib.sha256(os.fsencode(text)).hexdigest()[:32].encode()


def _holder_of(name: bytes) -> tuple[int, int]:
    """Process and user that listen at the name; zeros when the holder is ending, or is another user's and does not answer.

    The holder accepts no connections, so any user can fill its queue. Then it is looked up among this user's processes.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(name)
        except OSError:
            return _own_holder_of(name), os.geteuid()
        pid, uid, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def _own_holder_of(name: bytes) -> int:
    """The process of this user that has bound the name, as /proc tells; 0 for none."""
    sockets = {f"socket:[{inode}]" for inode in _inodes_of(name)}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended, or belongs to another user
            if process.stat().st_uid == os.geteuid() and not sockets.isdisjoint(_open_in(process)):
                return int(process.name)
    return 0


def _open_in(process: Path) -> Iterator[str]:
    """What the descriptors of a process refer to."""
    for each in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed
            yield os.readlink(each)


def _inodes_of(name: bytes) -> list[str]:
    """The inodes of the sockets bound to an abstract name. Connections that wait in its queue have the inode 0."""
    path = b"@" + name[1:]
    with open("/proc/net/unix", "rb") as file:
        rows = [line.split() for line in file]
    return [row[6].decode() for row in rows if row[7:] == [path] and row[6] != b"0"]
