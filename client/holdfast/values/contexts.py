"""Encodes and decodes a checkpoint's context: bytes stay bytes, text is UTF-8, everything else is JSON."""

from __future__ import annotations

from typing import Any

from holdfast.errors import InvalidArgument
from holdfast.values.fields import not_utf8
from holdfast.values.json_text import from_json, to_json

BYTES = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


def encode_context(context: object) -> tuple[bytes, str]:
    """Returns the bytes of a context and its media type.

    Raises TypeError for values that JSON cannot represent, such as keys that are not strings, and InvalidArgument for NaN,
    infinities and lone surrogates. A tuple is decoded as a list; every other value is decoded as an equal value.
    """
    if isinstance(context, bytes | bytearray | memoryview):
        return bytes(context), BYTES
    if isinstance(context, str):
        return _encoded(context), TEXT
    try:
        return to_json(context), JSON
    except ValueError as error:
        raise InvalidArgument(f"context: {error}", reason="VALUE_INVALID", metadata={"field": "context"}) from None


def decode_context(content: bytes, context_type: str) -> Any:
    """Returns the context that `encode_context` was given."""
    if context_type == JSON:
        return from_json(content)
    return content.decode() if context_type.startswith("text/") else content


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise not_utf8("context") from None
