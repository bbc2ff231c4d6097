# Generated from client/holdfast/records/writes.py by `make generate-async`. Do not edit.
"""The methods of a collection that write. Transactions have only these; the store's collections add those that read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

from google.protobuf.message import Message

from holdfast.contract.kinds import Kind
from tests.async_client.generated.records.sink import Sink
from holdfast.v1.store_service_pb2 import Mutation
from holdfast.values import mutations
from holdfast.values.view_classes import view_of

M = TypeVar("M")


class RecordWrites(Generic[M]):
    """Writes records of one kind. `Records` describes the values that fields take.

    The store returns views of the records as they are stored. A transaction returns views with the id and the given fields; the
    commit fills in the rest.
    """

    def __init__(self, sink: Sink, kind: Kind) -> None:
        self._sink = sink
        self._scope = sink.scope
        self._kind = kind

    async def create(self, message: M | Message | None = None, /, **fields: object) -> M:
        """Adds a record and returns it. Without an `id` it gets a new one.

        Raises AlreadyExists when the id is taken, ParentNotFound when it refers to a missing record, and InvalidArgument.
        """
        return await self._written(mutations.insert(self._kind, message, fields))

    async def update(self, id: str | M | Message, /, *, version: int = 0, **fields: object) -> M:
        """Changes a record and returns it.

        With an id, the given fields change; None clears a field. `version`, if not 0, is the version that the stored record must
        have. With a view or a message, all its fields are written, and the stored record must have its version.
        Raises NotFound, VersionMismatch (read again and decide), InvalidArgument.
        """
        return await self._written(mutations.update(self._kind, id, version, fields))

    async def delete(self, id: str, /, *, version: int = 0, cascade: bool = False) -> None:
        """Deletes a record. Raises NotFound, VersionMismatch, or HasDependents unless `cascade` is set."""
        await self._sink.write(mutations.delete(self._kind, id, version, cascade))

    async def _written(self, *steps: Mutation) -> M:
        return self._value(await self._sink.write(*steps))

    def _expected(self, found: Any) -> int:
        """The version that a delete of `found` must expect; 0 (any) if an earlier step of the transaction changes the record."""
        return 0 if self._sink.wrote(self._kind, found.id) else found.version

    def _value(self, found: Any) -> M:
        """Makes the value that callers get from a record's message or view."""
        return cast(M, view_of(found))

    def _upsert(self, message: Any, fields: Mapping[str, object], version: int | None) -> Mutation:
        """The mutation of a save. A message whose record an earlier step of the transaction writes may have any version."""
        if version is None and message is not None and self._sink.wrote(self._kind, message.id):
            version = 0
        return mutations.upsert(self._kind, message, fields, version)


class CollectionWrites(RecordWrites[M]):
    """Writes records of a kind whose `save` has no rules of its own."""

    async def save(self, message: M | Message | None = None, /, *, version: int | None = None, **fields: object) -> M:
        """Adds the record, or changes the given fields of the one with that id, and returns it.

        With a view or a message, all its fields are written; if it was read, the stored record must still have its version,
        so that no change of another writer is lost. `version` is the version that the stored record must have; 0: any or none.
        Raises InvalidArgument without an id, VersionMismatch, NotFound when the record of that version was deleted, and the
        errors of `create`.
        """
        return await self._written(self._upsert(message, fields, version))
