"""How much memory a request will occupy, estimated from its encoded bytes, before it is decoded.

A long text is held in several forms while its commit is applied: the bytes received, the decoded message, the copy with the
fields that the daemon sets, and the image that is stored. A short field costs an object whatever its length, so a request of many
empty fields takes 30 times its size. Their lengths and tags are bytes below 32, which text seldom has, so these are counted:
`translate` takes less than a nanosecond per byte.
"""

from __future__ import annotations

CALL_BYTES = 4 * 2**10  # the objects of a call and of its command
COPIES = 4
SMALL_FIELD_BYTES = 64
_BELOW_32 = bytes(range(32))


def small_fields(data: bytes) -> int:
    """An upper bound of the number of fields shorter than 32 bytes, tags included; about twice the number of fields."""
    return len(data) - len(data.translate(None, _BELOW_32))


def memory_of(size_bytes: int, fields: int) -> int:
    """The memory that a request of this size with this many small fields needs until it is answered."""
    return CALL_BYTES + COPIES * size_bytes + SMALL_FIELD_BYTES * fields
