"""The kinds of records as the client sees them, read from the protobuf descriptors and their options.

A kind's collection bears its name with an `s`: kind `task`, `store.tasks`. Nothing else lists the kinds, but for the
annotations that type checkers read, which a test holds against this registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from holdfast.v1 import options_pb2, record_pb2

TIMESTAMP = "google.protobuf.Timestamp"


@dataclass(frozen=True, slots=True)
class Field:
    """What the client must know of a message's field."""

    name: str
    json: bool
    time: bool
    repeated: bool
    output_only: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """A record kind: its name, its collection's name, its message and how its ids are made."""

    name: str
    noun: str
    message_class: type[Message]
    fields: Mapping[str, Field]
    id_prefix: str
    sequence_ids: bool
    immutable: bool


@cache
def fields_of(descriptor: Descriptor) -> Mapping[str, Field]:
    """The fields of a message by name, in the order of the proto file."""
    return {each.name: _read_field(each) for each in descriptor.fields}


def _read_field(descriptor: FieldDescriptor) -> Field:
    rules = descriptor.GetOptions().Extensions[options_pb2.rules]
    return Field(
        name=descriptor.name,
        json=rules.json,
        time=descriptor.message_type is not None and descriptor.message_type.full_name == TIMESTAMP,
        repeated=descriptor.is_repeated,
        output_only=rules.output_only or descriptor.name in ("version", "create_time", "update_time"),
    )


def _read_kind(member: FieldDescriptor) -> Kind:
    assert member.message_type is not None
    options = member.message_type.GetOptions().Extensions[options_pb2.kind]
    return Kind(
        name=member.name,
        noun=member.name + "s",
        message_class=message_factory.GetMessageClass(member.message_type),
        fields=fields_of(member.message_type),
        id_prefix=options.id_prefix,
        sequence_ids=options.id_style == options_pb2.ID_STYLE_SEQUENCE,
        immutable=options.immutable,
    )


KINDS: Mapping[str, Kind] = {each.name: _read_kind(each) for each in record_pb2.Record.DESCRIPTOR.oneofs_by_name["value"].fields}
KINDS_BY_MESSAGE: Mapping[str, Kind] = {each.message_class.DESCRIPTOR.full_name: each for each in KINDS.values()}


def kind_of(message: Message) -> Kind:
    """The kind of a record's message; TypeError when it is none."""
    if (kind := KINDS_BY_MESSAGE.get(message.DESCRIPTOR.full_name)) is None:
        raise TypeError(f"{message.DESCRIPTOR.full_name} is not the message of a kind.")
    return kind
