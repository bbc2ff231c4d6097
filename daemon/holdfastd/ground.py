"""Compares the files that the daemon holds open with their paths, so that no commit is acknowledged into files that are gone.

After `rm -rf data; cp -a backup data`, SQLite goes on writing to the removed files without an error, and all of that is lost when
the process ends. The writer calls `check` after each COMMIT, before it answers anyone. The supervisor calls it once a second, and
the engine before each checkpoint.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

from holdfastd.errors import StoreReplaced

# A directory's change time (ctime) is renewed whenever an entry is added, removed or renamed, so the entries need a look only
# after that. `cp -a` and `tar -p` restore the modification time; no program can set the change time. A second change within the
# resolution of the file system's clock leaves the same time (ext4 with small inodes: a second). So an unchanged time counts only
# when it was this old at the last look.
SETTLED_NS = 2_500_000_000

_Identity = tuple[int, int]  # device and inode
_Stamp = tuple[int, int, int]  # device, inode and change time of a directory


def replaced(reason: str) -> StoreReplaced:
    """The error that callers get."""
    return StoreReplaced(
        f"The store's files were replaced while the daemon ran: {reason}. Nothing was acknowledged, and the daemon ends; its log "
        "says what to do. Connect again when it runs."
    )


class Ground:
    """The held files and directories of one store, as they are when this is made. Thread-safe.

    It keeps the directories open, and SQLite its files, so that no new file or directory can get the inode number of a held one.

    foreign_write: what another process wrote into a file of the database; empty for nothing (`Engine.foreign_write`).
    on_lost: called once with the reason, and must end the process soon.
    """

    def __init__(self, paths: Iterable[Path], foreign_write: Callable[[], str], on_lost: Callable[[str], None]) -> None:
        self._held = {path: _identity(path) for path in paths}
        for path in self._held:
            if path.is_dir():
                weakref.finalize(self, os.close, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        parents = {path.parent for path in self._held}
        # A held directory needs no look at its parent: its own stamp has its identity.
        self._directories = sorted({str(path.parent) for path in self._held if path not in parents})  # `os.stat` is faster so
        self._foreign_write = foreign_write
        self._on_lost = on_lost
        self._settled: list[_Stamp | None] = []
        self._lock = threading.Lock()
        self._lost = ""

    def check(self) -> None:
        """Returns when all files are still held at their paths. Otherwise calls `on_lost` and raises StoreReplaced.

        Once it has raised, it always raises. Takes a few microseconds: it reads one directory, while that is unchanged.
        """
        reason = self._lost or self._find_difference() or self._foreign_write()
        if reason:
            self._lose(reason)
            raise replaced(reason)

    def _lose(self, reason: str) -> None:
        with self._lock:
            if self._lost:
                return
            self._lost = reason
        self._on_lost(reason)

    def _find_difference(self) -> str:
        # Look at the directories first: what changes after that is seen next time.
        stamps = [_stamp(each) for each in self._directories]
        if stamps == self._settled:
            return ""
        for path, identity in self._held.items():
            if (found := _identity(path)) != identity:
                return f"{path} was {'replaced' if found else 'removed'}"
        bound = time.time_ns() - SETTLED_NS
        self._settled = stamps if all(each is not None and each[2] < bound for each in stamps) else []
        return ""


def _identity(path: Path) -> _Identity | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _stamp(directory: str) -> _Stamp | None:
    try:
        found = os.stat(directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns
