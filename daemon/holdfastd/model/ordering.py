"""The order of a list: `order_by` as in AIP-132 (https://google.aip.dev/132).

Ties are ordered by `made`, the place of the record's insert in the history, then by id. Unset values come first in ascending
and last in descending order. Strings are ordered by code points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from holdfast.contract.kinds import KINDS, Field, FieldType, Kind
from holdfastd.errors import InvalidArgument

MAX_BYTES = 1024

# A column of every kind's table, not a field: the revision and the ordinal of the insert (`place_in_history`).
MADE = Field("made", FieldType.INTEGER, output_only=True)

_ORDINALS = 2**20  # of one revision
_KEY = re.compile(r"[ \t]*(?P<name>\w+)(?:[ \t]+(?P<direction>\w+))?[ \t]*")


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One field to order by."""

    field: Field
    descending: bool


@dataclass(frozen=True, slots=True)
class Order:
    """A total order of a kind's records: the last key is the id, and no field appears twice."""

    keys: tuple[OrderKey, ...]


def parse_order(kind: Kind, text: str) -> Order:
    """The order that `order_by` asks for; empty means `create_time`. Ties are ordered in the last key's direction.

    Raises InvalidArgument with reason ORDER_BY_INVALID and the position. Thread-safe.
    """
    return _parse(kind.name, text) if KINDS.get(kind.name) is kind else _read(kind, text)


@lru_cache(maxsize=256)
def _parse(kind_name: str, text: str) -> Order:
    return _read(KINDS[kind_name], text)


def _refuse(message: str, position: int) -> NoReturn:
    raise InvalidArgument(f"order_by, character {position}: {message}", reason="ORDER_BY_INVALID", position=position)


def _read(kind: Kind, text: str) -> Order:
    if len(text) > MAX_BYTES:
        _refuse(f"order_by has at most {MAX_BYTES} characters.", MAX_BYTES)
    keys: list[OrderKey] = []
    position = 0
    for part in (text if text.strip() else "create_time").split(","):
        key = _key(kind, part, position)
        if any(each.field is key.field for each in keys):
            _refuse(f"{key.field.name} is named twice.", position)
        keys.append(key)
        position += len(part) + 1
    return _total(kind, keys)


def _key(kind: Kind, part: str, position: int) -> OrderKey:
    if (match := _KEY.fullmatch(part)) is None:
        _refuse("Expected a field's name, optionally asc or desc, then a comma or the end.", position)
    if match["direction"] not in (None, "asc", "desc"):
        _refuse("Expected asc, desc, a comma or the end after the field's name.", position + match.start("direction"))
    return OrderKey(_field(kind, match["name"], position + match.start("name")), match["direction"] == "desc")


def _field(kind: Kind, name: str, position: int) -> Field:
    sortable = {each.name: each for each in kind.columns if each.type is not FieldType.JSON}
    if name in sortable:
        return sortable[name]
    known = ", ".join(sortable)
    if name in kind.by_name:
        _refuse(f"{kind.name} cannot be ordered by {name}, only by: {known}.", position)
    _refuse(f"{kind.name} has no field {name[:40]!r}. It can be ordered by: {known}.", position)


def place_in_history(revision: int, ordinal: int) -> int:
    """The value of `made` for a record whose insert is that change of the revision. Rises from change to change."""
    return revision * _ORDINALS + ordinal


def place_sql(changes: str) -> str:
    """The SQL expression of `place_in_history` for a row of the table `changes` with that alias."""
    return f"{changes}.revision * {_ORDINALS} + {changes}.ordinal"


def _total(kind: Kind, keys: list[OrderKey]) -> Order:
    keys = [*keys, OrderKey(MADE, keys[-1].descending), OrderKey(kind.by_name["id"], keys[-1].descending)]
    names = [each.field.name for each in keys]
    total = keys[: names.index("id") + 1]  # ids are unique, so later keys have no effect
    return Order(tuple(total))
