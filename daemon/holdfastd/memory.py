"""The machine's memory and the process's allocator. `composition.py` and `supervisor.py` use it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfastd.model.budget import Budget

MIB = 2**20
MIN_MEMORY_BYTES, MAX_DEFAULT_BYTES = 256 * MIB, 1024 * MIB
MIN_PERMITS, MAX_PERMITS = 2, 8
MAX_CACHE_BYTES = 64 * MIB
_SHARE = 8  # the default is this part of the machine's memory
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_OWN_SIZES = Path("/proc/self/statm")
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h of glibc
_ARENAS = 2
_MMAP_FROM_BYTES = 256 * 2**10


@dataclass(frozen=True, slots=True)
class Memory:
    """The parts of the memory that the daemon may use for its callers.

    limit_bytes: all parts together. permits: how many messages are received at once. cache_bytes: for contents of blobs that
    later deltas are based on. budget: everything else.
    """

    limit_bytes: int
    permits: int
    cache_bytes: int
    budget: Budget

    @property
    def held_bytes(self) -> int:
        """What is held of the budget now."""
        return self.budget.held_bytes

    @classmethod
    def divided(cls, limit_bytes: int, message_bytes: int, built_bytes: int) -> Memory:
        """Divides the limit: up to an eighth each for the messages being received and for the cache, and `built_bytes` for the
        answers of reads that are being built."""
        permits = min(max(limit_bytes // 8 // message_bytes, MIN_PERMITS), MAX_PERMITS)
        cache_bytes = min(limit_bytes // 8, MAX_CACHE_BYTES)
        return cls(limit_bytes, permits, cache_bytes, Budget(limit_bytes - permits * message_bytes - cache_bytes - built_bytes))


def default_memory_bytes() -> int:
    """An eighth of the memory that this process may use, between 256 MiB and 1 GiB."""
    return min(max(available_bytes() // _SHARE, MIN_MEMORY_BYTES), MAX_DEFAULT_BYTES)


def available_bytes(own_cgroup: Path = _OWN_CGROUP, cgroups: Path = _CGROUPS) -> int:
    """The machine's memory, or the lowest limit of the process's control groups when that is lower."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError):  # not Linux
        for limit in _limit_files(own_cgroup.read_text(encoding="utf-8"), cgroups):
            with suppress(OSError, ValueError):  # the file is missing, or says "max"
                limits.append(int(limit.read_text(encoding="ascii")))
    return min(limits)


def _limit_files(own: str, cgroups: Path) -> Iterator[Path]:
    """The files that may have a limit, by /proc/self/cgroup: of the group and of those around it (cgroups(7))."""
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (cgroups / "memory", "memory.limit_in_bytes") if controllers else (cgroups, "memory.max")
        group = Path(path.lstrip("/"))
        yield from (top / each / name for each in (group, *group.parents))


def tune_allocator() -> None:
    """Makes glibc return freed memory to the system. Does nothing with another C library.

    By default glibc makes up to 8 arenas per core, each of which keeps what its threads once needed, and raises the size from
    which it maps a block of its own to 32 MiB as soon as such a block is freed. Then the freed blocks of large requests stay
    in the heap, below a small block that is still used.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_FROM_BYTES)


def trim_allocator() -> int:
    """Returns the free memory of glibc's arenas to the system. Returns by how many bytes the process became smaller.

    Does nothing with another C library. Callers of malloc in other threads wait meanwhile.
    """
    before = resident_bytes()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return max(0, before - resident_bytes())


def resident_bytes() -> int:
    """The memory that this process occupies now; 0 when the system does not tell."""
    with suppress(OSError):
        pages = int(_OWN_SIZES.read_text(encoding="ascii").split()[1])  # proc(5), statm: the second number
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
