"""Reads what a daemon wrote about itself into a lock file: `daemon.json` in its data directory, and `SOCKET.lock`.

Anything may lie at these paths. Reading follows no symbolic link, never blocks and is bounded. A daemon that starts replaces any
content of a regular file, for example what a power cut has left, and refuses all other files.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import FailedPrecondition

LIMIT_BYTES = 64 << 10
# A symbolic link is an error. A FIFO without a writer is opened at once. A terminal does not become the controlling one.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class Description:
    """The process id of a daemon, 0 if none is named, and the paths of its socket and data directory, empty if not named."""

    pid: int = 0
    socket: str = ""
    data_dir: str = ""


def read_description(path: Path) -> Description:
    """The content of a lock file; names nothing if the file is missing or empty. Raises FailedPrecondition for other files."""
    with _opened(path) as descriptor:
        return Description() if descriptor is None else description_of(descriptor, path)


def check_regular(path: Path) -> None:
    """Raises FailedPrecondition for what no daemon replaces: a file that is not regular or that may not be read."""
    with _opened(path) as descriptor:
        if descriptor is not None:
            _check_regular(descriptor, path)


def is_held(descriptor: int) -> bool:
    """Whether another process has locked the file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def check_held(path: Path) -> None:
    """Raises FailedPrecondition if a process has locked the file and its content cannot be read."""
    with _opened(path) as descriptor:
        if descriptor is not None and is_held(descriptor):
            description_of(descriptor, path)


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """The file opened for reading; None if there is none."""
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    except OSError as error:
        raise unreadable(path, "it is a symbolic link" if path.is_symlink() else f"{error.strerror}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_regular(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise unreadable(path, "it is not a regular file")


def description_of(descriptor: int, path: Path) -> Description:
    """As `read_description`, for an open file. `path` is for the message."""
    _check_regular(descriptor, path)
    content = os.pread(descriptor, LIMIT_BYTES + 1, 0)
    if len(content) > LIMIT_BYTES:
        raise _torn(path, f"it is longer than {LIMIT_BYTES >> 10} KiB")
    return _parsed(content, path) if content else Description()


def _parsed(content: bytes, path: Path) -> Description:
    try:
        found = json.loads(content)
    except RecursionError:
        raise _torn(path, "its JSON is nested too deeply") from None
    except ValueError:
        raise _torn(path, "it is not JSON") from None
    if not isinstance(found, dict):
        raise _torn(path, "it is not a JSON object")
    pid, socket, data_dir = found.get("pid", 0), found.get("socket", ""), found.get("data_dir", "")
    if not (type(pid) is int and 0 <= pid < 2**31 and _is_path(socket) and _is_path(data_dir)):
        raise _torn(path, "its `pid`, `socket` or `data_dir` is not one")
    return Description(pid, socket, data_dir)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and (not value or os.path.isabs(value)) and "\0" not in value


def unreadable(path: Path, why: str) -> FailedPrecondition:
    """The error for a lock file that a daemon cannot replace."""
    return _refused(path, why, "If no daemon runs there, remove it (the next daemon creates it again), then repeat the command.")


def _torn(path: Path, why: str) -> FailedPrecondition:
    """The error for the content of a regular file."""
    advice = f"If no daemon runs there, start one: it writes the file anew. If one runs, end its process (`fuser {path}`) first."
    return _refused(path, why, advice)


def _refused(path: Path, why: str, advice: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{path} cannot be read: {why}. A daemon that runs keeps its address in this file. {advice}",
        reason="DAEMON_FILE_UNREADABLE",
        metadata={"path": str(path)},
    )
