"""Makes a commit's mutations from views, messages and fields. Sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast, runtime_checkable

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from holdfast.contract.ids import is_like_an_option
from holdfast.contract.kinds import Kind
from holdfast.contract.messages import message_with
from holdfast.errors import InvalidArgument
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Delete, Insert, Mutation, Update, Upsert
from holdfast.values.fields import fill, message_of


@runtime_checkable
class Wrapped(Protocol):
    """A value of the client that has a record's view, such as `State`."""

    @property
    def message(self) -> Any:
        """The record's view or message."""


class _Versioned(Protocol):
    version: int


def insert(kind: Kind, message: object | None, fields: Mapping[str, object]) -> Mutation:
    """Returns a mutation that adds a record: the message, or an empty one, with the fields set.

    A message that was read is copied without what only the daemon sets, such as its times. Raises InvalidArgument for an id
    that looks like an option; older daemons accept these.
    """
    record = _record(kind, message, fields, copies=True)
    if is_like_an_option(id := getattr(record, kind.name).id):
        said = f"{kind.name}.id {id!r} begins with a hyphen, so command lines would take it for an option. Choose another."
        raise InvalidArgument(said, reason="VALUE_INVALID", metadata={"field": f"{kind.name}.id"})
    return Mutation(insert=Insert(record=record))


def upsert(kind: Kind, message: object | None, fields: Mapping[str, object], version: int | None = None) -> Mutation:
    """Returns a mutation that adds a record, or changes the given fields of the stored one; a message writes all fields.

    version: the version that the stored record must have. None: that of a message that was read, else any, as with 0.
    """
    paths = ["*"] if message is not None else [name for name in fields if name != "id"]
    if version is None:
        version = cast(_Versioned, _message(kind, message)).version if message is not None else 0
    record = _record(kind, message, fields, copies=not version)
    value = getattr(record, kind.name)
    if version and (id := value.id or kind.made_id(value)):
        value.id = id  # the record must exist, so this is an update, which older daemons know too
        return Mutation(update=Update(record=record, update_mask=FieldMask(paths=paths), version=version))
    return Mutation(upsert=Upsert(record=record, update_mask=FieldMask(paths=paths), version=version))


def update(kind: Kind, target: object, version: int, fields: Mapping[str, object]) -> Mutation:
    """Returns a mutation that changes the given fields of the record with that id.

    With a view or a message as `target` it writes all fields and expects its version.
    """
    if isinstance(target, str):
        if not fields:
            raise TypeError(f"{kind.noun}.update: name the fields to change.")
        record, paths = _record(kind, None, {**fields, "id": target}), list(fields)
    else:
        record, paths = _record(kind, target, fields), ["*"]
        version = version or cast(_Versioned, getattr(record, kind.name)).version
    return Mutation(update=Update(record=record, update_mask=FieldMask(paths=paths), version=version))


def delete(kind: Kind, id: str, version: int, cascade: bool) -> Mutation:
    """Returns a mutation that deletes the record with that id."""
    return Mutation(delete=message_with(Delete, kind=kind.name, id=id, version=version, cascade=cascade))


def record_of(mutation: Mutation) -> record_pb2.Record | None:
    """Returns the record that a mutation writes; None for a delete or an append."""
    name = mutation.WhichOneof("operation")
    return getattr(mutation, name).record if name in ("insert", "update", "upsert") else None


def _record(kind: Kind, message: object | None, fields: Mapping[str, object], *, copies: bool = False) -> record_pb2.Record:
    """The record with the message and the fields. `copies`: of a message that was read, without what only the daemon sets."""
    record = record_pb2.Record()
    value: Message = getattr(record, kind.name)
    value.SetInParent()
    if message is not None:
        value.CopyFrom(_message(kind, message))
    if copies and cast(_Versioned, value).version:
        for field in kind.fields:
            if field.output_only:
                value.ClearField(field.name)
    fill(value, kind.name, fields)
    return record


def _message(kind: Kind, value: object) -> Message:
    found = message_of(value)
    if not isinstance(found, Message) and isinstance(found, Wrapped):
        found = message_of(found.message)
    if not isinstance(found, Message) or not isinstance(found, kind.message_class):
        raise TypeError(f"{kind.noun} takes {kind.message_class.DESCRIPTOR.name} views or messages, not {type(value).__name__}.")
    return found
