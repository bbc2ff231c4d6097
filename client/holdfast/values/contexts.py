"""Encodes and decodes a checkpoint's context: bytes stay bytes, text is UTF-8, everything else is JSON.

Lone surrogates are kept as in the contents of entries (`values/unfit.py`): text is WTF-8, in JSON they are escapes.
"""

from __future__ import annotations

from typing import Any

from holdfast.errors import InvalidArgument
from holdfast.values.json_text import LoneSurrogate, from_json, to_escaped_json, to_json
from holdfast.values.unfit import bytes_of, media_type, text_from

BYTES = "application/octet-stream"
JSON = "application/json"


def encode_context(context: object) -> tuple[bytes, str]:
    """Returns the bytes of a context and its media type.

    Raises TypeError for values that JSON cannot represent, such as keys that are not strings, and InvalidArgument for NaN
    and infinities. A tuple is decoded as a list; every other value is decoded as an equal value.
    """
    if isinstance(context, bytes | bytearray | memoryview):
        return bytes(context), BYTES
    if isinstance(context, str):
        encoded = bytes_of(context)
        return encoded, media_type(encoded)
    try:
        return _json(context), JSON
    except ValueError as error:
        raise InvalidArgument(f"context: {error}", reason="VALUE_INVALID", metadata={"field": "context"}) from None


def decode_context(content: bytes, context_type: str) -> Any:
    """Returns the context that `encode_context` was given."""
    if context_type == JSON:
        return from_json(content)
    return text_from(content) if context_type.startswith("text/") else content


def _json(value: object) -> bytes:
    try:
        return to_json(value)
    except LoneSurrogate:
        return to_escaped_json(value)
