"""Makes the view classes from the descriptors, each when it is first used. `views` has them by name.

The class of a message has its name: `Task`, `PhaseState`, `Change`. The entries of a journal have a class of their own, such as
`TranscriptEntry`, with the fields of the entry and of the journal's message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from holdfast.contract.kinds import JOURNALS, KINDS_BY_MESSAGE, TIMESTAMP, Journal, Kind, fields_of
from holdfast.v1 import entry_pb2, record_pb2, store_service_pb2
from holdfast.values.fields import message_of, plain
from holdfast.values.view import View, held, one_view
from holdfast.values.view_fields import OwnMemberPlace, Place, place_of

MODULE = "holdfast.values.views"
_ENTRY = entry_pb2.Entry.DESCRIPTOR
_ENTRY_CLASS = "Entry"
_message = property(message_of)


@cache
def class_of(descriptor: Descriptor) -> type[View]:
    """Returns the view class of a message, other than an entry's of one journal."""
    fields = fields_of(descriptor)
    places = {name: place_of(each, class_of) for name, each in fields.items()}
    kind = KINDS_BY_MESSAGE.get(descriptor.full_name)
    return _made(descriptor.name, (View,), descriptor, places, _name=kind.name if kind is not None else _snake(descriptor.name))


@cache
def entry_class_of(journal: Journal) -> type[View]:
    """Returns the view class of a journal's entries: it has the fields of the entry and those of the journal's message."""
    entry = class_of(_ENTRY)
    member = OwnMemberPlace(fields_of(_ENTRY)[journal.name], "", class_of)
    own = {name: place_of(each, class_of, journal.name) for name, each in fields_of(journal.message_class.DESCRIPTOR).items()}
    bases = (_AuditReading, entry) if journal.derived else (entry,)
    places = {**entry._places, journal.name: member, **own}
    return _made(entry_class_name(journal), bases, _ENTRY, places, _name="entry", _repeats=journal.name)


def entry_class_name(journal: Journal) -> str:
    """Returns the name of the class of a journal's entries, such as `TranscriptEntry`."""
    return f"{journal.message_class.DESCRIPTOR.name}Entry"


def view_class_of(kind: Kind) -> type[View]:
    """Returns the view class of a kind."""
    return class_of(kind.message_class.DESCRIPTOR)


def view_of(message: Any) -> Any:
    """Returns a view of a message, which it shares; a view as it is."""
    if isinstance(message, View):
        return message
    if message.DESCRIPTOR is _ENTRY and (journal := JOURNALS.get(message.WhichOneof("value") or "")) is not None:
        return one_view(entry_class_of(journal), message)
    return one_view(class_of(message.DESCRIPTOR), message)


def class_named(name: str) -> type[View]:
    """Returns the view class of that name. Raises KeyError."""
    for journal in JOURNALS.values():
        if name == entry_class_name(journal):
            return entry_class_of(journal)
    return class_of(viewed_messages()[name])


@cache
def viewed_messages() -> Mapping[str, Descriptor]:
    """The messages that have views, by name: records, entries, changes, and the messages inside them."""
    found: dict[str, Descriptor] = {}
    for each in (record_pb2.Record.DESCRIPTOR, _ENTRY, store_service_pb2.Change.DESCRIPTOR):
        found.update((every.name, every) for every in _reached(each))
    return found


def _reached(descriptor: Descriptor) -> Iterator[Descriptor]:
    yield descriptor
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.full_name != TIMESTAMP:
            yield from _reached(field.message_type)


class _AuditReading:
    """An entry of the audit is read as its `audit`: it had no number and no revision before there were views."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of the entry's number, its revision, and the fields of the audit."""
        entry: Any = message_of(self)
        return {"number": entry.number, "revision": entry.revision, **plain(entry.audit)}

    def _read_as(self) -> Message:
        audit: Message = held(self).audit
        return audit


def _made(name: str, bases: tuple[type, ...], descriptor: Descriptor, places: Mapping[str, Place], **about: str) -> type[View]:
    members: dict[str, Any] = {
        "__doc__": f"A view of `{descriptor.full_name}`, which is its `message`; `View` says how fields are decoded.",
        "__module__": MODULE,
        "__slots__": (),
        "_places": places,
        "_type": message_factory.GetMessageClass(descriptor),
        "message": _message,
        **about,
    }
    members.update((each, place.made_property()) for each, place in places.items())
    return type(name, bases, members)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
