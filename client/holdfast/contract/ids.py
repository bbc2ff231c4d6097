"""Ids that the client makes itself: for records of a transaction, before the daemon has seen them, and for requests.

The format is the daemon's: the kind's prefix and 26 characters of Crockford's base32, 48 bits of the time in milliseconds and
80 random bits, so ids sort by when they were made.
"""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26


def random_id(prefix: str) -> str:
    """A new id such as `ses_01k5…`; nobody else makes the same one. Safe after fork and in threads."""
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    characters = [_ALPHABET[(number >> shift) & 31] for shift in range((_LENGTH - 1) * 5, -1, -5)]
    return prefix + "".join(characters)


def request_id() -> str:
    """A new request id. It sorts by time, too: the daemon keeps the answers in an index, and new ones land together."""
    return random_id("")
