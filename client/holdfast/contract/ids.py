"""Ids as both ends make them: the client for a transaction's records and for requests, the daemon for all others.

A prefix and 26 characters of Crockford's base 32: 48 bits of the time in milliseconds and 80 random bits (the layout of a
ULID, https://github.com/ulid/spec), in lower case. So ids sort by time and new ones go to the end of an index.
"""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26


def random_id(prefix: str, now_ns: int | None = None) -> str:
    """A new id such as `ses_01k5…`, of this moment unless a time is given (ns since 1970). Safe in threads and after fork."""
    milliseconds = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    number = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    return prefix + "".join(_ALPHABET[number >> shift & 31] for shift in range((_LENGTH - 1) * 5, -1, -5))


def request_id() -> str:
    """A new request id. It sorts by time, too: the daemon keeps the answers in an index, and new ones land together."""
    return random_id("")
