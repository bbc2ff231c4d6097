"""Blobs as every floor knows them: what a row holds, what a Put says, and the commands that the writer applies.

Pure data. `store/blobs.py` applies the commands, `service/blobs.py` makes them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from holdfastd.errors import InvalidArgument

ZSTD = "zstd"
RAW = "raw"
DELTA = "delta"

MAX_DEPTH = 32
STEPS_PER_LEVEL = 16

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(content: bytes) -> str:
    """The name of these bytes: `sha256:` and 64 hexadecimal digits."""
    return named_digest(hashlib.sha256(content).hexdigest())


def named_digest(hex_digest: str) -> str:
    """The API's form of a SHA-256 given in hexadecimal."""
    return f"sha256:{hex_digest}"


def digest_hex(digest: str) -> str:
    """The hexadecimal digits of a valid digest."""
    return digest.removeprefix("sha256:")


def check_digest(digest: str, field: str = "digest") -> str:
    """The digest itself; INVALID_ARGUMENT that names the field when it is not `sha256:` and 64 lowercase hexadecimal digits."""
    if _DIGEST.fullmatch(digest) is None:
        message = f"{field} must be `sha256:` and 64 lowercase hexadecimal digits, not {digest[:80]!r}."
        raise InvalidArgument(message, reason="VALUE_INVALID", field=field)
    return digest


@dataclass(frozen=True, slots=True)
class BlobRow:
    """All there is to know about a blob without reading it. Times are nanoseconds since 1970 UTC.

    `path` is relative to the data directory and empty when the bytes lie in the row. A delta has a base, which is pinned
    for as long; `depth` counts the bases below it, `step` the deltas since the last one of the upper level.
    """

    digest: str
    size_bytes: int
    stored_bytes: int
    stored_digest: str
    codec: str
    key_id: str
    path: str
    base_digest: str | None
    depth: int
    step: int
    lease_expire_time: int
    create_time: int


@dataclass(frozen=True, slots=True)
class PutHeader:
    """What a Put is going to send. `delta`: how many bytes of the base's beginning and end it copies; None: all is sent."""

    digest: str = ""
    size_bytes: int | None = None
    base_digest: str = ""
    delta: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class PutResult:
    """Answer of a Put. It is durable."""

    digest: str
    size_bytes: int
    stored_bytes: int
    existed: bool
    lease_expire_time: int
    revision: int


@dataclass(frozen=True, slots=True)
class BlobStat:
    """A blob's row and how many fields of records refer to it."""

    row: BlobRow
    reference_count: int


@dataclass(frozen=True, slots=True)
class BlobTotals:
    """All blobs together, in bytes: plain and as stored."""

    count: int
    size_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class BlobProblem:
    """Something wrong that verify found."""

    reason: str
    subject: str
    message: str
