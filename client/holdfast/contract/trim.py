"""What two byte strings have in common at their ends: for the client's contexts and the daemon's deltas.

Pure functions on `bytes`. Slices of `bytes` are compared by memcmp, which is far faster than comparing memoryviews
(those compare item by item), so both ends cost about a pass over memory.
"""

from __future__ import annotations

_CHUNK = 64 * 1024


def common_prefix(a: bytes, b: bytes) -> int:
    """How many bytes at the beginning of both are the same."""
    limit = min(len(a), len(b))
    low = 0
    while low < limit and a[low : low + _CHUNK] == b[low : low + _CHUNK]:
        low += _CHUNK
    high = min(limit, low + _CHUNK)
    low = min(low, limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low


def common_suffix(a: bytes, b: bytes, limit: int) -> int:
    """How many bytes at the end of both are the same, `limit` at most: what the prefix took cannot be taken again."""
    limit = max(0, min(len(a), len(b), limit))
    low = 0
    while low < limit and _tail(a, low, low + _CHUNK, limit) == _tail(b, low, low + _CHUNK, limit):
        low += _CHUNK
    high = min(limit, low + _CHUNK)
    low = min(low, limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _tail(a, low, middle, limit) == _tail(b, low, middle, limit) else (low, middle - 1)
    return low


def trim(base: bytes, content: bytes) -> tuple[int, int]:
    """How many bytes `content` shares with the beginning and with the end of `base`, without overlap in either."""
    prefix = common_prefix(base, content)
    return prefix, common_suffix(base, content, min(len(base), len(content)) - prefix)


def _tail(data: bytes, start: int, stop: int, limit: int) -> bytes:
    """The bytes from `start` to `stop`, counted from the end, and never past `limit`."""
    end = len(data)
    return data[end - min(stop, limit) : end - start]
