"""Answers within a byte budget: gRPC clients take 4 MiB by default."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from holdfast.contract.kinds import Kind, RecordMessage
from holdfast.v1 import record_pb2

MAX_ANSWER_BYTES = 3 * 2**20
ROOM_FOR_THE_REST = 64 * 2**10


class Budget:
    """Counts an answer's bytes. The first record or entry always fits: each is smaller than an answer."""

    def __init__(self) -> None:
        self._left = MAX_ANSWER_BYTES - ROOM_FOR_THE_REST
        self._empty = True

    def takes(self, size: int) -> bool:
        """Whether that many bytes still fit; when they do, they are counted."""
        if size > self._left and not self._empty:
            return False
        self._left -= size + 8  # tag and length
        self._empty = False
        return True


def fill_record(record: record_pb2.Record, kind: Kind, id: str, image: bytes) -> None:
    """Sets a Record from an encoded message of its kind. Raises ValueError when the bytes are not that record's."""
    message: RecordMessage = getattr(record, kind.name)
    try:
        message.MergeFromString(image)
    except (DecodeError, TypeError) as error:
        raise ValueError("its image is damaged") from error
    if message.id != id:
        raise ValueError("its image is another record's")
    record.kind, record.id, record.version = kind.name, id, message.version
