"""Makes journal entries from views, messages or mappings of their fields, and checks them before they are sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from holdfast.contract.messages import UNFIT_TEXT
from holdfast.errors import InvalidArgument, TooLarge
from holdfast.v1 import entry_pb2, options_pb2
from holdfast.values.fields import fill, message_of
from holdfast.values.view import View

ENTRY_LIMIT_BYTES = 1 << 20
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # in JSON; after an even number of backslashes
_CERTAINLY_FITS = ENTRY_LIMIT_BYTES // 4 - 4096  # characters; UTF-8 takes at most four bytes for one


@dataclass(frozen=True, slots=True)
class _Texts:
    """The text fields of an entry: those that hold JSON, those that hold plain text; and the required fields. Not those about
    blobs, which the client sets."""

    documents: tuple[str, ...]
    plain: tuple[str, ...]
    required: tuple[str, ...]


@cache
def _texts(name: str) -> _Texts:
    """The text fields of a journal, by the name of its message."""
    message = entry_pb2.DESCRIPTOR.message_types_by_name[name]
    fields, fields_by_name = message.fields, message.fields_by_name
    rules = {each.name: each.GetOptions().Extensions[options_pb2.rules] for each in fields}
    of_blobs = {name for each in rules.values() if each.blob for name in (each.type_field, each.size_field)}
    texts = [
        name
        for name, each in rules.items()
        if fields_by_name[name].type == FieldDescriptor.TYPE_STRING and not each.blob and name not in of_blobs
    ]
    return _Texts(
        documents=tuple(each for each in texts if rules[each].json),
        plain=tuple(each for each in texts if not rules[each].json),
        required=tuple(name for name, each in rules.items() if each.required),
    )


EntryLike = View | Message | Mapping[str, object]


def entry_of(value: EntryLike, journal: str = "transcript") -> entry_pb2.Entry:
    """Returns an entry to append. Raises TypeError for unknown fields, InvalidArgument for unstorable text, TooLarge."""
    entry = unchecked(value, journal)
    check_entry(entry, journal)
    return entry


def unchecked(value: EntryLike, journal: str) -> entry_pb2.Entry:
    """Returns an entry with these fields; an `Entry` itself. Raises TypeError and InvalidArgument as `fill` does."""
    given = message_of(value)
    if isinstance(given, entry_pb2.Entry):
        entry = given
    else:
        entry = entry_pb2.Entry()
        message: Message = getattr(entry, journal)
        message.SetInParent()
        if isinstance(given, Message):
            message.CopyFrom(given)
        else:
            fill(message, journal, given)
    return entry


def check_entry(entry: entry_pb2.Entry, journal: str = "transcript") -> None:
    """Raises InvalidArgument or TooLarge for an entry that the daemon would refuse, because it would refuse the whole batch."""
    message: Message = getattr(entry, journal)
    check_text(message, journal)
    texts = _texts(message.DESCRIPTOR.name)
    for field in texts.required:
        if not getattr(message, field):
            raise _refused(journal, field, "is required")
    characters = sum(len(getattr(message, each)) for each in (*texts.plain, *texts.documents))
    if characters > _CERTAINLY_FITS and (size := entry.ByteSize()) > ENTRY_LIMIT_BYTES:
        raise TooLarge(
            f"The entry has {size:,} bytes, the limit is {ENTRY_LIMIT_BYTES:,}. Keep large data as an artifact, and its id here.",
            metadata={"limit": str(ENTRY_LIMIT_BYTES), "size": str(size)},
        )


def check_text(message: Message, journal: str = "transcript") -> None:
    """Raises InvalidArgument for NUL characters, which the store cannot hold in text."""
    texts = _texts(message.DESCRIPTOR.name)
    held = [each for each in texts.plain if "\0" in getattr(message, each)]
    held += [each for each in texts.documents if "u0000" in (text := getattr(message, each)) and _ESCAPED_NUL.search(text)]
    for field in held:
        raise _refused(journal, field, f"holds a NUL character. {UNFIT_TEXT}".removesuffix("."))


def _refused(journal: str, field: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"{journal}.{field} {why}.", reason="VALUE_INVALID", metadata={"field": field})
