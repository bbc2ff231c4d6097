"""Makes ids, and says which ids new records may not have. Client and daemon use it.

The client makes the ids of requests and of a transaction's records, the daemon all others.

An id is a prefix and 26 characters of Crockford's base 32 in lower case: 48 bits of time in milliseconds and 80 random bits (the
layout of a ULID, https://github.com/ulid/spec). So ids sort by time, and new ones are appended to the end of an index.
"""

from __future__ import annotations

import hashlib
import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26

MAX_ID_BYTES = 200
_KEPT_BYTES = 128  # of a text that is too long for an id


def random_id(prefix: str, now_ns: int | None = None) -> str:
    """Returns a new id such as `ses_01k5…`. `now_ns` is the time in ns since 1970; None: now. Safe in threads and after fork."""
    milliseconds = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    number = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    return prefix + "".join(_ALPHABET[number >> shift & 31] for shift in range((_LENGTH - 1) * 5, -1, -5))


def request_id() -> str:
    """Returns a new request id. It sorts by time, so new rows go to the same pages of the daemon's index of answers."""
    return random_id("")


def shortened(text: str) -> str:
    """Returns an id for a text that cannot be one because it is too long: its beginning, `~` and its hash."""
    content = text.encode()
    return f"{content[:_KEPT_BYTES].decode(errors='ignore')}~{hashlib.sha256(content).hexdigest()[:32]}"


def can_be_id(text: str) -> bool:
    """Whether the daemon takes the text as the id of a new record."""
    is_clean = text.isprintable() and " " not in text and not is_like_an_option(text)
    return 0 < len(text.encode(errors="replace")) <= MAX_ID_BYTES and is_clean


def hashed_id(prefix: str, text: str) -> str:
    """Returns an id for a text that cannot be one: the prefix, `~` and its hash."""
    return f"{prefix}~{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:32]}"


def is_like_an_option(id: str) -> bool:
    """Whether a command line would take the id for an option. No new record may have such an id; stored ones stay readable."""
    return id.startswith("-")
