"""Values that describe blobs, for every layer: digests, rows, the header and result of a Put, totals, problems. Pure data.

The commands that the writer applies to blobs are in `model/commands.py`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, fields, replace
from operator import attrgetter

from holdfastd.errors import InvalidArgument
from holdfastd.model import checksums

ZSTD = "zstd"
RAW = "raw"
DELTA = "delta"

MAX_DEPTH = 32
STEPS_PER_LEVEL = 16

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(content: bytes) -> str:
    """The digest of these bytes: `sha256:` and 64 hexadecimal digits."""
    return named_digest(hashlib.sha256(content).hexdigest())


def named_digest(hex_digest: str) -> str:
    """The API's form of a SHA-256 given in hexadecimal."""
    return f"sha256:{hex_digest}"


def digest_hex(digest: str) -> str:
    """The hexadecimal digits of a valid digest."""
    return digest.removeprefix("sha256:")


def check_digest(digest: str, field: str = "digest") -> str:
    """Returns the digest. INVALID_ARGUMENT, with the field's name, unless it is `sha256:` and 64 lowercase hexadecimal digits."""
    if _DIGEST.fullmatch(digest) is None:
        message = f"{field} must be `sha256:` and 64 lowercase hexadecimal digits, not {digest[:80]!r}."
        raise InvalidArgument(message, reason="VALUE_INVALID", field=field)
    return digest


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A row of the table `blob`: everything but the bytes. Times are nanoseconds since 1970 UTC.

    `path` is relative to the data directory; it is empty when the stored bytes are in the database. The base of a delta is
    kept as long as the delta. `depth`: number of bases below it. `step`: number of deltas since the last link of the upper
    level.
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
    checksum: int | None = None  # None: an earlier version wrote the row

    def sealed(self) -> BlobRow:
        """The row with the checksum of its other values."""
        return replace(self, checksum=checksums.of(*_CHECKED(self)))

    @property
    def is_intact(self) -> bool:
        """Whether the row is as it was written."""
        return self.checksum is None or self.checksum == checksums.of(*_CHECKED(self))


_CHECKED = attrgetter(*[each.name for each in fields(BlobRow)][:-1])


@dataclass(frozen=True, slots=True)
class PutHeader:
    """The header of a Put. `delta`: number of bytes to copy from the base's start and from its end; None: a full upload.

    `kind`: of the record or entry that will refer to the blob; empty: not stated.
    """

    digest: str = ""
    size_bytes: int | None = None
    base_digest: str = ""
    delta: tuple[int, int] | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class PutResult:
    """The result of a Put. The blob is durable."""

    digest: str
    size_bytes: int
    stored_bytes: int
    existed: bool
    lease_expire_time: int
    revision: int


@dataclass(frozen=True, slots=True)
class BlobStat:
    """A blob's row, and the number of record fields that refer to it."""

    row: BlobRow
    reference_count: int


@dataclass(frozen=True, slots=True)
class BlobTotals:
    """Number of all blobs, and the sum of their plain and of their stored bytes."""

    count: int
    size_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class BlobProblem:
    """A problem that verify found."""

    reason: str
    subject: str
    message: str
