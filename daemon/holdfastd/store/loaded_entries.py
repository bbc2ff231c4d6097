"""Adds the entries of a load to their journal: each keeps its number and the time of its append.

The numbers of a journal have no gaps, because a list proves by them that damage hides no entry. So loaded numbers follow each
other, and go on after the journal's last entry. Only the first entry of all may have any number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from google.protobuf.message import Message

from holdfast.v1 import entry_pb2
from holdfastd.errors import AlreadyExists, DataLoss, FailedPrecondition, InvalidArgument
from holdfastd.model import codec
from holdfastd.model.checksums import of_entry
from holdfastd.model.entry_images import EntryImages
from holdfastd.model.loads import LoadedEntries
from holdfastd.model.mutations import Append
from holdfastd.store import entries, entry_blobs, journal_heads, journals
from holdfastd.store.journal_heads import JournalHead, JournalKey
from holdfastd.store.pages import DamagedImage
from holdfastd.store.sql import blob_entry_columns, entry_columns, quoted
from holdfastd.store.unit import Unit


def add(unit: Unit, step: LoadedEntries, skips: bool) -> tuple[int, int, int]:
    """Appends the entries. Returns how many the journal had already, and the numbers of the first and last new one (1, 0: none).

    ALREADY_EXISTS (ENTRY_EXISTS) for an entry that the journal has; with `skips`, FAILED_PRECONDITION (ENTRY_DIFFERS) unless it
    is the same. FAILED_PRECONDITION (ENTRY_GAP) for a number that would leave a gap.
    """
    append = step.append
    key = (unit.workspace, append.journal.name, append.parent_kind, append.parent_id)
    head = unit.ledger.heads.get(key) or journal_heads.load(unit.connection, unit.ledger.heads, append.journal, key)
    present = _present(unit, step, head, skips)
    step = step.without_first(present)
    if not step.numbers:
        return present, 1, 0
    first = _first_number(step, head)
    _write(unit, key, head, step, first)
    return present, first, head.last_number


def _present(unit: Unit, step: LoadedEntries, head: JournalHead, skips: bool) -> int:
    """How many of the entries, from the first on, the journal has already."""
    for place, number in enumerate(step.numbers):
        if skips and not number:
            raise _at(
                step,
                place,
                InvalidArgument(
                    "An entry without a number cannot be looked for, so a load that skips what is there needs its number.",
                    reason="FIELD_REQUIRED",
                    field="number",
                ),
            )
        if not head.journal_id or not number or number > head.last_number:
            return place
        if not skips:
            raise _at(step, place, _exists(step.append, number, head.last_number))
        _check_same(unit, step, place, head)
    return len(step.numbers)


def _exists(append: Append, number: int, last_number: int) -> AlreadyExists:
    return AlreadyExists(
        f"The {append.journal.name} of {append.parent_kind} {append.parent_id} ends at entry {last_number}, so {number} is taken."
        " Leave number unset to append it, or skip what is there.",
        reason="ENTRY_EXISTS",
        kind=append.parent_kind,
        id=append.parent_id,
        number=number,
    )


def _at(step: LoadedEntries, place: int, error: Any) -> Any:
    """The error, with the position of the entry in the request."""
    error.metadata["item"] = str(step.item + place)
    return error


def _check_same(unit: Unit, step: LoadedEntries, place: int, head: JournalHead) -> None:
    """Compares an entry with the stored one of the same number. A time that is not given is not compared."""
    append, number = step.append, step.numbers[place]
    stored = _stored(unit, append, head, number)
    given = append.journal.message_class.FromString(append.rows[place][-1])
    value = None if stored is None else getattr(stored, append.journal.name)
    time_ns = step.times_ns[place]
    if (
        stored is None
        or value is None
        or _without_sizes(append, value) != _without_sizes(append, given)
        or time_ns not in (None, codec.time_ns(stored.create_time))
    ):
        _refuse_other(step, place, number)


def _refuse_other(step: LoadedEntries, place: int, number: int) -> NoReturn:
    append = step.append
    raise _at(
        step,
        place,
        FailedPrecondition(
            f"Entry {number} of the {append.journal.name} of {append.parent_kind} {append.parent_id} is another one. Nothing was"
            " loaded. Leave number unset to append it after the last entry.",
            reason="ENTRY_DIFFERS",
            kind=append.parent_kind,
            id=append.parent_id,
            number=number,
        ),
    )


def _stored(unit: Unit, append: Append, head: JournalHead, number: int) -> entry_pb2.Entry | None:
    """The stored entry; None when the journal begins after that number. DATA_LOSS when it is damaged."""
    row = unit.connection.execute(
        f"SELECT image, checksum FROM {quoted(append.journal.name)} WHERE journal_id = ? AND number = ?",
        (head.journal_id, number),
    ).fetchone()
    if row is None:
        return None
    image = entries.image_of(unit.connection, append.journal, head.journal_id, head.seed, number, *row)
    if isinstance(image, DamagedImage):
        raise DataLoss(
            f"Entry {number} of the {append.journal.name} of {append.parent_kind} {append.parent_id}: {image.reason}.",
            reason="ENTRY_DAMAGED",
            number=number,
        )
    return entry_pb2.Entry.FromString(image)


def _without_sizes(append: Append, value: Message) -> Message:
    """The value without the sizes of blobs, which a row gets only when it is stored."""
    copied = type(value)()
    copied.CopyFrom(value)
    for field in append.journal.blobs:
        copied.ClearField(field.size_field)
    return copied


def _first_number(step: LoadedEntries, head: JournalHead) -> int:
    """The number of the first entry. FAILED_PRECONDITION (ENTRY_GAP) when the numbers do not go on from there."""
    first = step.numbers[0] if step.numbers[0] and not head.journal_id else head.last_number + 1
    for place, number in enumerate(step.numbers):
        if number and number != first + place:
            raise _at(step, place, _gap(step.append, number, first + place))
    return first


def _gap(append: Append, number: int, expected: int) -> FailedPrecondition:
    return FailedPrecondition(
        f"The {append.journal.name} of {append.parent_kind} {append.parent_id} goes on with entry {expected}, not {number}: the"
        " numbers of a journal have no gaps. Number the entries anew, or leave number unset and keep the old one in the entry.",
        reason="ENTRY_GAP",
        kind=append.parent_kind,
        id=append.parent_id,
        number=number,
        expected=expected,
    )


def _write(unit: Unit, key: JournalKey, head: JournalHead, step: LoadedEntries, first: int) -> None:
    append, connection = step.append, unit.connection
    given: Sequence[Sequence[Any]] = append.rows
    columns = entry_columns(append.journal)
    if append.blobs:
        given, columns = entry_blobs.completed(connection, append), blob_entry_columns(append.journal)
    if not head.journal_id:
        head.journal_id, head.first_number, head.last_number = journals.make(connection, key, first), first, first - 1
    connection.insert_rows(quoted(append.journal.name), columns, _rows(unit, head, step, given))
    if append.blobs:
        entry_blobs.refer(connection, key, first, append)
    head.last_number += len(given)
    unit.ledger.heads.put(key, head)


def _rows(unit: Unit, head: JournalHead, step: LoadedEntries, given: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """The rows of the table, each with the time of its own append."""
    rows: list[Sequence[Any]] = []
    for number, ((*columns, value), time_ns) in enumerate(zip(given, step.times_ns, strict=True), head.last_number + 1):
        made_ns = unit.now_ns if time_ns is None else time_ns
        image = EntryImages(step.append.journal, unit.revision, made_ns).image(number, value)
        rows.append((head.journal_id, number, unit.revision, made_ns, *columns, image, of_entry(head.seed, number, image)))
    return rows
