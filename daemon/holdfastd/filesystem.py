"""The file systems that hold the store: whether they are local, and how much space is free.

On a network file system `flock` may not exclude other hosts, WAL's shared memory does not work, and fsync guarantees less, so
two daemons could write at once and corrupt the store. The daemon therefore checks before it opens a file of the store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from holdfastd.errors import DiskFull, SetupError
from holdfastd.settings import Settings

MOUNTS = Path("/proc/self/mountinfo")
LOW_DISK_BYTES = 256 * 2**20
RESERVED_DISK_BYTES = 2 * 2**20  # kept for commands that give space back, such as deletes
PLENTY_BYTES = 1 << 30  # with so much free, the growth of the database is not looked at
RESERVED_FOR_CHECKPOINTS = 256 * 2**10  # kept even from these
_RESERVE = f"{RESERVED_DISK_BYTES // 2**20} MiB"

_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fhgfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "prl_fs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"}
)
# FUSE file systems count as remote unless listed here: most of them (sshfs, s3fs, rclone) are, and one that gives no subtype may
# be any of them. `fuseblk` is local: the kernel mounts it only on a block device (ntfs-3g, exfat-fuse).
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.mergerfs", "fuse.gocryptfs", "fuse.encfs"})


def refuse_non_local(settings: Settings) -> None:
    """Raises SETUP when data directory, database or socket is not on a local file system, unless `force_nonlocal` is set."""
    if settings.force_nonlocal:
        return
    places = {settings.socket.parent: "socket", settings.database_path.parent: "persist_db_path", settings.data_dir: "data_dir"}
    for path, name in places.items():
        _refuse_non_local(path, name)


def _refuse_non_local(path: Path, name: str) -> None:
    if (mount := find_mount(path)) is not None and not is_local(mount[1]):
        raise SetupError(
            f"{path} is on a {mount[1]} file system (mounted on {mount[0]}), where file locks and the database's shared memory "
            f"cannot be trusted. Put {name} on a local disk, or set force_nonlocal if only one machine uses it."
        )


def is_local(file_system: str) -> bool:
    """Whether a file system of this type keeps its files on this machine."""
    if file_system == "fuse" or file_system.startswith("fuse."):
        return file_system in _LOCAL_FUSE
    return file_system not in _NETWORK


def find_mount(path: Path) -> tuple[Path, str] | None:
    """The mount point and file system type of `path`, which need not exist yet; None without /proc."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = path.resolve()
    best: tuple[Path, str] | None = None
    for line in lines:  # later mounts cover earlier ones on the same point
        point, file_system = _read_line(line)
        if real.is_relative_to(point) and (best is None or len(point.parts) >= len(best[0].parts)):
            best = (point, file_system)
    return best


def _read_line(line: str) -> tuple[Path, str]:
    """Mount point and file system type, per proc_pid_mountinfo(5): the fifth field, and the first field after a single dash."""
    before, _, after = line.partition(" - ")
    point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), before.split(" ")[4])
    return Path(point), after.split(" ", 1)[0]


class DiskRoom:
    """How much of the store's disk may be taken. Thread-safe.

    growth_bytes: by how much the database may still grow from what is committed (`Engine.growth_bytes`). A checkpoint needs that
    much room, and without checkpoints nothing is ever given back. So nothing else may take it.
    """

    def __init__(self, database_dir: Path, growth_bytes: Callable[[], int]) -> None:
        self._database_dir = database_dir
        self._growth_bytes = growth_bytes

    def spare_bytes(self, directory: Path) -> int:
        """What an upload may take on the disk of `directory`; negative when less is free than is kept."""
        return _free_bytes(directory) - self._growth_bytes() - RESERVED_DISK_BYTES

    def has_room(self) -> bool:
        """Whether there is room for commands that do not free space."""
        return self._has(RESERVED_DISK_BYTES)

    def has_room_to_free(self) -> bool:
        """Whether there is room for commands that free space. When there is none, the next checkpoint makes some."""
        return self._has(RESERVED_FOR_CHECKPOINTS)

    def has_room_for_log(self) -> bool:
        """Whether the log may stay after a checkpoint: the database has grown then, and the log still counts as growth."""
        return self._has(RESERVED_DISK_BYTES, growths=2)

    def shortage(self) -> str:
        """What works on the full disk and what makes room; empty while there is room for every command."""
        if self.has_room():
            return ""
        if self.has_room_to_free():
            return f"only reads and deletes work. {self._remedy(RESERVED_DISK_BYTES)}"
        return f"only reads work, and deletes are refused too. {self._remedy(RESERVED_FOR_CHECKPOINTS)}"

    def refusal(self, *, frees: bool) -> DiskFull:
        """The error for a command that there is no room for. `frees`: it would have freed space."""
        reserve = RESERVED_FOR_CHECKPOINTS if frees else RESERVED_DISK_BYTES
        what = "The disk is full, also for deletes" if frees else "The disk is full"
        delay_s = 1.0 if _free_bytes(self._database_dir) + self._growth_bytes() >= reserve else 5.0  # the next checkpoint is near
        return DiskFull(f"{what}; nothing was written. {self._remedy(reserve)}", retry_delay_s=delay_s)

    def _remedy(self, reserve: int) -> str:
        free, log = _free_bytes(self._database_dir), self._growth_bytes()
        kept = f"{free // 2**10:,} KiB are free; {reserve // 2**10:,} KiB and the size of the log ({log // 2**10:,} KiB) must be."
        outside = "ree space on this disk outside the store."
        if free >= reserve:
            return f"{kept} The next checkpoint makes room: try again soon."
        if free + log >= reserve:
            return f"{kept} The next checkpoint may make room: try again soon; if that does not help, f{outside}"
        if self.has_room_to_free():
            return f"{kept} Delete records and run the sweep, or f{outside}"
        return f"{kept} F{outside}"

    def _has(self, reserve: int, growths: int = 1) -> bool:
        free = _free_bytes(self._database_dir)
        return free >= reserve + PLENTY_BYTES or free >= reserve + growths * self._growth_bytes()


def low_disk_warnings(settings: Settings, room: DiskRoom) -> list[str]:
    """The warning of `GetStatus` about a disk that is nearly full; empty while there is room."""
    if text := room.shortage():
        return [f"The disk of {settings.data_dir} is full: {text}"]
    free = _free_bytes(settings.database_path.parent)
    if free < LOW_DISK_BYTES:
        left = f"The disk of {settings.data_dir} has {free // 2**20} MiB left."
        return [f"{left} Writes are refused unless {_RESERVE} and the size of the database's log are free."]
    return []


def _free_bytes(directory: Path) -> int:
    try:
        found = os.statvfs(directory)
    except FileNotFoundError:
        return 1 << 62  # the directory was removed; what is written next, or the check after the COMMIT, reports that
    return found.f_bavail * found.f_frsize
