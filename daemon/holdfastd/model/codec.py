"""Conversion between messages and rows. Only this module knows how each field type is stored.

Times are stored as nanoseconds since 1970 UTC, booleans as 0 and 1, JSON as canonical text. An unset field is stored as NULL
where the column may be NULL (`Field.nullable`), else as the type's zero.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import Field, FieldType, Shape
from holdfast.contract.messages import UNFIT_TEXT
from holdfastd.errors import InvalidArgument

NANOS = 1_000_000_000
MIN_TIME_NS, MAX_TIME_NS = -(2**63) + NANOS, 2**63 - NANOS

# Canonical JSON escapes control characters. After an even number of backslashes, `\u0000` is an escape and not text.
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

ReadColumn = Callable[[Message], Any]
SetField = Callable[[Message, Any], None]


def time_ns(stamp: Timestamp) -> int:
    """Nanoseconds since 1970 UTC."""
    return stamp.seconds * NANOS + stamp.nanos


def set_time(stamp: Timestamp, ns: int) -> None:
    """Sets a Timestamp in place."""
    stamp.seconds, stamp.nanos = divmod(ns, NANOS)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def canonical_json(text: str, field: str) -> str:
    """The same JSON value as text with sorted keys and no blanks.

    INVALID_ARGUMENT when the text is not JSON, holds a number beyond a double's range, a NUL, or half of a surrogate pair.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        canonical.encode()
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{field} is not valid JSON: {error}.", reason="VALUE_INVALID", field=field) from None
    if "\\u0000" in canonical and _ESCAPED_NUL.search(canonical):
        raise InvalidArgument(f"{field} holds a NUL character. {UNFIT_TEXT}", reason="VALUE_INVALID", field=field)
    return canonical


def encoder(field: Field) -> ReadColumn:
    """The function that reads the field's column value from a message."""
    name, nullable = field.name, field.nullable
    if field.type is FieldType.TIME:
        return lambda message: time_ns(getattr(message, name)) if message.HasField(name) else None
    if field.optional and field.type is FieldType.BOOLEAN:
        return lambda message: int(getattr(message, name)) if message.HasField(name) else None
    if field.optional:
        return lambda message: getattr(message, name) if message.HasField(name) else None
    if field.type is FieldType.BOOLEAN:
        return lambda message: int(getattr(message, name))
    if nullable:
        return lambda message: getattr(message, name) or None
    return lambda message: getattr(message, name)


def _decoder(field: Field) -> SetField:
    name = field.name
    if field.type is FieldType.TIME:
        return lambda message, value: set_time(getattr(message, name), value)
    if field.type is FieldType.BOOLEAN:
        return lambda message, value: setattr(message, name, bool(value))
    return lambda message, value: setattr(message, name, value)


@cache
def encoders(shape: Shape) -> tuple[ReadColumn, ...]:
    """One function for each column, in the order of `shape.columns`."""
    return tuple(encoder(each) for each in shape.columns)


@cache
def decoders(shape: Shape) -> tuple[SetField, ...]:
    """The inverse of `encoders`."""
    return tuple(_decoder(each) for each in shape.columns)


def child_columns(field: Field) -> tuple[str, ...]:
    """The columns of a repeated field's child table, after workspace, id and ordinal."""
    return tuple(each.name for each in field.member.columns) if field.member else ("value",)


def child_rows(field: Field, message: Message) -> list[tuple[Any, ...]]:
    """The values of `child_columns`, one row for each element."""
    elements = getattr(message, field.name)
    return [to_row(field.member, each) for each in elements] if field.member else [(each,) for each in elements]


def add_child(field: Field, message: Message, row: Sequence[Any]) -> None:
    """Adds an element to a repeated field: the inverse of `child_rows`."""
    elements = getattr(message, field.name)
    if field.member:
        fill(field.member, elements.add(), row)
    else:
        elements.append(row[0])


def to_row(shape: Shape, message: Message) -> tuple[Any, ...]:
    """The values of the shape's columns."""
    return tuple([encode(message) for encode in encoders(shape)])


def fill(shape: Shape, message: Message, row: Iterable[Any]) -> None:
    """Sets the message's fields from a row; where a value is NULL, the field stays unset."""
    for decode, value in zip(decoders(shape), row, strict=True):
        if value is not None:
            decode(message, value)


def from_row(shape: Shape, row: Sequence[Any]) -> Any:
    """The inverse of `to_row`: a message of the shape's class."""
    message = shape.message_class()
    fill(shape, message, row)
    return message
