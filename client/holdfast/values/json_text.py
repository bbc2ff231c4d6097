"""Encodes values as JSON text that decodes to equal values; refuses values that would change.

It accepts None, bool, int of any size, finite float, str, dict with str keys, list, and tuple, which is decoded as a list.
JSON is sent as text because `google.protobuf.Struct` would turn 1 into 1.0 and could not hold 2**53 + 1.
"""

from __future__ import annotations

import json
import math
import re
from itertools import chain
from typing import Any

import orjson

_PLAIN = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
# Escapes of the two halves of a character are decoded as the character.
_HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_WHOLE: frozenset[type] = frozenset((str, int, bool, type(None)))
_WHOLE_OR_FLOAT: frozenset[type] = _WHOLE | {float}


class LoneSurrogate(ValueError):
    """A string holds a lone surrogate, which UTF-8 cannot encode."""


def to_json(value: object) -> bytes:
    """Returns compact JSON in UTF-8, with keys in the order of the dict.

    Raises TypeError for values that JSON cannot represent, ValueError for NaN, infinities, lone surrogates and cycles.
    """
    try:
        text = orjson.dumps(value, option=_PLAIN)
    except TypeError:
        return _long_way(value)
    # orjson refuses keys that are not strings, but writes NaN as null, and classes such as UUID as text.
    _check_values(value, _WHOLE if b"null" in text else _WHOLE_OR_FLOAT)
    return text


def from_json(text: str | bytes) -> Any:
    """Returns the value of JSON text. Integers are exact."""
    return json.loads(text)


def _long_way(value: object) -> bytes:
    """Encodes integers over 64 bits and deep nesting, which orjson refuses. For other values, raises an error that names them."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError as error:
        said = f"A string holds a lone surrogate, {error.object[error.start]!r}, which UTF-8 cannot encode."
        raise LoneSurrogate(said) from None
    except RecursionError:
        raise ValueError("The value is nested too deeply for JSON.") from None
    _check_keys(value)
    _check_values(value, _WHOLE)
    return text


def to_escaped_json(value: object) -> bytes:
    """As `to_json`, but accepts lone surrogates: every character outside ASCII is an escape.

    Raises ValueError for two surrogates in a row that are the halves of one character, as they would be decoded as it.
    """
    try:
        if _HALVES.search(json.dumps(value, ensure_ascii=False, allow_nan=False)):
            raise ValueError(
                "A string holds the two halves of one character as two surrogates, which JSON cannot tell from the character."
                " text.encode('utf-16', 'surrogatepass').decode('utf-16', 'surrogatepass') joins them."
            )
        text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode()
    except RecursionError:
        raise ValueError("The value is nested too deeply for JSON.") from None
    _check_keys(value)
    _check_values(value, _WHOLE)
    return text


def _check_values(value: object, harmless: frozenset[type]) -> None:
    """Raises for values that encoders change. Checks level by level: one set comparison in C skips a level of harmless types."""
    level = [value]
    while level:
        inside = _inside(level)
        level = [] if harmless.issuperset(map(type, inside)) else [each for each in inside if type(each) not in harmless]


def _inside(level: list[Any]) -> list[object]:
    """The values inside the containers of a level. Raises for values that JSON cannot represent."""
    types = set(map(type, level))
    if types == {dict}:
        return list(chain.from_iterable(map(dict.values, level)))
    if types == {list}:
        return list(chain.from_iterable(level))
    dicts = [each for each in level if isinstance(each, dict)]
    arrays = [each for each in level if isinstance(each, list | tuple)]
    for each in level:
        _check_single(each)
    return [*chain.from_iterable(map(dict.values, dicts)), *chain.from_iterable(arrays)]


def _check_single(item: object) -> None:
    if isinstance(item, float):
        if not math.isfinite(item):
            raise ValueError(f"JSON has no {item!r}.")
    elif item is not None and not isinstance(item, str | int | dict | list | tuple):
        raise TypeError(f"JSON has no {type(item).__name__}.")


def _check_keys(value: object) -> None:
    """Raises for keys that are not strings, which the standard library would turn into strings."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, str):
                    raise TypeError(f"The key {key!r} is not a string; it would be decoded as one.")
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
