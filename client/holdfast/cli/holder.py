"""Who holds a daemon's lock file. The kernel knows whether it is held, the file says by whom."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from holdfast.wire.address import Place


@dataclass(frozen=True, slots=True)
class Holder:
    """A daemon that lives: its pid, and the directory that a socket's lock file says it serves."""

    pid: int
    data_dir: Path | None = None

    @property
    def further_locks(self) -> tuple[Path, ...]:
        """The other lock that the file tells of."""
        return () if self.data_dir is None else (self.data_dir / "daemon.json",)

    def serves(self, place: Place) -> bool:
        """Whether it is the daemon of that store. The lock in a data directory tells of none: it is the directory's own."""
        return self.data_dir is None or place.in_memory or place.is_served_from(self.data_dir)


def holder_of(lock_file: Path) -> Holder | None:
    """The daemon that holds the lock; None when nobody does, whatever an earlier daemon left in the file.

    Raises OSError when the file may not be read, as when it belongs to another user.
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
        return None  # it is just being written
    pid, data_dir = found.get("pid"), found.get("data_dir")
    if not isinstance(pid, int) or pid <= 0:
        return None
    return Holder(pid, Path(data_dir) if data_dir else None)
