"""Hypothesis strategies for messages of every kind and journal, made from the registry. All of them pass validation."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from holdfast.contract.kinds import Field, FieldType, Journal, Shape
from holdfastd.model.codec import MAX_TIME_NS, MIN_TIME_NS, set_time

# Characters of every plane, except surrogates, which protobuf can't encode, and NUL, which validation refuses.
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
integers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)]))
short_integers = st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]))
times_ns = st.one_of(st.integers(MIN_TIME_NS, MAX_TIME_NS), st.sampled_from([0, -1, 1, MIN_TIME_NS, MAX_TIME_NS]))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
json_texts = st.builds(
    lambda value, indent, ascii_only: json.dumps(value, indent=indent, ensure_ascii=ascii_only),
    json_values,
    st.sampled_from([None, 1]),
    st.booleans(),
)


def has_32_bits(field: Field) -> bool:
    return field.descriptor is not None and field.descriptor.type == FieldDescriptor.TYPE_INT32


def values_of(field: Field) -> st.SearchStrategy[Any]:
    """Valid values of one field."""
    if field.member is not None:
        key = (lambda each: getattr(each, field.unique_by)) if field.unique_by else None
        return st.lists(messages(field.member, whole=True), max_size=3, unique_by=key)
    if field.values:
        one: st.SearchStrategy[Any] = st.sampled_from(field.values)
    else:
        one = {
            FieldType.STRING: texts,
            FieldType.JSON: json_texts,
            FieldType.INTEGER: short_integers if has_32_bits(field) else integers,
            FieldType.REAL: st.floats(allow_nan=False, allow_infinity=False),
            FieldType.BOOLEAN: st.booleans(),
            FieldType.TIME: times_ns,
        }[field.type]
    return st.lists(one.filter(bool), max_size=4, unique=True) if field.repeated else one


def put(message: Message, field: Field, value: Any) -> None:
    if field.repeated:
        getattr(message, field.name).extend(value)
    elif field.type is FieldType.TIME:
        set_time(getattr(message, field.name), value)
    else:
        setattr(message, field.name, value)


@st.composite
def messages(draw: st.DrawFn, shape: Shape, whole: bool = False) -> Any:
    """A message of the shape with a random choice of its fields; with `whole` all required ones are set. It names no blob if it
    is an entry."""
    message = shape.message_class()
    for field in shape.own_columns if isinstance(shape, Journal) else shape.fields:
        required = whole and field.required
        if required or draw(st.booleans()):
            put(message, field, draw(values_of(field).filter(bool) if required else values_of(field)))
    return message
