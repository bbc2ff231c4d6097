"""The type check of filters, and the meaning of each comparison for a field of a kind or a journal.

`store/conditions.py` turns these predicates into SQL. Unlike SQL's logic, this one has two values:

- `!=` is true exactly where `=` is false; NOT inverts its operand.
- An unset string (a reference or digest too) is compared as "".
- An unset time, number or boolean and a missing JSON key match no comparison, so they match every `!=` and every NOT.
  `= null` matches unset fields that can be told from empty ones: those marked `optional`, references, digests, times and JSON.
  Inside JSON it matches a key whose value is null.
- `:*` matches such a field when it is set, also to "" or zero. Of the others it matches strings that are not empty, and numbers
  and booleans that are not zero.
- A field of the record that a reference names, such as `session_id.construct_id = "c"`, matches when that record does; an unset
  reference matches only `!=` and NOT.
- A field of the elements of a list, such as `phases.status = "failed"`, matches when any element does.
- A list of references may be asked about from its targets (`Reference.reverse`): `initiatives:"INIT-001"` matches the tasks that
  this initiative names, `initiatives:*` those that any names.
- `:` with a value is membership for repeated fields, a substring for strings, `=` for the rest. Inside JSON it asks an
  object for a key, an array for an element, a string for a substring.
- Strings are compared by code points, case-sensitively. Inside JSON only values of the literal's own type match;
  integers beyond 64 bits are compared there as doubles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from holdfast.contract.kinds import COMMON_FIELDS, KINDS, Field, FieldType, Journal, Kind, Shape, reverses
from holdfastd.model.filter_tokens import quoted, refuse
from holdfastd.model.filters import Comparison, Literal, LiteralKind, Operator
from holdfastd.model.rfc3339 import parse_time_ns

Operand = str | int | float | None

_ORDERINGS = (Operator.LESS, Operator.LESS_EQUAL, Operator.GREATER, Operator.GREATER_EQUAL)


@dataclass(frozen=True, slots=True)
class Predicate:
    """A comparison that fits its field.

    keys: the path inside a JSON field, or the field of a list's elements.
    kind: the literal's type; ANYTHING tests for presence, NULL for an unset field.
    operand: the value in the column's type: nanoseconds for a time, 0 or 1 for a boolean.
    """

    field: Field
    keys: tuple[str, ...]
    operator: Operator
    kind: LiteralKind
    operand: Operand


def can_be_unset(field: Field) -> bool:
    """Whether the column may hold NULL. The times among the common fields never do: the daemon sets them."""
    return field.nullable and field.name not in COMMON_FIELDS


def filterable_fields(shape: Shape) -> Mapping[str, Field]:
    """The fields that filters may name. Entries have `number`, `revision` and `create_time` as well as their own."""
    if isinstance(shape, Journal):
        return {**_entry_fields(), **{each.name: each for each in shape.columns}}
    return _kind_fields(shape) if isinstance(shape, Kind) else shape.by_name


@cache
def _kind_fields(kind: Kind) -> Mapping[str, Field]:
    found = dict(kind.by_name)
    if kind.readiness is not None:
        found[READY.name] = READY
    if kind.vocabularies:
        found[DONE.name] = DONE
    if kind.numbered is not None:
        found[LATEST.name] = LATEST
    for name in reverses(kind.name):
        found[name] = Field(name, FieldType.STRING, repeated=True, output_only=True)
    return found


def _plain(name: str, kind: FieldType) -> Field:
    return Field(name, kind, output_only=True)


# Computed, not a column: whether all records that this one waits for are done (`Kind.readiness`).
READY = _plain("ready", FieldType.BOOLEAN)

# Computed, not a column: whether the record's status means `done` in the vocabulary of its workspace, else in the contract's.
DONE = _plain("done", FieldType.BOOLEAN)

# Computed, not a column: whether no record that is numbered within the same value has a higher number (`Field.number_within`).
LATEST = _plain("latest", FieldType.BOOLEAN)


@cache
def _entry_fields() -> Mapping[str, Field]:
    return {
        "number": _plain("number", FieldType.INTEGER),
        "revision": _plain("revision", FieldType.INTEGER),
        "create_time": _plain("create_time", FieldType.TIME),
    }


def check(shape: Shape, comparison: Comparison) -> Predicate:
    """The comparison with its field found and its value converted.

    Raises InvalidArgument with the position in the metadata: FIELD_UNKNOWN, or FILTER_INVALID when operator or value do not
    fit the field.
    """
    field = _field(shape, comparison)
    keys = comparison.path[1:]
    if field.member is not None:
        return _within(field, field.member, comparison)
    if keys and (target := _target(field)) is not None:
        return _through(field, target, comparison)
    if keys and field.type is not FieldType.JSON:
        refuse(f"{field.name} has nothing inside: dots lead only into JSON fields and references.", comparison.position)
    operand = _operand(field, comparison)
    return Predicate(field, keys, comparison.operator, comparison.literal.kind, operand)


def _within(field: Field, member: Shape, comparison: Comparison) -> Predicate:
    """A comparison of a field of a list's elements; it matches when any element does."""
    literal = comparison.literal
    if len(comparison.path) == 1:
        if comparison.operator is not Operator.HAS or literal.kind is not LiteralKind.ANYTHING:
            example = f"{field.name}.{member.fields[0].name}"
            refuse(f"{field.name} is a list: name a field of its elements, such as {example}.", comparison.position)
        return Predicate(field, (), comparison.operator, literal.kind, None)
    inner = check(member, Comparison(comparison.path[1:], comparison.operator, literal, comparison.position))
    return Predicate(field, comparison.path[1:], inner.operator, inner.kind, inner.operand)


