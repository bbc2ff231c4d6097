"""How much memory a request will occupy, estimated from its encoded bytes before it is decoded.

A long text is held in several forms while its commit is applied: the bytes received, the decoded message, the copy with the
fields that the daemon sets, and the image that is stored. A commit of 16 MiB raised the memory by 2.8 times its size. A short
field costs an object whatever its length, so a request of many empty fields takes 30 times its size. The tags and lengths of
short fields are bytes below 32, which text seldom has, so these are counted.
"""

from __future__ import annotations

CALL_BYTES = 4 * 2**10  # the objects of a call and of its command
# A call in progress, from its headers until its answer is written: gRPC's state of it, grpcio's, and an answer of up to 4 KiB.
IN_PROGRESS_BYTES = 16 * 2**10
COPIES = 4
SMALL_FIELD_BYTES = 64
# What the thread that serves the socket may handle itself, because all calls wait for it: 4 KiB take 1 to 2 ms when they hold one
# long text. Many short fields, and JSON of many values, take longer.
QUICK_BYTES, QUICK_FIELDS, QUICK_MARKS = 4 * 2**10, 128, 512
_JSON_MARKS = b"[]{},:"
_BELOW_32 = bytes(range(32))
_PIECE_BYTES = 64 * 2**10  # counting holds the GIL; this takes a tenth of a millisecond


def memory_of(data: bytes) -> int:
    """The memory that a request needs until it is answered, without what `memory_of_fields` says."""
    needed = CALL_BYTES + COPIES * len(data)
    return needed + SMALL_FIELD_BYTES * small_fields(data) if len(data) <= QUICK_BYTES else needed


def small_fields(data: bytes) -> int:
    """An upper bound of the number of fields shorter than 32 bytes, tags included; about twice the number of fields."""
    if len(data) <= _PIECE_BYTES:
        return len(data) - len(data.translate(None, _BELOW_32))
    view = memoryview(data)
    return sum(small_fields(bytes(view[start : start + _PIECE_BYTES])) for start in range(0, len(data), _PIECE_BYTES))


def memory_of_fields(data: bytes) -> int:
    """The memory of the small fields of a large request, of which it may be most. Takes too long for the serving thread."""
    return SMALL_FIELD_BYTES * small_fields(data) if len(data) > QUICK_BYTES else 0


def is_quick(data: bytes) -> bool:
    """Whether the request is decoded and checked quickly, whatever it holds."""
    if len(data) > QUICK_BYTES or small_fields(data) > QUICK_FIELDS:
        return False
    return len(data) <= QUICK_MARKS or _json_marks(data) <= QUICK_MARKS


def _json_marks(data: bytes) -> int:
    """An upper bound of the values in JSON texts, and of their depth."""
    return len(data) - len(data.translate(None, _JSON_MARKS))
