"""Converts messages to JSON for programs: decodes fields marked JSON, writes times in RFC 3339 and integers in full precision."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from holdfast.cli.text import harmless_json
from holdfast.contract.kinds import TIMESTAMP, fields_of
from holdfast.values.fields import is_unset, json_value

if TYPE_CHECKING:
    from holdfast.store import Store


def json_form(message: Message) -> dict[str, Any]:
    """Returns every field of a message; None for an unset time, message or JSON field.

    Unset members of a oneof are left out.
    """
    fields = fields_of(message.DESCRIPTOR)
    form: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        in_choice = field.containing_oneof is not None and not field.containing_oneof.name.startswith("_")
        if in_choice and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if fields[field.name].repeated:
            form[field.name] = dict(value) if hasattr(value, "items") else [_item(each) for each in value]
        elif fields[field.name].json:
            form[field.name] = json_value(value)
        else:
            form[field.name] = None if is_unset(message, fields[field.name]) else _item(value)
    return form


def with_contents(store: Store, message: Message, form: dict[str, Any]) -> dict[str, Any]:
    """Returns the form of a record or entry with the contents that are in blobs, exactly as they were given."""
    from holdfast.blobs.contents import places_of, text_of, value_of  # here: it loads gRPC, and few commands need it

    value = value_of(message)
    fields = fields_of(value.DESCRIPTOR)
    for name, place in places_of(value).items():
        unfilled = form[name] in (None, "") or "\ufffd" in str(form[name])
        if getattr(value, place.name) and unfilled:
            text = text_of(message, store.blobs, name)
            form[name] = json_value(text) if fields[name].json else text
    return form


def _item(value: Any) -> Any:
    if not isinstance(value, Message):
        return value
    if value.DESCRIPTOR.full_name == TIMESTAMP:
        return value.ToJsonString()  # type: ignore[attr-defined]
    return json_form(value)


def json_line(value: object) -> str:
    """Returns JSON on one line, escaped to ASCII unless stdout is UTF-8.

    Control characters and marks of direction are escaped for files and programs too, because their content is often shown later.
    """
    return harmless_json(json.dumps(value, ensure_ascii=not _takes_unicode(), separators=(",", ":")))


def json_block(value: object) -> str:
    """Returns indented JSON for people."""
    return json.dumps(value, ensure_ascii=not _takes_unicode(), indent=2)


def _takes_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
