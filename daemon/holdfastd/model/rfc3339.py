"""Parses the times of filters: RFC 3339 to nanoseconds since 1970 UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_TIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2}))?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANGE_NS = range(-(2**63), 2**63)


def parse_time_ns(text: str) -> int | None:
    """Nanoseconds since 1970 UTC; a date alone means 00:00 UTC of that day.

    None when the text is not an RFC 3339 time, has no offset, or does not fit into 64 bits (years 1678 to 2261).
    """
    if (match := _TIME.fullmatch(text)) is None:
        return None
    offset = (match["offset"] or "Z").upper().replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(f"{match['date']}T{match['clock'] or '00:00:00'}{offset}")
        since = moment - _EPOCH
    except (ValueError, OverflowError):
        return None
    # The fraction is added as an integer, because datetime keeps only six of its nine digits.
    time_ns = (since.days * 86_400 + since.seconds) * 10**9 + int((match["fraction"] or "").ljust(9, "0"))
    return time_ns if time_ns in _RANGE_NS else None
