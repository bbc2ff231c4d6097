"""The expected diff of an audit entry, computed from two messages independently of the daemon's code."""

from __future__ import annotations

import json
import math
from typing import Any

from google.protobuf.message import Message

from holdfast.contract.kinds import COMMON_FIELDS, Field, FieldType, Kind


def expected_diff(kind: Kind, before: Message | None, after: Message | None) -> dict[str, dict[str, Any]]:
    """For each field that differs: the value before and after; a side that is not set is left out."""
    old, new = _values(kind.fields, before), _values(kind.fields, after)
    names = [name for name in old | new if name not in COMMON_FIELDS and _differs(name, old, new)]
    sides = {"before": old, "after": new}
    return {name: {side: values[name] for side, values in sides.items() if name in values} for name in names}


def _differs(name: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    return (name in old, old.get(name)) != (name in new, new.get(name))  # a field that holds JSON's null is set


def _values(fields: tuple[Field, ...], message: Message | None) -> dict[str, Any]:
    if message is None:
        return {}
    by_name = {each.name: each for each in fields}
    found = {}
    for descriptor, value in message.ListFields():
        field = by_name[descriptor.name]
        found[field.name] = [_value(field, each) for each in value] if field.repeated else _value(field, value)
    return found


def _value(field: Field, value: Any) -> Any:
    if field.member is not None:
        return _values(field.member.fields, value)
    if field.type is FieldType.JSON:
        return json.loads(value)
    if field.type is FieldType.TIME:
        return value.ToJsonString()
    if field.type is FieldType.REAL and not math.isfinite(value):
        return str(value)
    return value
