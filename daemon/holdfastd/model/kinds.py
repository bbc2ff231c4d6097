"""The registry of kinds and journals, read from the protobuf descriptors and their options.

Adding a kind is a message and a line of `Record`'s oneof in `proto/`, and a migration. Everybody who needs to know
what a kind is made of asks here; a test holds this registry and the SQL schema against each other.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.v1 import entry_pb2, options_pb2, record_pb2
from holdfastd.errors import InvalidArgument

COMMON_FIELDS = ("id", "version", "create_time", "update_time")

if TYPE_CHECKING:

    class RecordMessage(Message):
        """Any kind's message: what every one of them begins with."""

        id: str
        version: int
        create_time: Timestamp
        update_time: Timestamp

else:
    RecordMessage = Message


class FieldType(enum.Enum):
    """What a field holds, and so how it is stored and compared."""

    STRING = "string"
    JSON = "json"
    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    TIME = "time"
    MESSAGE = "message"  # repeated only: a row of the child table each


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a field leads: to one kind, or to the kind that a sibling field names."""

    kind: str
    kind_field: str
    on_delete: int
    acyclic: bool

    @property
    def owned(self) -> bool:
        return self.on_delete == options_pb2.ON_DELETE_OWNED

    @property
    def refuses(self) -> bool:
        return self.on_delete == options_pb2.ON_DELETE_REFUSE

    @property
    def follows(self) -> bool:
        return self.on_delete == options_pb2.ON_DELETE_FOLLOW


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind or an entry, and the column (or, when repeated, the child table) of the same name."""

    name: str
    type: FieldType
    repeated: bool
    optional: bool  # has presence: unset differs from zero
    required: bool
    output_only: bool
    immutable: bool
    values: tuple[str, ...]
    default_value: str
    reference: Reference | None
    blob: bool
    size_field: str
    number_within: str
    search: bool
    computed: bool = False  # made when it is read: no column
    member: Shape | None = None  # of a repeated message: what its rows hold

    @property
    def nullable(self) -> bool:
        """Whether the column holds NULL where the message holds nothing."""
        return self.optional or self.reference is not None or self.blob or self.type in (FieldType.TIME, FieldType.JSON)


@dataclass(frozen=True, eq=False)
class Shape:
    """What records and entries have in common: a message type and its fields."""

    name: str
    message_class: type[Any]
    fields: tuple[Field, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        return {each.name: each for each in self.fields}

    @cached_property
    def columns(self) -> tuple[Field, ...]:
        """The fields that are columns of the main table, in the order of the message."""
        return tuple(each for each in self.fields if not (each.repeated or each.computed))

    @cached_property
    def children(self) -> tuple[Field, ...]:
        """The repeated fields, each in a child table `{name}_{field}`."""
        return tuple(each for each in self.fields if each.repeated)


@dataclass(frozen=True, slots=True)
class Readiness:
    """A record is ready when each record that `waits_for` names has one of the values in `status_field`."""

    waits_for: str
    status_field: str
    done_values: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Kind(Shape):
    """A record kind. Its table has its name."""

    id_prefix: str = ""
    sequence_ids: bool = False
    id_template: str = ""  # made of the record's own fields: `{workflow_id}@{workflow_version}`
    keys: tuple[tuple[str, ...], ...] = ()  # fields that are unique together
    readiness: Readiness | None = None
    immutable: bool = False
    concern: str = "records"

    @cached_property
    def references(self) -> tuple[Field, ...]:
        return tuple(each for each in self.fields if each.reference is not None)

    @cached_property
    def blobs(self) -> tuple[Field, ...]:
        return tuple(each for each in self.fields if each.blob)


@dataclass(frozen=True, eq=False)
class Journal(Shape):
    """A journal of entries. Its table has its name; a derived one is a view of the store's history."""

    parents: tuple[str, ...] = field(default=())
    derived: bool = False


def _field_type(descriptor: FieldDescriptor, rules: options_pb2.FieldRules) -> FieldType:
    if descriptor.message_type is not None:
        if descriptor.message_type.full_name == "google.protobuf.Timestamp":
            return FieldType.TIME
        if descriptor.is_repeated:
            return FieldType.MESSAGE
        raise TypeError(f"{descriptor.full_name}: the registry knows no single field of type {descriptor.message_type.full_name}")
    if descriptor.type == FieldDescriptor.TYPE_STRING:
        return FieldType.JSON if rules.json else FieldType.STRING
    if descriptor.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_INT32):
        return FieldType.INTEGER
    if descriptor.type == FieldDescriptor.TYPE_DOUBLE:
        return FieldType.REAL
    if descriptor.type == FieldDescriptor.TYPE_BOOL:
        return FieldType.BOOLEAN
    raise TypeError(f"{descriptor.full_name}: the registry knows no fields of protobuf type {descriptor.type}")


