"""Finds the daemon that holds a lock file: the flock shows whether it is held, the file's content names the process."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from holdfast.wire.address import Place


@dataclass(frozen=True, slots=True)
class Holder:
    """A running daemon: its pid, and the data directory if a socket's lock file names one."""

    pid: int
    data_dir: Path | None = None

    @property
    def further_locks(self) -> tuple[Path, ...]:
        """The data directory's lock, which the daemon holds as well."""
        return () if self.data_dir is None else (self.data_dir / "daemon.json",)

    def serves(self, place: Place) -> bool:
        """Whether it is the daemon of that store. The lock in a data directory names no directory, as it can only be its own."""
        return self.data_dir is None or place.in_memory or place.is_served_from(self.data_dir)


def holder_of(lock_file: Path) -> Holder | None:
    """Returns the daemon that holds the lock; None if it is free, even if the file still names an earlier daemon.

    Raises OSError when the file cannot be read, for example because it belongs to another user.
    """
    try:
        descriptor = os.open(lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return _read_holder(descriptor) if _is_held(descriptor) else None
    finally:
        os.close(descriptor)


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _read_holder(descriptor: int) -> Holder | None:
    try:
        found = json.loads(os.pread(descriptor, 1 << 16, 0))
    except ValueError:
        return None  # the daemon is still writing it
    pid, data_dir = found.get("pid"), found.get("data_dir")
    if not isinstance(pid, int) or pid <= 0:
        return None
    return Holder(pid, Path(data_dir) if data_dir else None)
