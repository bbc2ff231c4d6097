"""The directory of the user's sockets, and the check that no other user can put a socket there. Daemon and client use it.

/tmp is open to every user. Another user may create `/tmp/holdfast-UID` first, to listen at the address that this user's clients
look at. Such a directory is refused, and a directory under the user's home is used instead. Once that directory exists, it is
preferred to /tmp, so that another user cannot change the choice again by removing the directory in /tmp.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

SHARED = Path("/tmp")
UNDER_HOME = Path(".local", "state", "holdfast")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def runtime_dir(environment: Mapping[str, str]) -> Path:
    """The directory of the user's sockets: the first of `runtime_dirs` that has no fault, or that can be created.

    A directory that others can rename is used only if there is no other. If all are refused, returns the last one, and the
    process that creates the socket reports its fault. Changes nothing.
    """
    candidates = runtime_dirs(environment)
    usable = [each for each in candidates if not fault_of(each) and _can_exist(each)]
    fixed = [each for each in usable if not _others_can_rename(each)]
    return (fixed or usable or candidates[-1:])[0]


def runtime_dirs(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The candidates: `$XDG_RUNTIME_DIR/holdfast`, `/tmp/holdfast-UID`, and `.local/state/holdfast` in the user's home.

    The XDG specification requires XDG_RUNTIME_DIR to be absolute and to belong to the user; otherwise it is ignored.
    """
    own, given = os.geteuid(), Path(environment.get("XDG_RUNTIME_DIR", ""))
    offered = [given / "holdfast"] if given.is_absolute() and given.is_dir() and given.stat().st_uid == own else []
    shared, in_home = SHARED / f"holdfast-{own}", home(environment) / UNDER_HOME
    return (*offered, *((in_home, shared) if in_home.is_dir() else (shared, in_home)))


def fault_of_all(environment: Mapping[str, str]) -> str:
    """Why none of `runtime_dirs` can be used; empty if one can."""
    faults = [fault_of(each) or ("" if _can_exist(each) else f"{each} cannot be created") for each in runtime_dirs(environment)]
    return "; ".join(faults) if all(faults) else ""


def home(environment: Mapping[str, str]) -> Path:
    """The directory that `HOME` names, else the user's home in the password database."""
    given = Path(environment.get("HOME", ""))
    return given if given.is_absolute() else entered_home()


def entered_home() -> Path:
    """The user's home in the password database, the same for all of the user's processes."""
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:  # in a container, the user may have no entry
        return Path("/")


def fault_of(directory: Path, owners: Collection[int] = (), others_write: int = _OTHERS_WRITE) -> str:
    """Why users besides this one and `owners` (user ids) could put files into the directory; empty if they cannot.

    `others_write` is the mode bits that must not be set. A directory that does not exist has no fault.
    """
    try:
        # The owner of a symbolic link can change its target later, so link and target are both checked.
        link, found = directory.lstat(), directory.stat()
    except FileNotFoundError:
        return f"{directory} is a symbolic link to nothing" if directory.is_symlink() else ""
    except OSError as error:
        return f"{directory} cannot be read ({error.strerror})"
    if not stat.S_ISDIR(found.st_mode):
        return f"{directory} is not a directory"
    for owner in (link.st_uid, found.st_uid):
        if owner not in (os.geteuid(), *owners):
            return f"The directory {directory} belongs to user {owner}, not to {os.geteuid()}"
    return f"Others can write to the directory {directory}" if found.st_mode & others_write else ""


def _others_can_rename(directory: Path) -> bool:
    """Whether an ancestor lets every user rename what it contains: writable for all, without the sticky bit."""
    modes = [each.stat().st_mode for each in _existing_ancestors(directory)]
    return any(mode & stat.S_IWOTH and not mode & stat.S_ISVTX for mode in modes)


def _can_exist(directory: Path) -> bool:
    return directory.is_dir() or os.access(_existing_ancestors(directory)[0], os.W_OK | os.X_OK)


def _existing_ancestors(directory: Path) -> list[Path]:
    return [each for each in Path(os.path.realpath(directory)).parents if each.is_dir()]
