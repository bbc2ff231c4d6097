"""Converts between Python values and protobuf messages.

`fill` sets fields: one marked JSON takes any JSON value (or `Json(text)`, which is stored as it is), a time takes an aware
`datetime` or a `Timestamp`, a list of messages takes messages or dicts of their fields, and None clears. `plain` makes a dict
from a message, with JSON decoded and times as `datetime`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import TIMESTAMP, Field, FieldType, fields_of
from holdfast.errors import InvalidArgument
from holdfast.values.json_text import from_json, to_json

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Json:
    """JSON text for a field marked JSON, stored as it is: `metadata=Json('{"a": 1}')`. `Json("null")` is JSON's null."""

    text: str


def json_value(text: str) -> Any:
    """Returns the Python value of a field marked JSON; None if it is unset (empty)."""
    return from_json(text) if text else None


def json_field(value: object) -> str:
    """Returns the JSON text for a Python value or `Json`; empty for None."""
    if value is None:
        return ""
    if isinstance(value, Json):
        from_json(value.text)  # raises ValueError if it is not JSON
        return value.text
    return to_json(value).decode()


def timestamp(value: datetime.datetime | Timestamp) -> Timestamp:
    """Returns a `Timestamp` for an aware `datetime`. Raises ValueError if it has no time zone."""
    if isinstance(value, Timestamp):
        return value
    if not isinstance(value, datetime.datetime):
        raise TypeError(f"A time is a datetime or a Timestamp, not {type(value).__name__}.")
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone: use datetime.now(timezone.utc) or value.astimezone().")
    since = value - _EPOCH
    return Timestamp(seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)


def fill(message: Message, name: str, values: Mapping[str, object]) -> None:
    """Sets fields of a message from Python values; None clears a field.

    Raises TypeError for a field that does not exist or a value of the wrong type, and InvalidArgument for text that cannot be
    stored. Each error names the field; `name` is the message's name in it.
    """
    fields = fields_of(message.DESCRIPTOR)
    for key, value in values.items():
        if (field := fields.get(key)) is None:
            known = ", ".join(each.name for each in fields.values() if not each.output_only)
            raise TypeError(f"{name} has no field {key!r}. Its fields are: {known}.")
        _set(message, name, field, value)


def _set(message: Message, name: str, field: Field, value: object) -> None:
    message.ClearField(field.name)
    if value is None:
        return
    if field.member:
        _set_members(message, name, field, value)
        return
    try:
        if field.json:
            setattr(message, field.name, json_field(value))
        elif field.time:
            getattr(message, field.name).CopyFrom(timestamp(value))  # type: ignore[arg-type]
        elif field.repeated:
            _set_repeated(message, field, value)
        else:
            _set_scalar(message, field, value)
    except UnicodeEncodeError:
        raise not_utf8(f"{name}.{field.name}") from None
    except TypeError as error:
        raise TypeError(f"{name}.{field.name}: {error}") from None
    except ValueError as error:
        raise InvalidArgument(f"{name}.{field.name}: {error}", reason="VALUE_INVALID", metadata={"field": field.name}) from None


def _set_scalar(message: Message, field: Field, value: object) -> None:
    try:
        setattr(message, field.name, value)
    except TypeError:
        wanted = type(getattr(message, field.name)).__name__
        raise TypeError(f"expected {wanted}, not {type(value).__name__}") from None


def _set_repeated(message: Message, field: Field, value: object) -> None:
    getattr(message, field.name).extend(_items(value))


def _set_members(message: Message, name: str, field: Field, value: object) -> None:
    """Sets a list of messages. Each element is a message, or a dict of its fields."""
    path, members = f"{name}.{field.name}", getattr(message, field.name)
    try:
        items = list(_items(value))
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from None
    for item in items:
        member: Message = members.add()
        if isinstance(item, Mapping):
            fill(member, path, item)
        elif isinstance(item, type(member)):
            member.CopyFrom(item)
        else:
            raise TypeError(f"{path}: expected {member.DESCRIPTOR.name} messages or dicts, not {type(item).__name__}")


def _items(value: object) -> Iterable[Any]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"expected a list, not {type(value).__name__}")
    return value


def not_utf8(field: str) -> InvalidArgument:
    """Returns the error for text with a lone surrogate."""
    return InvalidArgument(
        f"{field}: the text holds a lone surrogate, which UTF-8 cannot encode. Put such bytes into a blob.",
        reason="VALUE_INVALID",
        metadata={"field": field.rpartition(".")[2]},
    )


def is_unset(message: Message, field: Field) -> bool:
    """Whether a time, a message or a field marked `optional` is not set. Every other unset field has the type's zero."""
    has_presence = field.optional or field.time or field.type is FieldType.MESSAGE
    return has_presence and not field.repeated and not message.HasField(field.name)


def plain(message: Message) -> dict[str, Any]:
    """Returns a dict of every field: JSON decoded, times as UTC datetimes (in microseconds), unset fields as empty or None.

    Members of a oneof appear only if set, so the dict of a `Record` or an `Entry` has one member.
    """
    result: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        in_choice = field.containing_oneof is not None and not field.containing_oneof.name.startswith("_")
        if in_choice and not message.HasField(field.name):
            continue
        result[field.name] = _plain_field(message, field.name, fields_of(message.DESCRIPTOR)[field.name])
    return result


def _plain_field(message: Message, name: str, field: Field) -> Any:
    value = getattr(message, name)
    if field.repeated:
        return dict(value) if hasattr(value, "items") else [_plain_item(each) for each in value]
    if field.json:
        return json_value(value)
    if is_unset(message, field):
        return None
    return _plain_item(value)


def _plain_item(value: Any) -> Any:
    if isinstance(value, Message):
        if value.DESCRIPTOR.full_name == TIMESTAMP:
            return _EPOCH + datetime.timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)  # type: ignore[attr-defined]
        return plain(value)
    return value
