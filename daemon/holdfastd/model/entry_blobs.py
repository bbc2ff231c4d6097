"""Entries that name blobs: the check of what they say, and the columns that only they fill.

Most entries name none. They are recognised by one comparison (`EntryCodec.blob_values`) and do not come here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.message import Message

from holdfast.contract.kinds import Journal
from holdfastd.errors import InvalidArgument
from holdfastd.model import codec
from holdfastd.model.checking import check_in_place_of, check_values


def check(journal: Journal, message: Message) -> bool:
    """Checks all fields, clears those that only the daemon sets, and returns whether the entry names a blob."""
    check_values(journal, message)
    check_in_place_of(journal, message)
    for field in journal.blobs:
        message.ClearField(field.size_field)
        if field.type_field and getattr(message, field.type_field) and not getattr(message, field.name):
            raise InvalidArgument(
                f"{field.type_field} is set without {field.name}. Set both or neither.",
                reason="VALUE_INVALID",
                field=field.type_field,
            )
    return any(getattr(message, field.name) for field in journal.blobs)


def columns(journal: Journal, message: Message) -> tuple[Any, ...]:
    """The values of the journal's `blob_columns`."""
    return tuple([encode(message) for encode in _encoders(journal)])


@cache
def defaults(journal: Journal) -> tuple[Any, ...]:
    """The values of `blob_columns` for an entry that names no blob; the schema has the same."""
    return columns(journal, journal.message_class())


@cache
def _encoders(journal: Journal) -> tuple[codec.ReadColumn, ...]:
    return tuple(codec.encoder(each) for each in journal.blob_columns)
