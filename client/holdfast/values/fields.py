"""Converts between Python values and protobuf messages.

`fill` sets fields: one marked JSON takes any JSON value (or `Json(text)`, which is stored as it is), a time takes an aware
`datetime` or a `Timestamp`, a list of messages takes views, messages or dicts of their fields, and None clears. `plain` makes a
dict from a view or a message, with JSON decoded and times as `datetime`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import Field, FieldType, fields_of
from holdfast.contract.messages import UNFIT_TEXT
from holdfast.errors import InvalidArgument
from holdfast.values.json_text import LoneSurrogate, from_json, to_json

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Json:
    """JSON text for a field marked JSON, stored as it is: `metadata=Json('{"a": 1}')`. `Json("null")` is JSON's null."""

    text: str


def message_of(value: Any) -> Any:
    """Returns the message of a view, with what was changed in the view's lists and JSON values; any other value as it is.

    The same as `view.message`, also for views with a field of that name (events, status updates).
    """
    reveal = getattr(type(value), "__holdfast_message__", None)
    return value if reveal is None else reveal(value)


class DecodedText(str):
    """A text that a view decoded from a field marked JSON, so that `json_value` does not decode it again."""

    __slots__ = ()


def json_value(text: Any) -> Any:
    """Returns the Python value of a message's field marked JSON; None if it is unset (empty).

    The value of a view's field is decoded already and is returned as it is.
    """
    if isinstance(text, DecodedText) or not isinstance(text, str):
        return text
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
    except (UnicodeEncodeError, LoneSurrogate):
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
    """Sets a list of messages. Each element is a view, a message, or a dict of its fields."""
    path, members = f"{name}.{field.name}", getattr(message, field.name)
    try:
        items = list(_items(value))
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from None
    for item in items:
        member: Message = members.add()
        given = message_of(item)
        if isinstance(given, Mapping):
            fill(member, path, given)
        elif isinstance(given, type(member)):
            member.CopyFrom(given)
        else:
            raise TypeError(f"{path}: expected {member.DESCRIPTOR.name} messages or dicts, not {type(item).__name__}")


def _items(value: object) -> Iterable[Any]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"expected a list, not {type(value).__name__}")
    return value


def not_utf8(field: str) -> InvalidArgument:
    """Returns the error for text with a lone surrogate."""
    return InvalidArgument(
        f"{field}: the text holds a lone surrogate, which UTF-8 cannot encode. {UNFIT_TEXT}",
        reason="VALUE_INVALID",
        metadata={"field": field.rpartition(".")[2]},
    )


def is_unset(message: Message, field: Field) -> bool:
    """Whether a time, a message or a field marked `optional` is not set. Every other unset field has the type's zero."""
    has_presence = field.optional or field.time or field.type is FieldType.MESSAGE
    return has_presence and not field.repeated and not message.HasField(field.name)


def plain(value: Any) -> dict[str, Any]:
    """Returns a dict of every field of a view or a message, with JSON decoded, times as UTC datetimes (in microseconds), and None
    for what can be unset and is unset. Every other unset field is empty or zero.

    Members of a oneof appear only if set, so the dict of a `Record` or an `Entry` has one member.
    """
    if not isinstance(value, Message):
        shown: dict[str, Any] = value.to_dict()
        return shown
    result: dict[str, Any] = {}
    for field in value.DESCRIPTOR.fields:
        in_choice = field.containing_oneof is not None and not field.containing_oneof.name.startswith("_")
        if in_choice and not value.HasField(field.name):
            continue
        result[field.name] = plain_field(value, field.name)
    return result


def plain_field(message: Message, name: str) -> Any:
    """Returns the value of a message's field as `plain` shows it."""
    value, field = getattr(message, name), fields_of(message.DESCRIPTOR)[name]
    if field.repeated:
        return dict(value) if hasattr(value, "items") else [_plain_item(each) for each in value]
    if field.json:
        return json_value(value)
    if is_unset(message, field):
        return None
    return _plain_item(value)


def utc_time(value: Timestamp) -> datetime.datetime:
    """Returns a time as an aware datetime in UTC. Its nanoseconds are cut to microseconds."""
    return _EPOCH + datetime.timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)


def _plain_item(value: Any) -> Any:
    if isinstance(value, Timestamp):
        return utc_time(value)
    return plain(value) if isinstance(value, Message) else value
