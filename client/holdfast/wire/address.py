"""The address of a store: the socket of its daemon and, for the per-user store, its data directory.

Reads `daemon.json`, in which a running daemon writes where it listens. Opens no socket and no other file of a store. Whether a
socket that was found this way may be used is checked by `trust.py`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from holdfast.contract import places
from holdfast.errors import FailedPrecondition, InvalidArgument
from holdfast.wire.description import Description, read_description

SOCKET_VARIABLE = "HOLDFAST_SOCKET"
DATA_DIR_VARIABLE = "HOLDFAST_DATA_DIR"
SOCKET_PATH_LIMIT = 107  # sun_path of unix(7) holds 108 bytes with the terminating zero


@dataclass(frozen=True, slots=True)
class Place:
    """The per-user store: the data directory and the socket of its daemon, and the flags to start the daemon with.

    `data_dir` also holds the start lock and the log of a daemon that a client starts.
    """

    data_dir: Path
    socket_path: Path
    flags: tuple[str, ...]

    @property
    def described_socket(self) -> Path:
        """The socket that `daemon.json` names, else `socket_path`. The daemon of another store may listen there by now."""
        described = self._described()
        return Path(described.socket) if described.socket else self.socket_path

    @property
    def described_pid(self) -> int:
        """The process id in `daemon.json`; 0 without one. The process may have ended."""
        return self._described().pid

    @property
    def own_socket(self) -> Path:
        """The socket to use when the daemon of another store listens at `socket_path`; its name is made from `data_dir`."""
        return self.socket_path.with_name(_own_socket(self.data_dir))

    @property
    def sockets(self) -> tuple[Path, ...]:
        """The sockets at which the store's daemon may listen, the most likely first."""
        return tuple(dict.fromkeys((self.described_socket, *self.start_sockets)))

    @property
    def start_sockets(self) -> tuple[Path, ...]:
        """The sockets at which a new daemon may listen, the preferred first.

        They are in another directory if other users got hold of the one that was chosen first.
        """
        directory = runtime_dir() if places.fault_of(self.socket_path.parent) else self.socket_path.parent
        return tuple(dict.fromkeys((directory / self.socket_path.name, directory / self.own_socket.name)))

    @property
    def in_memory(self) -> bool:
        """Whether the store is in memory. Its daemon then keeps nothing in `data_dir`."""
        return "memory" in self.flags

    def is_served_from(self, data_dir: str | os.PathLike[str]) -> bool:
        """Whether `data_dir` is the directory of this place, symbolic links resolved."""
        return os.path.realpath(data_dir) == os.path.realpath(self.data_dir)

    @property
    def description_path(self) -> Path:
        """The file in which the store's daemon says where it listens."""
        return self.data_dir / "daemon.json"

    def _described(self) -> Description:
        """What `daemon.json` says; nothing if it cannot be read. The other sockets are tried before that is an error."""
        try:
            return read_description(self.description_path)
        except FailedPrecondition:
            return Description()


def explicit_socket(address: str | os.PathLike[str] | None) -> Path | None:
    """The socket that `address` or else `HOLDFAST_SOCKET` names, as a path or `unix:PATH`; None when neither is set."""
    given = os.fspath(address) if address is not None else os.environ.get(SOCKET_VARIABLE, "")
    if not given:
        return None
    for prefix in ("unix://", "unix:"):
        if given.startswith(prefix):
            given = given[len(prefix) :]
            break
    if not given or "://" in given:
        said = f"{address!r}" if address is not None else f"{os.environ[SOCKET_VARIABLE]!r} in {SOCKET_VARIABLE}"
        raise ValueError(f"{said} is not an address: give the path of a Unix socket, or `unix:PATH`.")
    return Path(given).absolute()


def check_socket_path(path: Path) -> None:
    """Raises InvalidArgument for a path that is too long for a Unix socket."""
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        raise InvalidArgument(f"{path} is too long for a Unix socket: {SOCKET_PATH_LIMIT} bytes at most.", reason="TOO_LARGE")


def user_place() -> Place:
    """The per-user store, from `PERSISTENCE`, `HOLDFAST_DATA_DIR`, `PERSIST_DB_PATH` and the XDG variables, in this order."""
    default = _xdg_dir("XDG_DATA_HOME", Path.home() / ".local" / "share") / "holdfast"
    runtime = runtime_dir()
    data_dir, database = os.environ.get(DATA_DIR_VARIABLE, ""), os.environ.get("PERSIST_DB_PATH", "")
    if os.environ.get("PERSISTENCE", "") == "memory":
        return Place(runtime / "memory", runtime / "holdfast-memory.sock", ("--persistence", "memory"))
    if database and not data_dir:
        path = Path(database).absolute()
        beside = path.with_name(path.name + ".d")
        return Place(beside, runtime / _own_socket(beside), ("--persist-db-path", str(path)))
    chosen = Path(data_dir).absolute() if data_dir else default
    socket_name = "holdfast.sock" if chosen == _home() / ".local" / "share" / "holdfast" else _own_socket(chosen)
    return Place(chosen, runtime / socket_name, ("--data-dir", str(chosen)))


def runtime_dir() -> Path:
    """The directory of the user's sockets."""
    return places.runtime_dir(os.environ)


def _home() -> Path:
    """The home whose store has the socket `holdfast.sock`. Stores of processes with another `HOME` have sockets of their own."""
    return places.entered_home()


def _xdg_dir(variable: str, default: Path) -> Path:
    """The directory that the variable names. The XDG specification requires relative paths to be ignored."""
    given = Path(os.environ.get(variable, ""))
    return given if given.is_absolute() else default


def _own_socket(data_dir: Path) -> str:
    """The name of the socket of a store that is not the default one, short enough for the limit of socket paths."""
    return f"holdfast-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}.sock"
