"""The quarantine: files that belong to another store or database, moved out of the way. The daemon never deletes it.

It is `quarantine/TIME` in the directory of what is moved, since a rename does not reach another file system, and the database may
lie on its own. Everything keeps its name below that, so moving it back undoes the move.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from holdfastd import durable, failpoints, logs
from holdfastd.errors import SetupError

log = logs.logger(__name__)


def beside(path: Path) -> Path:
    """The directory of all that was ever moved from the directory of this path."""
    return path.parent / "quarantine"


def refuse_mount_points(paths: Iterable[Path]) -> None:
    """Raises SETUP when one of them cannot be moved because it is a mount point."""
    for path in paths:
        if os.path.ismount(path):
            raise SetupError(
                f"{path} is a mount point, so it cannot be moved. Unmount it, or move its files away, and start again."
            )


class Quarantine:
    """The moves of one start. event: the name of their lines in the log."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._time = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self._files = 0
        self._files_to: Path | None = None

    def move(self, path: Path) -> None:
        """Moves a file or a directory. Durable when it returns."""
        target = next(each for each in _numbered(beside(path) / self._time) if not (each / path.name).exists())
        self._make(target)
        _rename(path, target / path.name)
        failpoints.hit("begin_anew.moved")
        durable.sync_directory(target)
        durable.sync_directory(path.parent)
        log.warning(self._event, extra={"moved": path.name, "quarantine": target})

    def move_files(self, root: Path, directory: Path, names: Sequence[str]) -> None:
        """Moves files of a directory below `root`, which stays. Durable when it returns. `tell_of_files` logs how many."""
        if not names:
            return
        self._files_to = self._files_to or next(each for each in _numbered(beside(root) / self._time) if not each.exists())
        target = self._files_to / root.name / directory.relative_to(root)
        self._make(target)
        for name in names:
            _rename(directory / name, target / name)
        failpoints.hit("begin_anew.moved_files")
        durable.sync_directory(target)
        durable.sync_directory(directory)
        self._files += len(names)

    def tell_of_files(self) -> None:
        """Logs how many files `move_files` has moved; nothing if it was none."""
        if self._files_to is not None:
            text = "blob files that the database does not name; to undo it, move them back together with their database and log"
            log.warning(self._event, extra={"moved_files": self._files, "text": text, "quarantine": self._files_to})

    def _make(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.sync_parents(directory)


def _rename(path: Path, target: Path) -> None:
    try:
        os.rename(path, target)
    except OSError as error:  # such as EXDEV from overlayfs
        raise SetupError(f"{path} cannot be moved to {target.parent}: {error.strerror}. Move it away and start again.") from error


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, 10_000):
        yield path.with_name(f"{path.name}-{number}")
