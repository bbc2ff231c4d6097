"""Finds the daemon that holds a lock file: the flock shows whether it is held, the file's content names the process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import PermissionDenied
from holdfast.wire.address import Place
from holdfast.wire.description import OPEN_FLAGS, check_regular, description_of, is_held, unreadable


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

    Raises PermissionDenied when the file is another user's and may not be read, OSError when it cannot be read for another
    reason, and FailedPrecondition when it is not a lock file.
    """
    try:
        descriptor = os.open(lock_file, OPEN_FLAGS)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise of_another_user(lock_file) or error from None
    except OSError:
        if lock_file.is_symlink():
            raise unreadable(lock_file, "it is a symbolic link") from None
        raise
    try:
        check_regular(lock_file)
        return _read_holder(descriptor, lock_file) if is_held(descriptor) else None
    finally:
        os.close(descriptor)


def of_another_user(lock_file: Path) -> PermissionDenied | None:
    """The error for a daemon that this user may not stop; None if its lock file is this user's own or cannot be examined."""
    try:
        owner = lock_file.lstat().st_uid
    except OSError:
        return None
    if owner == os.geteuid():
        return None
    return PermissionDenied(
        f"{lock_file} belongs to user {owner}: if a daemon runs there, it is that user's. Only user {owner} or root can stop it.",
        metadata={"user": str(owner)},
    )


def _read_holder(descriptor: int, lock_file: Path) -> Holder | None:
    found = description_of(descriptor, lock_file)
    if not found.pid:
        return None  # the daemon is still writing it
    return Holder(found.pid, Path(found.data_dir) if found.data_dir else None)
