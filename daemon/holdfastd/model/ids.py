"""Ids that the daemon makes from a kind's counter or from a record's fields. Random ids: `holdfast.contract.ids`."""

from __future__ import annotations

from string import Formatter

from holdfast.contract.kinds import Kind, RecordMessage
from holdfastd.errors import InvalidArgument
from holdfastd.model.names import check_id


def sequence_id(kind: Kind, number: int) -> str:
    """The kind's prefix and the number with at least three digits: `TASK-001`."""
    return f"{kind.id_prefix}{number:03d}"


def template_id(kind: Kind, message: RecordMessage) -> str:
    """The kind's id template filled in from the record's fields. INVALID_ARGUMENT when one of these is empty."""
    names = [name for _, name, _, _ in Formatter().parse(kind.id_template) if name]
    values = {name: getattr(message, name) for name in names}
    for name, value in values.items():
        if not value:
            raise InvalidArgument(f"{kind.name}.{name} is required: it makes the id.", reason="FIELD_REQUIRED", field=name)
    return check_id(kind.fitted_id(_bounded(kind, kind.id_template.format_map(values))), f"{kind.name}.id")


def _bounded(kind: Kind, text: str) -> str:
    if (limit := kind.max_template_bytes) and len(text.encode()) > limit:
        raise InvalidArgument(
            f"{kind.name}: {kind.id_template} is longer than {limit:,} bytes. Choose a shorter one.",
            reason="TOO_LARGE",
            limit=limit,
        )
    return text


def was_given(kind: Kind, message: RecordMessage) -> bool:
    """Whether the message's id is one that the template gave for an earlier number: `ship@3` when the next number is 5."""
    for field in kind.columns:
        number = getattr(message, field.name) if field.number_within else 0
        before, marker, after = kind.id_template.partition(f"{{{field.name}}}")
        if number and marker:
            values = {each.name: getattr(message, each.name) for each in kind.columns}
            digits = message.id.removeprefix(before.format_map(values)).removesuffix(after.format_map(values))
            earlier = digits.isdecimal() and 0 < int(digits) < number
            return earlier and message.id == kind.id_template.format_map({**values, field.name: int(digits)})
    return False