def _target(field: Field) -> Kind | None:
    """The kind of the record to which dots lead."""
    return KINDS[field.reference.kind] if field.reference is not None and field.reference.kind and not field.repeated else None


def _through(field: Field, target: Kind, comparison: Comparison) -> Predicate:
    """A comparison of a field of the record that a reference names. Unset references match nothing."""
    inner_path = comparison.path[1:]
    inner_field = target.by_name.get(inner_path[0])
    if inner_field is not None and (
        inner_field.repeated or inner_field.computed or (len(inner_path) > 1 and not inner_field.json)
    ):
        refuse(f"{'.'.join(comparison.path)}: of another record, filters compare single values.", comparison.position)
    inner = check(target, Comparison(inner_path, comparison.operator, comparison.literal, comparison.position))
    if inner.field.name not in target.by_name:
        refuse(f"{inner.field.name} can be asked of a {target.name} only in a list of them.", comparison.position)
    return Predicate(field, inner_path, inner.operator, inner.kind, inner.operand)


def _field(shape: Shape, comparison: Comparison) -> Field:
    name = comparison.path[0]
    fields = filterable_fields(shape)
    if (field := fields.get(name)) is None:
        message = f"{shape.name} has no field {quoted(name)}. Its fields are: {', '.join(fields)}."
        refuse(message, comparison.position, reason="FIELD_UNKNOWN", field=name[:100])
    return field


def _operand(field: Field, comparison: Comparison) -> Operand:
    literal, operator = comparison.literal, comparison.operator
    if field.repeated and operator is not Operator.HAS:
        refuse(f'{field.name} is a list: ask for a member with {field.name}:"…".', comparison.position)
    if literal.kind is LiteralKind.ANYTHING:
        return None
    if operator in _ORDERINGS and literal.kind in (LiteralKind.NULL, LiteralKind.BOOLEAN):
        refuse(f"{literal.kind.value} values have no order: use = or !=.", comparison.position)
    if literal.kind is LiteralKind.NULL and field.type is not FieldType.JSON:
        _check_null(field, comparison)
        return None
    return _CONVERSIONS[field.type](field, operator, literal)


def _check_null(field: Field, comparison: Comparison) -> None:
    if comparison.operator is Operator.HAS:
        refuse('":" does not work with null: use = null.', comparison.literal.position)
    if not can_be_unset(field):
        refuse(f"{field.name} is never null.", comparison.literal.position)


def _refuse_value(field: Field, expected: str, literal: Literal) -> NoReturn:
    found = quoted(str(literal.value)) if literal.kind is LiteralKind.TEXT else f"a value of type {literal.kind.value}"
    refuse(f"{field.name} expects {expected}, not {found}.", literal.position)


def _string(field: Field, operator: Operator, literal: Literal) -> Operand:
    if not isinstance(literal.value, str):
        _refuse_value(field, "a string; put it in quotes", literal)
    value = str(literal.value)
    possible = field.values if field.default_value or field.required else (*field.values, "")
    if field.values and not field.vocabulary and operator is not Operator.HAS and value not in possible:
        refuse(f"{field.name} is never {quoted(value)}. Its values are: {', '.join(field.values)}.", literal.position)
    return value


def _integer(field: Field, operator: Operator, literal: Literal) -> Operand:
    if literal.kind is not LiteralKind.INTEGER:
        _refuse_value(field, "an integer", literal)
    return _unchanged(field, operator, literal)


def _real(field: Field, operator: Operator, literal: Literal) -> Operand:
    if literal.kind not in (LiteralKind.INTEGER, LiteralKind.REAL):
        _refuse_value(field, "a number", literal)
    return _unchanged(field, operator, literal)


def _boolean(field: Field, operator: Operator, literal: Literal) -> Operand:
    if literal.kind is not LiteralKind.BOOLEAN:
        _refuse_value(field, "true or false", literal)
    return int(bool(literal.value))


def _time(field: Field, operator: Operator, literal: Literal) -> Operand:
    time_ns = parse_time_ns(literal.value) if isinstance(literal.value, str) else None
    if time_ns is None:
        _refuse_value(field, 'a time between 1678 and 2261, such as "2026-01-31" or "2026-01-31T12:00:00Z"', literal)
    return time_ns


def _unchanged(field: Field, operator: Operator, literal: Literal) -> Operand:
    return literal.value


_CONVERSIONS: Mapping[FieldType, Callable[[Field, Operator, Literal], Operand]] = {
    FieldType.STRING: _string,
    FieldType.INTEGER: _integer,
    FieldType.REAL: _real,
    FieldType.BOOLEAN: _boolean,
    FieldType.TIME: _time,
    FieldType.JSON: _unchanged,
}
