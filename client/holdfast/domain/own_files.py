"""Opens files and directories below a directory without following symbolic links: openat(2) with O_NOFOLLOW for each part.

Directories for contexts lie beside code that others wrote, so a link there may lead anywhere. Paths are relative, with slashes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from holdfast.errors import FailedPrecondition

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO is opened at once instead of waiting for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def opened(root: Path) -> Iterator[int]:
    """Yields a descriptor of the directory. Raises FailedPrecondition if it is a symbolic link; links above it are followed."""
    with _open(root) as descriptor:
        yield descriptor


@contextmanager
def parent_of(root: int, path: str) -> Iterator[tuple[int, str]]:
    """Yields a descriptor of the directory that holds the path, and the last part of the path.

    Raises FailedPrecondition if a directory on the way is a symbolic link, OSError if one is missing.
    """
    first, _, rest = path.partition("/")
    if not rest:
        yield root, first
        return
    with _open(Path(first), root) as below, parent_of(below, rest) as found:
        yield found


def make_parents(root: int, path: str) -> None:
    """Creates the directories on the way to the path that are missing. Raises as `parent_of` does."""
    first, _, rest = path.partition("/")
    if rest:
        with suppress(FileExistsError):
            os.mkdir(first, dir_fd=root)
        with _open(Path(first), root) as below:
            make_parents(below, rest)


def open_file(root: int, path: str) -> BufferedReader | None:
    """Returns the regular file at the path, open for reading; None if there is none, or only a symbolic link leads to one."""
    try:
        with parent_of(root, path) as (parent, name):
            descriptor = os.open(name, _FILE, dir_fd=parent)
    except (OSError, FailedPrecondition):
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    return None


@contextmanager
def _open(path: Path, parent: int | None = None) -> Iterator[int]:
    try:
        descriptor = os.open(path, _DIRECTORY, dir_fd=parent)
    except OSError:
        # The kernel reports a link as ELOOP or ENOTDIR, which also has other causes.
        if _is_link(path, parent):
            said = f"{path} is a symbolic link, which is not followed. Remove it, or give the directory that it leads to."
            raise FailedPrecondition(said, reason="SYMBOLIC_LINK", metadata={"path": str(path)}) from None
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_link(path: Path, parent: int | None) -> bool:
    try:
        return stat.S_ISLNK(os.stat(path, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError:
        return False
