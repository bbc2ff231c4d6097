"""What the use cases of blobs need from the other floors, and their settings."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from holdfastd.model.call import Call
from holdfastd.model.commands import Command

R = TypeVar("R")

GIB = 1024**3
MIB = 1024**2
CHUNK_BYTES = MIB


class Submits(Protocol):
    """The writer."""

    def submit(self, command: Command[R], call: Call) -> R:
        """Applies the command durably and returns its result."""
        ...


class Snapshots(Protocol):
    """The read-only connections."""

    def snapshot(self, call: Call) -> AbstractContextManager[Any]:
        """A connection in a read transaction."""
        ...


@dataclass(frozen=True, slots=True)
class BlobSettings:
    """Limits of blobs, in bytes unless named otherwise."""

    inline_max_bytes: int = 32 * 1024  # stored bytes up to which a blob lies in the database; 0: each has a file
    delta: bool = True
    lease_s: float = 3600.0
    max_blob_bytes: int = 16 * GIB
    delta_max_bytes: int = 64 * MIB  # content or base above it: no delta, for both must be in memory
    cache_bytes: int = 64 * MIB

    @property
    def lease_ns(self) -> int:
        return int(self.lease_s * 1e9)
