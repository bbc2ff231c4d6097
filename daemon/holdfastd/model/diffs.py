"""The difference between two images of a record as JSON text, for the audit. `Audit.diff` in the contract defines the format.

The text is built by hand, not by the json module, because fields of type JSON already hold canonical text, which is copied
without parsing it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from holdfast.contract.kinds import COMMON_FIELDS, Field, FieldType, Kind, Shape

MAX_DIFF_BYTES = 2**20
MAX_VALUE_BYTES = 32 * 2**10  # in a diff over its limit, each longer value is replaced by its size

Difference = tuple[str, str | None, str | None]  # the field, its value before and after as JSON text; None: unset


def diff_json(kind: Kind, before: bytes | None, after: bytes | None) -> str:
    """The fields that differ, as canonical JSON. An image is None where there was no record. DecodeError: a damaged image."""
    found = _differences(kind, _message(kind, before), _message(kind, after))
    text = _object((name, _sides(old, new, None)) for name, old, new in found)
    if len(text.encode()) <= MAX_DIFF_BYTES:
        return text
    return _object((name, _sides(old, new, MAX_VALUE_BYTES)) for name, old, new in found)


def _message(kind: Kind, image: bytes | None) -> Message:
    message: Message = kind.message_class()
    if image is not None:
        message.MergeFromString(image)
    return message


def _differences(kind: Kind, before: Message, after: Message) -> list[Difference]:
    told = [field for field in kind.fields if field.name not in COMMON_FIELDS]
    texts = [(field.name, _field(field, before), _field(field, after)) for field in told]
    return [each for each in texts if each[1] != each[2]]


def _sides(before: str | None, after: str | None, limit_bytes: int | None) -> str:
    named = (_side(name, text, limit_bytes) for name, text in (("before", before), ("after", after)) if text is not None)
    return _object(named)


def _side(name: str, text: str, limit_bytes: int | None) -> tuple[str, str]:
    if limit_bytes is None or (size := len(text.encode())) <= limit_bytes:
        return name, text
    return f"{name}_bytes", str(size)


def _object(members: Iterable[tuple[str, str]]) -> str:
    return "{" + ",".join(f'"{name}":{text}' for name, text in sorted(members)) + "}"


def _field(field: Field, message: Message) -> str | None:
    if not _is_set(field, message):
        return None
    value = getattr(message, field.name)
    return "[" + ",".join(_value(field, each) for each in value) + "]" if field.repeated else _value(field, value)


def _is_set(field: Field, message: Message) -> bool:
    if not field.repeated and (field.optional or field.type is FieldType.TIME):
        return message.HasField(field.name)
    return bool(getattr(message, field.name))


def _value(field: Field, value: Any) -> str:
    match field.type:
        case FieldType.JSON:
            return str(value)
        case FieldType.BOOLEAN:
            return "true" if value else "false"
        case FieldType.TIME:
            return f'"{value.ToJsonString()}"'
        case FieldType.REAL:
            return repr(value) if math.isfinite(value) else f'"{value}"'
        case FieldType.MESSAGE:
            assert field.member is not None
            return _members(field.member, value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _members(shape: Shape, message: Message) -> str:
    texts = ((each.name, _field(each, message)) for each in shape.fields)
    return _object((name, text) for name, text in texts if text is not None)
