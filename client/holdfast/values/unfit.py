"""Texts that a field of the contract cannot hold: with NUL characters or lone surrogates. They go into blobs as bytes.

Lone surrogates are encoded as three bytes each (WTF-8, https://simonsapin.github.io/wtf-8), in JSON as escapes. `text_from`
decodes both, so what went in comes out.
"""

from __future__ import annotations

import json
import re

from holdfast.values.fields import Json, json_field
from holdfast.values.json_text import from_json, to_escaped_json

TEXT = "text/plain; charset=utf-8"
WTF8 = "text/plain; charset=wtf-8"

# After an even number of backslashes, `\\u0000` is an escape and not text; an escaped surrogate may be half of a pair.
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_ESCAPED_SURROGATE = re.compile(r"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def bytes_of(text: str) -> bytes:
    """Encodes any text."""
    return text.encode("utf-8", "surrogatepass")


def text_from(content: bytes) -> str:
    """Returns the text that `bytes_of` was given."""
    return content.decode("utf-8", "surrogatepass")


def media_type(text: bytes) -> str:
    """The media type of an encoded text."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return WTF8
    return TEXT


def shown(text: str) -> str:
    """The text with U+FFFD in place of each lone surrogate, which protobuf cannot hold."""
    return _SURROGATE.sub("\ufffd", text)


def has_surrogates(text: str) -> bool:
    """Whether the text has lone surrogates."""
    return _SURROGATE.search(text) is not None


def json_bytes(value: object) -> bytes:
    """JSON text for any value of a field marked JSON, with lone surrogates as escapes. Raises TypeError, ValueError."""
    if isinstance(value, Json):
        return to_escaped_json(from_json(value.text)) if has_surrogates(value.text) else json_field(value).encode()
    return to_escaped_json(value)


def is_unfit(text: str) -> bool:
    """Whether a plain text cannot be stored in a field. Lone surrogates do not get into a message."""
    return "\0" in text


def is_unfit_json(text: str) -> bool:
    """Whether JSON text has a value that cannot be stored in a field marked JSON."""
    if "\\u" not in text:
        return False
    return bool(_ESCAPED_NUL.search(text)) or (bool(_ESCAPED_SURROGATE.search(text)) and _has_lone_surrogate(text))


def _has_lone_surrogate(text: str) -> bool:
    try:
        return has_surrogates(json.dumps(from_json(text), ensure_ascii=False))
    except (ValueError, RecursionError):
        return False  # the daemon refuses it
