"""Converts journal entries to rows and back; checks them in the same pass.

It runs for tens of thousands of entries a second, so one `attrgetter` fetches all fields of an entry, and only the fields that
need a check or a conversion are handled one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import Field, FieldType, Journal
from holdfast.v1 import entry_pb2
from holdfastd.model import codec
from holdfastd.model.checking import MAX_ENTRY_BYTES, check_of, check_required, check_size, check_values, refuse_unknown_fields

Convert = Callable[[Message, Any], Any]


class EntryCodec:
    """Converts the entries of one journal. Thread-safe."""

    def __init__(self, journal: Journal) -> None:
        fields = journal.own_columns
        self._journal = journal
        self._names = tuple(field.name for field in journal.columns)
        self._get = attrgetter(*(field.name for field in fields))
        # What an entry says of blobs, and what one says that names none. One comparison tells, without a loop over the fields.
        self.blob_values = attrgetter("__class__", *(field.name for field in journal.blob_columns))
        self.no_blobs = self.blob_values(journal.message_class())
        self._strings = tuple(place for place, field in enumerate(fields) if field.type is FieldType.STRING)
        self._required = tuple(place for place, field in enumerate(fields) if field.required)
        self._converts = tuple((place, convert) for place, field in enumerate(fields) if (convert := _conversion(field)))
        self._documents = tuple(place for place, field in enumerate(fields) if field.type is FieldType.JSON)
        # Their checks replace -0.0 and optional empty strings in the message.
        self._is_rewritten = any(
            each.type is FieldType.REAL or (each.type is FieldType.STRING and each.optional) for each in fields
        )
        self._times = tuple(field.name for field in fields if field.type is FieldType.TIME)
        self._zero_counts = frozenset(field.name for field in fields if field.optional or field.type is FieldType.TIME)

    def row(self, message: Message) -> list[Any]:
        """The values of the journal's `own_columns`, and last the encoded message, with its JSON in canonical form.

        Raises INVALID_ARGUMENT, with the wrong field or the limit exceeded.
        """
        encoded = self._encoded(message)
        refuse_unknown_fields(self._journal, message)
        values = list(self._get(message))
        if b"\0" in encoded:  # once, instead of in each string; a number may have this byte too
            self._refuse_nul(message, values)
        for place in self._required:
            if not values[place]:
                check_required(self._journal, message)
        for place, convert in self._converts:
            values[place] = convert(message, values[place])
        if self._is_rewritten:
            encoded = self._encoded(message)
        for place in self._documents:
            if values[place]:
                encoded = self._encoded(message)  # JSON in canonical form may be longer
        values.append(encoded)
        return values

    def _encoded(self, message: Message) -> bytes:
        encoded = message.SerializeToString()
        if len(encoded) > MAX_ENTRY_BYTES:  # `ByteSize` would encode it a second time
            check_size(message, MAX_ENTRY_BYTES, f"{self._journal.name} entry")
        return encoded

    def _refuse_nul(self, message: Message, values: Sequence[Any]) -> None:
        if any("\0" in values[place] for place in self._strings):
            check_values(self._journal, message)

    def add(self, entries: Any, number: int, revision: int, create_time: Timestamp, columns: Sequence[Any]) -> entry_pb2.Entry:
        """Appends an entry with these column values to a repeated field. ValueError or TypeError when they do not fit."""
        values = {
            name: value
            for name, value in zip(self._names, columns, strict=True)
            if value or (value is not None and name in self._zero_counts)
        }
        for name in self._times:
            if name in values:
                values[name] = _stamp(values[name])
        value = self._journal.message_class(**values)
        entry: entry_pb2.Entry = entries.add(
            number=number, revision=revision, create_time=create_time, **{self._journal.name: value}
        )
        return entry


def _conversion(field: Field) -> Convert | None:
    """The function that checks a field and returns its column value; None for a field that `row` handles without one."""
    plain = field.type in (FieldType.STRING, FieldType.INTEGER, FieldType.REAL)
    if plain and not (field.nullable or field.values):
        return None
    name, encode, check = field.name, codec.encoder(field), check_of(field)
    has_presence, nullable = field.type is FieldType.TIME or field.optional, field.nullable

    def convert(message: Message, value: Any) -> Any:
        if not (message.HasField(name) if has_presence else value):
            return None if nullable else encode(message)
        check(message)
        return encode(message)

    return convert


def _stamp(ns: int) -> Timestamp:
    seconds, nanos = divmod(ns, codec.NANOS)
    return Timestamp(seconds=seconds, nanos=nanos)


@lru_cache(maxsize=1024)
def create_time(ns: int) -> Timestamp:
    """The time of a commit. The entries of one commit share the message, so do not change it."""
    return _stamp(ns)


@cache
def entry_codec(journal: Journal) -> EntryCodec:
    """The journal's codec, created once."""
    return EntryCodec(journal)
