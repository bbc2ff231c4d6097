"""The kinds of records as the client sees them, read from the protobuf descriptors and their options.

A kind's collection bears its name in the plural: kind `task`, `store.tasks`. Nothing else lists the kinds, but for the
annotations that type checkers read, which a test holds against this registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from string import Formatter

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
    member: bool  # a list of messages


@dataclass(frozen=True, slots=True)
class Readiness:
    """A record is done when `status_field` has one of these values, and ready when all that it waits for is done."""

    status_field: str
    done_values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """A record kind: its name, its collection's name, its message and how its ids are made."""

    name: str
    noun: str
    message_class: type[Message]
    fields: Mapping[str, Field]
    id_prefix: str
    sequence_ids: bool
    id_template: str
    readiness: Readiness | None
    immutable: bool

    def made_id(self, message: Message) -> str:
        """The id that the kind's template makes of the record's fields; empty when only the daemon knows them, or without one."""
        names = [name for _, name, _, _ in Formatter().parse(self.id_template) if name]
        if any(self.fields[name].output_only or not getattr(message, name) for name in names):
            return ""
        return self.id_template.format_map({name: getattr(message, name) for name in names})


@cache
def fields_of(descriptor: Descriptor) -> Mapping[str, Field]:
    """The fields of a message by name, in the order of the proto file."""
    return {each.name: _read_field(each) for each in descriptor.fields}


def _read_field(descriptor: FieldDescriptor) -> Field:
    rules = descriptor.GetOptions().Extensions[options_pb2.rules]
    time = descriptor.message_type is not None and descriptor.message_type.full_name == TIMESTAMP
    return Field(
        name=descriptor.name,
        json=rules.json,
        time=time,
        repeated=descriptor.is_repeated,
        output_only=rules.output_only or descriptor.name in ("version", "create_time", "update_time"),
        member=descriptor.is_repeated and descriptor.message_type is not None and not time,
    )


def plural(kind: str) -> str:
    """A kind's name in the plural: `task_states`, `branches`."""
    if kind.endswith(("s", "x", "z", "ch", "sh")):
        return kind + "es"
    if kind.endswith("y") and kind[-2] not in "aeiou":
        return kind[:-1] + "ies"
    return kind + "s"


def _noun(kind: str, options: options_pb2.KindOptions) -> str:
    """A kind whose ids are made of nothing has one record, so its collection is named in the singular."""
    single = options.id_template and "{" not in options.id_template
    return kind if single else plural(kind)


def _readiness(options: options_pb2.KindOptions) -> Readiness | None:
    if not options.HasField("readiness"):
        return None
    return Readiness(options.readiness.status_field, tuple(options.readiness.done_values))


def _read_kind(member: FieldDescriptor) -> Kind:
    assert member.message_type is not None
    options = member.message_type.GetOptions().Extensions[options_pb2.kind]
    return Kind(
        name=member.name,
        noun=_noun(member.name, options),
        message_class=message_factory.GetMessageClass(member.message_type),
        fields=fields_of(member.message_type),
        id_prefix=options.id_prefix,
        sequence_ids=options.id_style == options_pb2.ID_STYLE_SEQUENCE,
        id_template=options.id_template,
        readiness=_readiness(options),
        immutable=options.immutable,
    )


KINDS: Mapping[str, Kind] = {each.name: _read_kind(each) for each in record_pb2.Record.DESCRIPTOR.oneofs_by_name["value"].fields}
KINDS_BY_MESSAGE: Mapping[str, Kind] = {each.message_class.DESCRIPTOR.full_name: each for each in KINDS.values()}


def kind_of(message: Message) -> Kind:
    """The kind of a record's message; TypeError when it is none."""
    if (kind := KINDS_BY_MESSAGE.get(message.DESCRIPTOR.full_name)) is None:
        raise TypeError(f"{message.DESCRIPTOR.full_name} is not the message of a kind.")
    return kind
