"""The image of an entry: its encoded `Entry` message, which is stored with its columns and sent to readers as it is.

An image has number, revision, create time and value, in this order, and no parent. It is put together from the bytes of the
value, because building and encoding the message again would take the writer's thread five times as long.
"""

from __future__ import annotations

from functools import cache

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import Journal
from holdfast.v1 import entry_pb2
from holdfastd.model.codec import NANOS

_NUMBER_TAG = b"\x08"
_LENGTH_DELIMITED = 2
_SMALL = 2**14


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_VARINTS = tuple(_varint(value) for value in range(_SMALL))
_TWO_BYTES = tuple(bytes((value & 0x7F | 0x80, value >> 7 | 0x80)) for value in range(_SMALL))  # with more bytes to follow


def varint(value: int) -> bytes:
    """A number of 0 or more in protobuf's variable-length form."""
    return _VARINTS[value] if value < _SMALL else _TWO_BYTES[value & _SMALL - 1] + varint(value >> 14)


@cache
def _value_tag(journal: Journal) -> bytes:
    return varint(entry_pb2.Entry.DESCRIPTOR.fields_by_name[journal.name].number << 3 | _LENGTH_DELIMITED)


def _encoded_time(ns: int) -> bytes:
    """An encoded Timestamp. Fields that are zero are left out."""
    seconds, nanos = divmod(ns, NANOS)
    if seconds < 0:
        return Timestamp(seconds=seconds, nanos=nanos).SerializeToString()
    return (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b"")


class EntryImages:
    """Makes the images of the entries of one append."""

    def __init__(self, journal: Journal, revision: int, time_ns: int) -> None:
        time = _encoded_time(time_ns)
        self._before_value = b"".join((b"\x10", varint(revision), b"\x1a", varint(len(time)), time, _value_tag(journal)))

    def image(self, number: int, value: bytes) -> bytes:
        """The image of the entry with this number. value: the encoded message of the journal."""
        return b"".join((_NUMBER_TAG, varint(number), self._before_value, varint(len(value)), value))
