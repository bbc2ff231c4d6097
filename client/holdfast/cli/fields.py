"""Chooses the fields of a kind that a table shows, and formats their values. Derived from the descriptors, for any kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor

from holdfast.cli.json_form import json_block, json_line
from holdfast.cli.kind_names import said, unknown
from holdfast.cli.terminal import Column
from holdfast.cli.text import one_line, size_text, time_text, visible
from holdfast.contract.kinds import KINDS, Kind
from holdfast.v1 import options_pb2

# fmt: off
TELLING = frozenset((
    "number", "name", "title", "type", "status", "agent", "actor", "author",
    "owner", "severity", "phase", "current_phase", "task_id", "run_id", "workflow",
    "variable", "approved", "parent_version", "superseded_by", "edition", "activity_time",
    "occurrences", "confidence",
))
# fmt: on
CELL_CHARACTERS = 400
# The sizes of blobs that only some records have, in place of a field.
SOMETIMES = frozenset(field.size_field for kind in KINDS.values() for field in kind.blobs if field.in_place_of)

_NUMBERS = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_DOUBLE)


def default_fields(kind: Kind) -> list[str]:
    """The default columns: id, version, the fields in `TELLING`, required fields, sizes, and the time of the last change."""
    descriptor = kind.message_class.DESCRIPTOR
    template = descriptor.GetOptions().Extensions[options_pb2.kind].id_template
    own = [each for each in descriptor.fields if each.name not in ("id", "version") and f"{{{each.name}}}" not in template]
    return ["id", "version", *(each.name for each in own if _is_telling(each.name, rules_of(each))), "update_time"]


def descriptor_of(kind: Kind, name: str) -> FieldDescriptor:
    """Returns a field's descriptor. Raises KeyError if the kind does not have the field."""
    return cast(FieldDescriptor, kind.message_class.DESCRIPTOR.fields_by_name[name])


def rules_of(field: Any) -> options_pb2.FieldRules:
    """Returns the contract's rules for a field (a `FieldDescriptor`)."""
    rules: options_pb2.FieldRules = field.GetOptions().Extensions[options_pb2.rules]
    return rules


def blob_field(kind: Kind) -> str:
    """The field of a kind that holds its content's digest; empty if the kind has none."""
    fields = kind.message_class.DESCRIPTOR.fields
    return next((each.name for each in fields if rules_of(each).blob), "")


KINDS_WITH_CONTENT = tuple(each for each in KINDS.values() if blob_field(each))


def _is_telling(name: str, rules: options_pb2.FieldRules) -> bool:
    return name in TELLING or rules.required or (rules.output_only and name.endswith("_bytes") and name not in SOMETIMES)


def chosen_fields(kind: Kind, names: str) -> list[str]:
    """Returns the fields in a comma-separated list, or the default ones if it is empty. Raises InvalidArgument for unknown ones.

    `metadata.branch` selects a value inside a field marked JSON, `phases.status` a field of each element of a list of messages.
    """
    if not names:
        return default_fields(kind)
    chosen = [each.strip().lower() if "." not in each else each.strip() for each in names.split(",")]
    for each in chosen:
        name, _, inside = each.partition(".")
        if name not in kind.by_name or (inside and not _reaches(kind, name, inside.partition(".")[0])):
            raise unknown(f"field of {said(kind)}", each, kind.by_name, reason="FIELD_UNKNOWN")
    return chosen


def _reaches(kind: Kind, name: str, inside: str) -> bool:
    """Whether the field can contain a value of the name `inside`."""
    field = descriptor_of(kind, name)
    inner = field.message_type if field.is_repeated else None
    return kind.by_name[name].json or (inner is not None and inside in inner.fields_by_name)


def column_of(kind: Kind, name: str) -> Column:
    """Returns a field's column."""
    field = descriptor_of(kind, name.partition(".")[0])
    right = field.cpp_type in _NUMBERS and not field.is_repeated
    return Column(name.upper() if "." not in name else name, right=right, whole=name == "id")


def value_at(form: Mapping[str, Any], name: str) -> Any:
    """Returns the value of a field, or at a path inside it such as `metadata.branch`; None if there is none."""
    first, *path = name.split(".")
    value = form.get(first)
    for depth, key in enumerate(path):
        if isinstance(value, list) and not depth:
            return [value_at(each, ".".join(path)) if isinstance(each, dict) else None for each in value]
        value = value.get(key) if isinstance(value, dict) else None
    return value


def cell(name: str, value: Any) -> str:
    """Formats a value on one line: text as it is, times in seconds, sizes in units, texts joined by commas, the rest as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return one_line(time_text(value) if name.endswith("_time") else value)
    if isinstance(value, int) and name.endswith("_bytes"):
        return size_text(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return one_line(", ".join(map(str, value)))
    return one_line(json_line(value))


def block(kind: Kind, name: str, value: Any) -> str:
    """Formats a value on any number of lines: text as it is, texts joined by commas, JSON indented, one message per line."""
    if value is None or value == []:
        return ""
    if kind.by_name[name].json:
        return visible(json_block(value))
    if isinstance(value, list):
        return visible("\n".join(map(_told, value)) if kind.by_name[name].member else ", ".join(map(str, value)))
    if isinstance(value, bool):
        return json_line(value)
    return f"{value} ({cell(name, value)})" if name.endswith("_bytes") else visible(str(value))


def blocks(kind: Kind, form: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines that show all fields of a record, each after its name."""
    width = max(map(len, form)) + 2
    for name, value in form.items():
        first, *more = block(kind, name, value).split("\n")
        yield f"{name:<{width}}{first}".rstrip()
        yield from (" " * width + line for line in more)


def _told(message: Mapping[str, Any]) -> str:
    """A message of a list as JSON, without unset fields."""
    return json_line({name: each for name, each in message.items() if each})
