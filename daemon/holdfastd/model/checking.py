"""Validation of records and entries before they are queued: every string, number, time and JSON text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from holdfast.contract.kinds import Field, FieldType, Kind, RecordMessage, Shape
from holdfast.contract.messages import UNFIT_TEXT
from holdfastd.errors import InvalidArgument
from holdfastd.model.codec import MAX_TIME_NS, MIN_TIME_NS, canonical_json, time_ns
from holdfastd.model.names import check_id

MAX_RECORD_BYTES = 2 * 2**20
MAX_ENTRY_BYTES = 2**20
MAX_CLEARED = 1_000  # ids in a list from which a deleted record is removed: each delete writes the whole list again
MAX_LOADED_NUMBER = 10**15  # the daemon counts on from a loaded one, and verify accepts what it gave

Check = Callable[[Message], None]


def _refuse_nul(value: str, field: str) -> None:
    if "\0" in value:
        raise InvalidArgument(f"{field} holds a NUL character. {UNFIT_TEXT}", reason="VALUE_INVALID", field=field)


def _check_string(field: Field) -> Check:
    # The writer checks a field with a vocabulary, as the workspace may have another (`store/vocabularies.py`).
    name, values = field.name, () if field.vocabulary else field.values
    clears_empty = field.optional and not field.keeps_empty

    def check(message: Message) -> None:
        value = getattr(message, name)
        _refuse_nul(value, name)
        if clears_empty and not value:
            # Store an empty string as NULL: it names no record, and two empty values would collide in a unique key.
            message.ClearField(name)
        if values and value and value not in values:
            known = ", ".join(values)
            raise InvalidArgument(f"{name} {value[:40]!r} is not one of: {known}.", reason="VALUE_INVALID", field=name)

    return check


def _check_strings(field: Field) -> Check:
    name = field.name
    most = MAX_CLEARED if field.reference is not None and field.reference.clears else 0

    def check(message: Message) -> None:
        values = getattr(message, name)
        if most and len(values) > most:
            raise InvalidArgument(
                f"{name} has {len(values):,} ids; the limit is {most:,}.", reason="TOO_LARGE", field=name, limit=most
            )
        for value in values:
            _refuse_nul(value, name)
            if not value:
                raise InvalidArgument(f"{name} holds an empty string.", reason="VALUE_INVALID", field=name)
        if len(set(values)) != len(values):
            raise InvalidArgument(f"{name} names the same value twice.", reason="VALUE_INVALID", field=name)

    return check


def _check_members(name: str, member: Shape, unique_by: str) -> Check:
    def check(message: Message) -> None:
        for each in getattr(message, name):
            check_values(member, each)
            set_defaults(member, each)
            check_required(member, each)
        if unique_by:
            _check_unique(name, unique_by, [getattr(each, unique_by) for each in getattr(message, name)])

    return check


def _check_unique(name: str, unique_by: str, values: list[object]) -> None:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise InvalidArgument(
                f"Two {name} have the {unique_by} {str(value)[:40]!r}; each needs another.", reason="VALUE_INVALID", field=name
            )


def _canonicalise(field: Field) -> Check:
    name = field.name

    def check(message: Message) -> None:
        if value := getattr(message, name):
            setattr(message, name, canonical_json(value, name))

    return check


def _check_real(field: Field) -> Check:
    name = field.name

    def check(message: Message) -> None:
        value = getattr(message, name)
        if not math.isfinite(value):
            raise InvalidArgument(f"{name} is {value}; it must be a finite number.", reason="VALUE_INVALID", field=name)
        if value == 0 and math.copysign(1, value) < 0:
            setattr(message, name, 0.0)  # SQLite drops the sign of zero

    return check


def _check_time(field: Field) -> Check:
    name = field.name

    def check(message: Message) -> None:
        check_stamp(getattr(message, name), name)

    return check


def _accept(message: Message) -> None:
    """The check of a field that accepts every value."""


def check_of(field: Field) -> Check:
    """The check of one field. The check of a JSON field also replaces the text with its canonical form."""
    if field.output_only:
        return _accept
    if field.member is not None:
        return _check_members(field.name, field.member, field.unique_by)
    if field.repeated:
        return _check_strings(field)
    checks = {
        FieldType.STRING: _check_string,
        FieldType.JSON: _canonicalise,
        FieldType.TIME: _check_time,
        FieldType.REAL: _check_real,
    }
    return checks[field.type](field) if field.type in checks else _accept


@cache
def _checks(shape: Shape) -> tuple[Check, ...]:
    return tuple(check for field in shape.fields if (check := check_of(field)) is not _accept)


def check_values(shape: Shape, message: Message) -> None:
    """Checks every field that a caller may set, and replaces JSON texts with their canonical form, in place."""
    refuse_unknown_fields(shape, message)
    for check in _checks(shape):
        check(message)


def refuse_unknown_fields(shape: Shape, message: Message) -> None:
    """INVALID_ARGUMENT for a field that this daemon does not know: there is no column to store it in."""
    if unknown := UnknownFieldSet(message):
        raise InvalidArgument(
            f"The {shape.name} has a field (number {unknown[0].field_number}) that this daemon does not know and would lose."
            " Update the daemon, or leave the field out.",
            reason="FIELD_UNKNOWN",
            kind=shape.name,
            field=unknown[0].field_number,
        )


def check_size(message: Message, limit: int, noun: str) -> None:
    """INVALID_ARGUMENT (TOO_LARGE), with the limit, when the message has more than `limit` bytes."""
    if (size := message.ByteSize()) > limit:
        raise InvalidArgument(
            f"The {noun} has {size:,} bytes; the limit is {limit:,}. Put large content into a blob.",
            reason="TOO_LARGE",
            limit=limit,
            size=size,
        )


def check_required(shape: Shape, message: Message) -> None:
    """INVALID_ARGUMENT when a required field is empty."""
    for field in shape.fields:
        if field.required and not getattr(message, field.name):
            raise InvalidArgument(f"{shape.name}.{field.name} is required.", reason="FIELD_REQUIRED", field=field.name)


def check_record(kind: Kind, message: RecordMessage) -> None:
    """All checks of a record that need no read of the store."""
    check_values(kind, message)
    check_in_place_of(kind, message)
    check_size(message, MAX_RECORD_BYTES, f"{kind.name} record")  # last: canonical JSON may be longer than the given text
    if message.id:
        check_id(message.id, f"{kind.name}.id")


def check_in_place_of(shape: Shape, message: Message) -> None:
    """INVALID_ARGUMENT when a blob and the field that it stands for are both set."""
    for field in shape.blobs:
        if field.in_place_of and getattr(message, field.name) and getattr(message, field.in_place_of):
            raise InvalidArgument(
                f"{field.in_place_of} and {field.name} are both set; the blob is there in place of the other. Clear one of them.",
                reason="VALUE_INVALID",
                field=field.name,
            )


@cache
def _set_by_daemon(kind: Kind) -> tuple[str, ...]:
    return tuple(field.name for field in kind.fields if field.output_only)


@cache
def _kept(kind: Kind) -> tuple[str, ...]:
    """The output-only fields that never change: not the version, the time of the update, and the sizes of blobs."""
    changing = {"version", "update_time", *(field.size_field for field in kind.blobs)}
    return tuple(name for name in _set_by_daemon(kind) if name not in changing)


def clear_output_only(kind: Kind, message: RecordMessage) -> None:
    """Clears the fields that only the daemon sets, in place."""
    for name in _set_by_daemon(kind):
        message.ClearField(name)


def check_loaded(kind: Kind, message: RecordMessage) -> None:
    """Checks the fields of a record to load that only the daemon sets in other writes: its version, numbers and times."""
    for field in kind.fields:
        if not field.output_only:
            continue
        if field.time and message.HasField(field.name):
            check_stamp(getattr(message, field.name), field.name)
        elif field.type is FieldType.INTEGER:
            check_loaded_number(getattr(message, field.name), f"{kind.name}.{field.name}")
    has_both = message.HasField("create_time") and message.HasField("update_time")
    if has_both and time_ns(message.update_time) < time_ns(message.create_time):
        raise InvalidArgument(f"{kind.name}.update_time is before create_time.", reason="VALUE_INVALID", field="update_time")


def check_loaded_number(value: int, name: str) -> None:
    """INVALID_ARGUMENT for a version or number that no record or entry can have; 0 means unset."""
    if not 0 <= value < MAX_LOADED_NUMBER:
        raise InvalidArgument(
            f"{name} is {value}; it is 1 or more and less than 10^15, or unset.",
            reason="VALUE_INVALID",
            field=name.rpartition(".")[2],
        )


def check_stamp(stamp: Timestamp, name: str) -> int:
    """The nanoseconds of a time. INVALID_ARGUMENT unless it lies in the years 1678 to 2261."""
    if UnknownFieldSet(stamp):
        raise InvalidArgument(f"{name} has fields that a time does not have.", reason="VALUE_INVALID", field=name)
    if not 0 <= stamp.nanos < 10**9 or not MIN_TIME_NS <= time_ns(stamp) <= MAX_TIME_NS:
        raise InvalidArgument(f"{name} lies outside the years 1678 to 2261.", reason="VALUE_INVALID", field=name)
    return time_ns(stamp)


def refuse_output_only(kind: Kind, message: RecordMessage) -> None:
    """INVALID_ARGUMENT (OUTPUT_ONLY) when a record to insert sets a field that only the daemon sets."""
    empty = kind.message_class()
    for name in _set_by_daemon(kind):
        if getattr(message, name) != getattr(empty, name):
            raise _output_only(kind, name, "is set by the daemon. Leave it unset")


def refuse_other_output_only(kind: Kind, before: RecordMessage, message: RecordMessage) -> None:
    """INVALID_ARGUMENT (OUTPUT_ONLY) when an update sets a field that never changes to another value than the stored one.

    The version and the time of the update may be those of an earlier read: `Update.version` says whether that matters.
    """
    empty = kind.message_class()
    for name in _kept(kind):
        value = getattr(message, name)
        if value not in (getattr(before, name), getattr(empty, name)):
            raise _output_only(kind, name, "cannot be changed. Send it as it was read, or leave it unset")


def _output_only(kind: Kind, name: str, why: str) -> InvalidArgument:
    return InvalidArgument(
        f"{kind.name}.{name} {why}. AdminService.Load adds records that keep their times and versions.",
        reason="OUTPUT_ONLY",
        kind=kind.name,
        field=name,
    )


def set_defaults(kind: Shape, message: Message) -> None:
    """Sets each empty field that has a default to it, in place."""
    for field in kind.fields:
        if field.default_value and not getattr(message, field.name):
            setattr(message, field.name, field.default_value)


def settable(kind: Kind) -> tuple[str, ...]:
    """The names of the fields that an update can replace."""
    return tuple(field.name for field in kind.fields if not field.output_only and field.name != "id")


def check_mask(kind: Kind, message: Message, paths: Iterable[str]) -> tuple[str, ...]:
    """The names of the fields that an update replaces. `*` means every field, an empty mask every field that is set."""
    allowed = settable(kind)
    named = list(paths)
    if named == ["*"]:
        return allowed
    if not named:
        present = {descriptor.name for descriptor, _ in message.ListFields()}
        return tuple(name for name in allowed if name in present or name in _counterparts(kind, tuple(present)))
    for name in named:
        if name not in allowed:
            known = ", ".join(allowed)
            raise InvalidArgument(
                f"update_mask names {name!r}, which is not a field of {kind.name} that can be set. These are: {known}.",
                reason="FIELD_UNKNOWN",
                field=name,
            )
    return tuple(dict.fromkeys([*named, *_counterparts(kind, named)]))


def _counterparts(kind: Kind, names: Sequence[str]) -> list[str]:
    """The fields that an update of these fields clears: the blob in place of one of them, or what one of them is in place of."""
    pairs = [(field.name, field.in_place_of) for field in kind.blobs if field.in_place_of]
    return [other for pair in pairs for one, other in (pair, pair[::-1]) if one in names and other not in names]
