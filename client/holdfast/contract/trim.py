"""Finds the common prefix and suffix of two byte strings, for the client's contexts and the daemon's deltas.

Pure functions on `bytes`. Python compares slices of `bytes` with memcmp, but memoryviews item by item, which is far slower. The
cost is about one pass over both strings.
"""

from __future__ import annotations

_CHUNK = 64 * 1024


def common_prefix(a: bytes, b: bytes) -> int:
    """Returns the length of the common prefix in bytes."""
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
    """Returns the length of the common suffix in bytes, at most `limit`, which keeps it from overlapping the prefix."""
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
    """Returns the lengths in bytes of the common prefix and suffix, which overlap in neither string."""
    prefix = common_prefix(base, content)
    return prefix, common_suffix(base, content, min(len(base), len(content)) - prefix)


def _tail(data: bytes, start: int, stop: int, limit: int) -> bytes:
    """The bytes from `start` to `stop`, both counted from the end; `stop` is at most `limit`."""
    end = len(data)
    return data[end - min(stop, limit) : end - start]
