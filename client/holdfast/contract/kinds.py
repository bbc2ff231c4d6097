"""The registry of kinds and journals, read from the protobuf descriptors and their options.

Client and daemon derive SQL, checks, filters, collections and the command line from it; no other module lists the kinds.
A kind's table has the kind's name, and its collection in the client the plural.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from string import Formatter
from typing import TYPE_CHECKING, Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.ids import MAX_ID_BYTES, shortened
from holdfast.contract.rules import Key, Readiness, Reference, read_readiness, read_reference
from holdfast.v1 import entry_pb2, options_pb2, record_pb2

COMMON_FIELDS = ("id", "version", "create_time", "update_time")
WORKSPACE = "workspace"  # the kind and the id of the parent of a workspace's own journal
TIMESTAMP = "google.protobuf.Timestamp"

if TYPE_CHECKING:

    class RecordMessage(Message):
        """Any kind's message: the fields that all of them have."""

        id: str
        version: int
        create_time: Timestamp
        update_time: Timestamp

else:
    RecordMessage = Message


class FieldType(enum.Enum):
    """The type of a field's values. It decides how they are stored and compared."""

    STRING = "string"
    JSON = "json"
    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    TIME = "time"
    MESSAGE = "message"  # only repeated in a kind; each element is a row of the child table
    OTHER = "other"  # enums and bytes; not allowed in a kind


@dataclass(frozen=True)
class Field:
    """One field of a message. In a kind or a journal, the column of the same name, or the child table if it is repeated."""

    name: str
    type: FieldType
    descriptor: FieldDescriptor | None = field(default=None, repr=False, compare=False)  # None: not a field of the contract
    repeated: bool = False
    optional: bool = False  # has presence: unset differs from zero
    optional_since: int = 0  # the API version that made it optional; 0: it always was
    required: bool = False
    output_only: bool = False
    immutable: bool = False
    values: tuple[str, ...] = ()
    vocabulary: Mapping[str, str] = field(
        default_factory=dict, compare=False
    )  # the meanings of `values`, where a workspace may have others
    unique_by: str = ""  # of a list of messages: the field that differs in each
    default_value: str = ""
    reference: Reference | None = None
    blob: bool = False
    size_field: str = ""
    type_field: str = ""
    in_place_of: str = ""
    number_within: str = ""
    number_of: str = ""
    set_once: bool = False
    inherits_from: str = ""
    search: bool = False
    computed: bool = False  # computed when it is read; has no column

    @cached_property
    def member(self) -> Shape | None:
        """The shape of the elements of a repeated message; None for every other field."""
        message = self.descriptor.message_type if self.descriptor is not None else None
        return _shape_of(message, self.name) if message is not None and self.repeated and not self.time else None

    @property
    def json(self) -> bool:
        return self.type is FieldType.JSON

    @property
    def time(self) -> bool:
        return self.type is FieldType.TIME

    @property
    def nullable(self) -> bool:
        """Whether the column is NULL when the field is unset."""
        return self.optional or self.reference is not None or self.blob or self.type in (FieldType.TIME, FieldType.JSON)

    @cached_property
    def keeps_empty(self) -> bool:
        """Whether the field is text that may be empty or unset. References, digests and fields of a key are never empty text."""
        if not self.optional or self.type is not FieldType.STRING or self.reference is not None or self.blob:
            return False
        message = self.descriptor.containing_type if self.descriptor is not None else None
        keys = message.GetOptions().Extensions[options_pb2.kind].keys if message is not None else ()
        return all(self.name not in key.fields for key in keys)


