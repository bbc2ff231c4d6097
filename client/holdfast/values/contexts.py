"""Encoding a checkpoint's context and decoding it: bytes stay bytes, text is UTF-8, everything else is JSON."""

from __future__ import annotations

from typing import Any

from holdfast.errors import InvalidArgument
from holdfast.values.fields import not_utf8
from holdfast.values.json_text import from_json, to_json

BYTES = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


def encode_context(context: object) -> tuple[bytes, str]:
    """The bytes of a context and its media type.

    Raises TypeError for what JSON does not have, such as keys that are no strings, and InvalidArgument for NaN, infinities and
    lone surrogates. A tuple comes back as a list; everything else comes back equal.
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
    """The context that was encoded."""
    if context_type == JSON:
        return from_json(content)
    return content.decode() if context_type.startswith("text/") else content


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise not_utf8("context") from None
