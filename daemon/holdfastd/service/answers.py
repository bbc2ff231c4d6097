"""Answers within a byte budget, because gRPC clients refuse messages above 4 MiB by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from holdfast.contract.kinds import Kind, RecordMessage
from holdfast.v1 import record_pb2

MAX_ANSWER_BYTES = 3 * 2**20
ROOM_FOR_THE_REST = 64 * 2**10
ROW_BYTES = 100


class Budget:
    """Counts the bytes of one answer. The first record or entry is always accepted: their own limits are below the budget."""

    def __init__(self) -> None:
        self._left = MAX_ANSWER_BYTES - ROOM_FOR_THE_REST
        self._empty = True

    def takes(self, size: int) -> bool:
        """Whether `size` more bytes fit; counts them when they do."""
        if size > self._left and not self._empty:
            return False
        self._left -= size + 8  # tag and length
        self._empty = False
        return True


def fill_record(record: record_pb2.Record, kind: Kind, id: str, image: bytes) -> None:
    """Fills a Record from an encoded message of its kind. ValueError when the bytes are damaged or another record's."""
    message: RecordMessage = getattr(record, kind.name)
    try:
        message.MergeFromString(image)
    except (DecodeError, TypeError) as error:
        raise ValueError("its image is damaged") from error
    if message.id != id:
        raise ValueError("its image is another record's")
    record.kind, record.id, record.version = kind.name, id, message.version


def frame_bytes(rows: Sequence[Sequence[Any]]) -> int:
    """The memory that a stream needs for these rows until their frame is sent: rows, message, encoding, gRPC's copy."""
    values = sum(len(value) for row in rows for value in row if isinstance(value, str | bytes))
    return 4 * (values + ROW_BYTES * len(rows))