def _read_field(descriptor: FieldDescriptor) -> Field:
    rules = descriptor.GetOptions().Extensions[options_pb2.rules]
    refers = rules.reference if rules.HasField("reference") else None
    type = _field_type(descriptor, rules)
    return Field(
        name=descriptor.name,
        type=type,
        repeated=descriptor.is_repeated,
        optional=descriptor.has_presence and descriptor.message_type is None,
        required=rules.required,
        output_only=rules.output_only or descriptor.name in ("version", "create_time", "update_time"),
        immutable=rules.immutable or descriptor.name == "id",
        values=tuple(rules.values),
        default_value=rules.default_value,
        reference=Reference(refers.kind, refers.kind_field, refers.on_delete, refers.acyclic) if refers else None,
        blob=rules.blob,
        size_field=rules.size_field,
        number_within=rules.number_within,
        search=rules.search,
        computed=rules.computed,
        member=_read_member(descriptor) if type is FieldType.MESSAGE else None,
    )


def _read_member(descriptor: FieldDescriptor) -> Shape:
    assert descriptor.message_type is not None
    member = Shape(**_shape(descriptor.message_type, descriptor.name))
    if member.children:
        raise TypeError(f"{descriptor.full_name}: the registry knows no repeated fields inside repeated messages")
    return member


def _shape(descriptor: Descriptor, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "message_class": message_factory.GetMessageClass(descriptor),
        "fields": tuple(_read_field(each) for each in descriptor.fields),
    }


def _members(container: Descriptor) -> Iterator[tuple[str, Descriptor]]:
    for member in container.oneofs_by_name["value"].fields:
        assert member.message_type is not None
        yield member.name, member.message_type


def _read_readiness(options: options_pb2.KindOptions) -> Readiness | None:
    if not options.HasField("readiness"):
        return None
    readiness = options.readiness
    return Readiness(readiness.waits_for, readiness.status_field, tuple(readiness.done_values))


def _read_kinds() -> dict[str, Kind]:
    kinds = {}
    for name, descriptor in _members(record_pb2.Record.DESCRIPTOR):
        options = descriptor.GetOptions().Extensions[options_pb2.kind]
        kinds[name] = Kind(
            **_shape(descriptor, name),
            id_prefix=options.id_prefix,
            sequence_ids=options.id_style == options_pb2.ID_STYLE_SEQUENCE,
            id_template=options.id_template,
            keys=tuple(tuple(key.fields) for key in options.keys),
            readiness=_read_readiness(options),
            immutable=options.immutable,
            concern=options.concern or "records",
        )
    return kinds


def _read_journals() -> dict[str, Journal]:
    journals = {}
    for name, descriptor in _members(entry_pb2.Entry.DESCRIPTOR):
        options = descriptor.GetOptions().Extensions[options_pb2.journal]
        journals[name] = Journal(**_shape(descriptor, name), parents=tuple(options.parents), derived=options.derived)
    return journals


KINDS: Mapping[str, Kind] = _read_kinds()
JOURNALS: Mapping[str, Journal] = _read_journals()
STORED_JOURNALS: Mapping[str, Journal] = {name: each for name, each in JOURNALS.items() if not each.derived}


@dataclass(frozen=True, slots=True)
class Referrer:
    """A field of a kind that may refer to records of some target kind."""

    kind: Kind
    field: Field


def _referrers() -> dict[str, tuple[Referrer, ...]]:
    found: dict[str, list[Referrer]] = {name: [] for name in KINDS}
    for kind in KINDS.values():
        for each in kind.references:
            assert each.reference is not None
            for target in [each.reference.kind] if each.reference.kind else list(KINDS):
                found[target].append(Referrer(kind, each))
    return {name: tuple(referrers) for name, referrers in found.items()}


REFERRERS: Mapping[str, tuple[Referrer, ...]] = _referrers()


def kind_named(name: str) -> Kind:
    """The kind of that name; INVALID_ARGUMENT that lists the kinds when there is none."""
    if (kind := KINDS.get(name)) is None:
        known = ", ".join(sorted(KINDS))
        raise InvalidArgument(f"There is no kind {name!r}. The kinds are: {known}.", reason="KIND_UNKNOWN", kind=name)
    return kind


def journal_named(name: str) -> Journal:
    """The journal of that name, `transcript` when empty; INVALID_ARGUMENT that lists the journals when there is none."""
    if (journal := JOURNALS.get(name or "transcript")) is None:
        known = ", ".join(sorted(JOURNALS))
        raise InvalidArgument(f"There is no journal {name!r}. The journals are: {known}.", reason="JOURNAL_UNKNOWN", journal=name)
    return journal


def stored_journal(name: str) -> Journal:
    """The journal of that name, which is one with entries of its own; INVALID_ARGUMENT for a derived one."""
    journal = journal_named(name)
    if journal.derived:
        raise InvalidArgument(
            f"The {name} is made of the store's history: it is neither appended to nor read as a stream. Use List.",
            reason="JOURNAL_DERIVED",
            journal=name,
        )
    return journal