@dataclass(frozen=True, eq=False)
class Shape:
    """A message type and its fields; the common part of kinds and journals."""

    name: str
    message_class: type[Any]

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields in the order of the message. They are read when first used, because a client uses few of the kinds."""
        return tuple(fields_of(self.message_class.DESCRIPTOR).values())

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

    @cached_property
    def blobs(self) -> tuple[Field, ...]:
        """The fields that hold the digest of a blob."""
        return tuple(each for each in self.fields if each.blob)


@dataclass(frozen=True, eq=False)
class Kind(Shape):
    """A record kind. Its table has its name."""

    id_prefix: str = ""
    sequence_ids: bool = False
    id_template: str = ""  # makes the id from the record's fields: `{workflow_id}@{workflow_version}`
    max_template_bytes: int = 0  # 0: as of any id
    keys: tuple[Key, ...] = ()
    readiness: Readiness | None = None
    immutable: bool = False
    concern: str = "records"

    @cached_property
    def references(self) -> tuple[Field, ...]:
        return tuple(each for each in self.fields if each.reference is not None)

    @cached_property
    def vocabularies(self) -> tuple[Field, ...]:
        """The fields for which a workspace may have a vocabulary of its own."""
        return tuple(each for each in self.fields if each.vocabulary)

    @cached_property
    def noun(self) -> str:
        """The name of the collection: the plural, or the singular if the id template is constant and so allows one record."""
        single = self.id_template and "{" not in self.id_template
        return self.name if single else plural(self.name)

    def made_id(self, message: Message) -> str:
        """Returns the id that the template makes from the record's fields.

        Empty without a template, or while a field of the template is unset or is set by the daemon.
        """
        names = [name for _, name, _, _ in Formatter().parse(self.id_template) if name]
        if any(self.by_name[name].output_only or not getattr(message, name) for name in names):
            return ""
        return self.fitted_id(self.id_template.format_map({name: getattr(message, name) for name in names}))

    def fitted_id(self, text: str) -> str:
        """Returns the id for what the template makes: this text, or a shorter one where the kind allows texts longer than ids."""
        return shortened(text) if self.max_template_bytes >= len(text.encode()) > MAX_ID_BYTES else text

    @cached_property
    def inheriting(self) -> tuple[Field, ...]:
        """The fields that take their value from another record."""
        return tuple(each for each in self.fields if each.inherits_from)

    @cached_property
    def lineage(self) -> Field | None:
        """The field that names another record of the kind by its number; None if the kind has none."""
        return next((each for each in self.columns if each.number_of), None)

    @cached_property
    def numbered(self) -> Field | None:
        """The field that the daemon numbers within another field; None if the kind has none."""
        return next((each for each in self.columns if each.number_within), None)


@dataclass(frozen=True, eq=False)
class Journal(Shape):
    """A journal of entries. Its table has its name; a derived journal has none and is read from the store's history."""

    parents: tuple[str, ...] = field(default=())
    derived: bool = False
    of_workspace: bool = False  # a workspace may own one: its parent is then WORKSPACE, both by kind and by id
    by_revision: bool = False  # entries of many parents can be listed in the order of commits

    @property
    def parent_kinds(self) -> tuple[str, ...]:
        """What may stand as the kind of a parent."""
        return (*self.parents, WORKSPACE) if self.of_workspace else self.parents

    @cached_property
    def own_columns(self) -> tuple[Field, ...]:
        """The columns that every entry has."""
        return tuple(each for each in self.columns if each not in self.blob_columns)

    @cached_property
    def blob_columns(self) -> tuple[Field, ...]:
        """The columns about blobs: digests, sizes and media types. Most entries name no blob and leave them at their defaults."""
        names = {name for each in self.blobs for name in (each.name, each.size_field, each.type_field) if name}
        return tuple(each for each in self.columns if each.name in names)


_TYPES = {
    FieldDescriptor.TYPE_STRING: FieldType.STRING,
    FieldDescriptor.TYPE_INT64: FieldType.INTEGER,
    FieldDescriptor.TYPE_INT32: FieldType.INTEGER,
    FieldDescriptor.TYPE_DOUBLE: FieldType.REAL,
    FieldDescriptor.TYPE_BOOL: FieldType.BOOLEAN,
}


def _field_type(descriptor: FieldDescriptor, rules: options_pb2.FieldRules) -> FieldType:
    if descriptor.message_type is not None:
        return FieldType.TIME if descriptor.message_type.full_name == TIMESTAMP else FieldType.MESSAGE
    return FieldType.JSON if rules.json else _TYPES.get(descriptor.type, FieldType.OTHER)


def _read_field(descriptor: FieldDescriptor) -> Field:
    rules = descriptor.GetOptions().Extensions[options_pb2.rules]
    refers = rules.reference if rules.HasField("reference") else None
    return Field(
        name=descriptor.name,
        descriptor=descriptor,
        type=_field_type(descriptor, rules),
        repeated=descriptor.is_repeated,
        optional=descriptor.has_presence and descriptor.message_type is None,
        optional_since=rules.optional_since,
        required=rules.required,
        output_only=rules.output_only or descriptor.name in ("version", "create_time", "update_time"),
        immutable=rules.immutable or descriptor.name == "id",
        values=tuple(rules.values) or tuple(each.value for each in rules.vocabulary),
        vocabulary={each.value: each.meaning for each in rules.vocabulary},
        unique_by=rules.unique_by,
        default_value=rules.default_value,
        reference=read_reference(refers) if refers else None,
        blob=rules.blob,
        size_field=rules.size_field,
        type_field=rules.type_field,
        in_place_of=rules.in_place_of,
        number_within=rules.number_within,
        number_of=rules.number_of,
        set_once=rules.set_once,
        inherits_from=rules.inherits_from,
        search=rules.search,
        computed=rules.computed,
    )


