"""The syncs of the daemon's own files; SQLite syncs the database itself. Only this module calls fsync.

The bytes of a file are durable when the file is synced, its name when the directory that holds it is synced (fsync(2)).
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
from pathlib import Path
from typing import Any

# On macOS, fsync(2) leaves the bytes in the drive's cache, and this command writes that cache out. None on other systems.
_FULL_SYNC: Any = getattr(fcntl, "F_FULLFSYNC", None)
_UNSUPPORTED = (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY)


def sync(descriptor: int) -> None:
    """Makes the bytes of an open file, or the names in an open directory, durable. Raises OSError.

    After an error the page cache can no longer be trusted, so a daemon that serves must stop.
    """
    if _FULL_SYNC is None or not _full_sync(descriptor):
        os.fsync(descriptor)


def sync_file(path: Path) -> None:
    """Makes the bytes of the file durable. Raises OSError."""
    _sync_at(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Makes the names in the directory durable. Raises OSError."""
    _sync_at(path, os.O_RDONLY | os.O_DIRECTORY)


def sync_parents(path: Path) -> None:
    """Makes the directory `path` durable: from the mount point down to its parent, each name in the directory above it."""
    real = path.resolve()
    device = real.stat().st_dev
    below_mount = itertools.takewhile(lambda parent: parent.stat().st_dev == device, real.parents)
    for parent in reversed(list(below_mount)):
        try:
            sync_directory(parent)
        except PermissionError:
            continue  # another user's directory: this user may pass through it, but cannot open it


def _sync_at(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _full_sync(descriptor: int) -> bool:
    """Returns False when the file system does not know the command, for example on a network disk."""
    try:
        fcntl.fcntl(descriptor, _FULL_SYNC)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    return True
