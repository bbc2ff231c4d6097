"""Checks that no other user answers at a socket that the client chose itself: a default, or one that `daemon.json` names.

The check is made before the client sends a byte, and again before a call if the socket's directory has changed. In a
directory that only this user can write to, no other user can replace the socket between the check and the connection that gRPC
makes. An address that the user gives is not checked: the user may mean the daemon of another user.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from holdfast.contract.places import fault_of

ROOT = 0
PROBE_TIMEOUT_S = 1.0
# `struct ucred` of unix(7): process id, user id, group id.
_CREDENTIALS = struct.Struct("3i")


_Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class CheckedSocket:
    """A socket that was checked, and the identity of its directory at that time."""

    path: Path
    directory: str
    identity: _Identity

    def is_current(self) -> bool:
        """Whether the directory is still the same, with the same owner and mode. Costs one stat, so each call asks."""
        return _identity(self.directory) == self.identity


def checked(socket_path: Path) -> CheckedSocket | None:
    """The socket, if a process of this user or of root accepts connections there now."""
    directory = os.fspath(socket_path.parent)
    found = CheckedSocket(socket_path, directory, _identity(directory))  # before the check: what changes later is noticed
    return found if not fault_at(socket_path) and _probed(socket_path) == "" else None


def fault_at(socket_path: Path) -> str:
    """Why the socket may be another user's; empty if it is this user's or root's, and if nothing is there.

    Looks at owner and mode of the directory and of the socket. Sends and opens nothing.
    """
    if fault := fault_of(socket_path.parent, (ROOT,)):
        return fault
    try:
        found = socket_path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return f"{socket_path} cannot be read ({error.strerror})"
    if not stat.S_ISSOCK(found.st_mode):
        return f"{socket_path} is not a socket"
    if found.st_uid not in _trusted():
        return f"{socket_path} belongs to user {found.st_uid}, not to {os.geteuid()}"
    return f"Other users can connect to {socket_path} (run chmod 0600 on it)" if found.st_mode & stat.S_IWOTH else ""


def fault_of_peer(connection: socket.socket) -> str:
    """Why the process that listens may be another user's; empty if it is this user's or root's, or the kernel cannot tell.

    The kernel notes the user when the process calls listen(). Only Linux has SO_PEERCRED.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return ""
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return "" if uid in _trusted() else f"User {uid} listens there, not {os.geteuid()}"


def answers(socket_path: Path) -> bool:
    """Whether a process accepts connections at the socket now, of whatever user."""
    return _probed(socket_path) is not None


def refusal(socket_path: Path) -> str:
    """Why the client does not use the socket though something is there; empty if nothing is, or if it would use it."""
    return fault_at(socket_path) or _probed(socket_path) or ""


def _probed(socket_path: Path) -> str | None:
    """The fault of the peer that accepts a connection; None if none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(os.fspath(socket_path))
        except OSError:
            return None
        return fault_of_peer(probe)


def _trusted() -> tuple[int, int]:
    return ROOT, os.geteuid()


def _identity(directory: str) -> _Identity:
    """Device, inode, owner and mode; zeros if the directory does not exist."""
    try:
        found = os.stat(directory)
    except OSError:
        return 0, 0, 0, 0
    return found.st_dev, found.st_ino, found.st_uid, found.st_mode