@cache
def fields_of(descriptor: Descriptor) -> Mapping[str, Field]:
    """Returns the fields of any message by name, in the order of the proto file."""
    return {each.name: _read_field(each) for each in descriptor.fields}


@cache
def _shape_of(descriptor: Descriptor, name: str) -> Shape:
    return Shape(name, message_factory.GetMessageClass(descriptor))


def check_storable(shape: Shape) -> None:
    """Raises TypeError for a field that neither a column nor a child table can hold."""
    for each in shape.fields:
        name = f"{shape.name}.{each.name}"
        if each.type is FieldType.OTHER or (each.type is FieldType.MESSAGE and not each.repeated):
            raise TypeError(f"{name}: a kind or journal cannot store this type. Use a string, number, bool, time or list.")
        if each.member is not None and each.member.children:
            raise TypeError(f"{name}: a message in a list cannot contain lists.")


def plural(kind: str) -> str:
    """Returns the plural of a kind's name: `task_states`, `branches`."""
    if kind.endswith(("s", "x", "z", "ch", "sh")):
        return kind + "es"
    if kind.endswith("y") and kind[-2] not in "aeiou":
        return kind[:-1] + "ies"
    return kind + "s"


def _members(container: Descriptor) -> Iterator[tuple[str, Descriptor]]:
    for member in container.oneofs_by_name["value"].fields:
        assert member.message_type is not None
        yield member.name, member.message_type


def _read_kinds() -> dict[str, Kind]:
    kinds = {}
    for name, descriptor in _members(record_pb2.Record.DESCRIPTOR):
        options = descriptor.GetOptions().Extensions[options_pb2.kind]
        kinds[name] = Kind(
            name,
            message_factory.GetMessageClass(descriptor),
            id_prefix=options.id_prefix,
            sequence_ids=options.id_style == options_pb2.ID_STYLE_SEQUENCE,
            id_template=options.id_template,
            max_template_bytes=options.max_template_bytes,
            keys=tuple(Key(tuple(key.fields), tuple(key.unset)) for key in options.keys),
            readiness=read_readiness(options),
            immutable=options.immutable,
            concern=options.concern or "records",
        )
    return kinds


def _read_journals() -> dict[str, Journal]:
    journals = {}
    for name, descriptor in _members(entry_pb2.Entry.DESCRIPTOR):
        options = descriptor.GetOptions().Extensions[options_pb2.journal]
        journals[name] = Journal(
            name,
            message_factory.GetMessageClass(descriptor),
            parents=tuple(options.parents),
            derived=options.derived,
            of_workspace=options.of_workspace,
            by_revision=options.by_revision,
        )
    return journals


KINDS: Mapping[str, Kind] = _read_kinds()
JOURNALS: Mapping[str, Journal] = _read_journals()
STORED_JOURNALS: Mapping[str, Journal] = {name: each for name, each in JOURNALS.items() if not each.derived}


@dataclass(frozen=True, slots=True)
class Referrer:
    """A field of a kind that may refer to records of some target kind."""

    kind: Kind
    field: Field


@cache
def referrers() -> Mapping[str, tuple[Referrer, ...]]:
    """The fields that may refer to records of each kind."""
    found: dict[str, list[Referrer]] = {name: [] for name in KINDS}
    for kind in KINDS.values():
        for each in kind.references:
            assert each.reference is not None
            for target in [each.reference.kind] if each.reference.kind else list(KINDS):
                found[target].append(Referrer(kind, each))
    return {name: tuple(each) for name, each in found.items()}


@cache
def reverses(kind: str) -> Mapping[str, Referrer]:
    """The lists of references to records of a kind of which its filters can ask, by the name that filters use."""
    found = {each.field.reference.reverse: each for each in referrers().get(kind, ()) if each.field.reference is not None}
    return {name: each for name, each in found.items() if name}


KINDS_BY_MESSAGE: Mapping[str, Kind] = {each.message_class.DESCRIPTOR.full_name: each for each in KINDS.values()}


def kind_of(message: Message) -> Kind:
    """Returns the kind of a record's message. Raises TypeError for any other message."""
    if (kind := KINDS_BY_MESSAGE.get(message.DESCRIPTOR.full_name)) is None:
        raise TypeError(f"{message.DESCRIPTOR.full_name} is not the message of a kind.")
    return kind
