"""Makes messages from texts that callers give, such as ids and filters; names the field of one that UTF-8 cannot encode."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import Message

from holdfast.errors import InvalidArgument

M = TypeVar("M", bound=Message)

UNFIT_TEXT = "Put such text into an artifact or an attachment, or into the content of an entry."  # what can be done with it


def message_with(message_class: type[M], **fields: object) -> M:
    """Returns a message with these fields. Raises InvalidArgument for a text with a lone surrogate, which names the field."""
    try:
        return message_class(**fields)
    except UnicodeEncodeError:
        raise _refusal(next((name for name, value in fields.items() if _is_unfit(value)), message_class.__name__)) from None


def _is_unfit(value: object) -> bool:
    if not isinstance(value, str):
        return not isinstance(value, bytes | Message) and isinstance(value, Iterable) and any(map(_is_unfit, value))
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def _refusal(field: str) -> InvalidArgument:
    said = f"{field}: the text holds a lone surrogate, which UTF-8 cannot encode. No stored value of this field can have it."
    return InvalidArgument(said, reason="VALUE_INVALID", metadata={"field": field})
