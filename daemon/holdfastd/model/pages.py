"""Page sizes and page tokens.

A token holds the key of the page's last row. The next page begins after that key, even when rows were written or deleted
meanwhile. A token is opaque but not secret: its checksum detects damage, and its values are only bound as SQL parameters.
Layout: version (1 byte), fingerprint of the list (8), the key as JSON, checksum (4); base64url without padding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

from holdfastd.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000

KeyValue = str | int | float | None

_VERSION = b"\x01"
_FINGERPRINT_BYTES = 8
_CHECKSUM_BYTES = 4
_HEAD_BYTES = len(_VERSION) + _FINGERPRINT_BYTES


def page_size(requested: int) -> int:
    """The maximum number of rows in the page: 100 when 0 was requested, at most 1000. INVALID_ARGUMENT below 0."""
    if requested < 0:
        raise InvalidArgument(f"page_size is {requested}; it must not be negative.", reason="VALUE_INVALID", field="page_size")
    return min(requested or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def encode_token(scope: Sequence[str], key: Sequence[object]) -> str:
    """The token that continues a list after the row with that key.

    `scope` identifies the list (workspace, kind, filter, order_by …); `key` holds strings, 64-bit integers, floats and
    None.
    """
    payload = json.dumps(list(key), ensure_ascii=False, separators=(",", ":")).encode()
    body = _VERSION + _fingerprint(scope) + payload
    return base64.urlsafe_b64encode(body + _checksum(body)).rstrip(b"=").decode("ascii")


def decode_token(token: str, scope: Sequence[str], key_length: int) -> tuple[KeyValue, ...] | None:
    """The key that the token was made with; None for an empty token, which means the first page.

    Raises InvalidArgument with reason PAGE_TOKEN_INVALID when the token is damaged, belongs to another list, or comes from an
    earlier version of the daemon, which ordered ties in another way.
    """
    if not token:
        return None
    body = _undamaged_body(token)
    if body[len(_VERSION) : _HEAD_BYTES] != _fingerprint(scope):
        raise _invalid(
            "page_token belongs to another list. Between pages only page_size may change; workspace, kind, filter, order_by"
            " and the rest must stay as they were. Start again without page_token."
        )
    return _key(body[_HEAD_BYTES:], key_length)


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="PAGE_TOKEN_INVALID")


def _damaged() -> InvalidArgument:
    return _invalid("page_token is not one that this daemon gave out. Start again without page_token.")


def _undamaged_body(token: str) -> bytes:
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise _damaged() from None
    body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if len(body) < _HEAD_BYTES or body[:1] != _VERSION or checksum != _checksum(body):
        raise _damaged()
    return body


def _key(payload: bytes, key_length: int) -> tuple[KeyValue, ...]:
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError):
        raise _damaged() from None
    if not isinstance(values, list) or not all(map(_bindable, values)):
        raise _damaged()
    if len(values) != key_length:
        raise _invalid("page_token is from an earlier version of the daemon. Start again without page_token.")
    return tuple(values)


def _bindable(value: object) -> bool:
    """Whether SQL accepts the value as a parameter. A caller can forge a token, because the checksum is not a signature."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    return value is None or isinstance(value, float)


def _fingerprint(scope: Sequence[str]) -> bytes:
    # JSON keeps ("a", "bc") and ("ab", "c") apart.
    text = json.dumps(list(scope)).encode()
    return hashlib.blake2b(text, digest_size=_FINGERPRINT_BYTES, person=b"holdfast list").digest()


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES, person=b"holdfast page").digest()
