"""What completion offers for fields: their names, and the values that the contract knows of."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.descriptor import FieldDescriptor

from holdfast.cli.field_values import BOOLEANS, NOW
from holdfast.cli.fields import descriptor_of, rules_of
from holdfast.cli.kind_names import plain_name
from holdfast.contract.kinds import KINDS, TIMESTAMP, Kind


def columns(kind: Kind | None, current: str) -> list[str]:
    """The kind's fields, for the last place of a list by commas."""
    return _at_the_end(current, kind.by_name) if kind is not None else []


def order_keys(kind: Kind | None, current: str) -> list[str]:
    """Those that a list can be ordered by: one value each, and no JSON."""
    if kind is None:
        return []
    plain = (each.name for each in kind.fields if not (each.repeated or each.json))
    return _at_the_end(current, (each for each in plain if not rules_of(descriptor_of(kind, each)).computed))


def _at_the_end(current: str, names: Iterable[str]) -> list[str]:
    before, comma, _ = current.rpartition(",")
    return [f"{before}{comma}{each}" for each in names]


def assignments(kind: Kind | None, current: str) -> list[str] | None:
    """`FIELD=` for every field that can be set, or behind it the values there are; None where these are ids of records."""
    if kind is None:
        return []
    name, assigned, _ = current.partition("=")
    if not assigned:
        return [f"{each.name}=" for each in kind.fields if not each.output_only]
    field = _field(kind, name)
    if field is None:
        return []
    reference = rules_of(field).reference
    return None if reference.kind or reference.kind_field else [f"{name}={each}" for each in _known_values(kind, field)]


def referred_kind(kind: Kind | None, name: str, words: Iterable[str]) -> str:
    """The kind whose ids the field takes; for a link it stands in another of the words. Empty when nobody knows."""
    field = _field(kind, name) if kind is not None else None
    if field is None:
        return ""
    reference = rules_of(field).reference
    given = dict(each.split("=", 1) for each in words if "=" in each)
    found = reference.kind or given.get(reference.kind_field, "")
    return found if found in KINDS else ""


def _field(kind: Kind, name: str) -> FieldDescriptor | None:
    return descriptor_of(kind, plain_name(name)) if plain_name(name) in kind.by_name else None


def _known_values(kind: Kind, field: FieldDescriptor) -> Iterable[str]:
    if field.message_type is not None and field.message_type.full_name == TIMESTAMP:
        return [NOW]
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return list(BOOLEANS)
    if any(rules_of(each).reference.kind_field == field.name for each in kind.message_class.DESCRIPTOR.fields):
        return list(KINDS)
    return list(rules_of(field).values)
