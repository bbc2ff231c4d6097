"""What writes records of one kind. A transaction has this half of a collection; the store's collections add what reads."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from holdfast.contract.kinds import Kind
from holdfast.records.sink import Sink
from holdfast.v1.store_service_pb2 import Mutation
from holdfast.values import mutations

M = TypeVar("M")


class RecordWrites(Generic[M]):
    """Writes records of one kind; `Records` says what fields take.

    The store returns records as they are stored. A transaction returns messages that have an id and the given fields, and are
    filled in when the commit is done.
    """

    def __init__(self, sink: Sink, kind: Kind) -> None:
        self._sink = sink
        self._scope = sink.scope
        self._kind = kind

    def create(self, message: M | None = None, /, **fields: object) -> M:
        """Adds a record and returns it. Without an `id` it is given one.

        Raises AlreadyExists when the id is taken, ParentNotFound when a record it refers to is not there, and InvalidArgument.
        """
        return self._written(mutations.insert(self._kind, message, fields))

    def update(self, id: str | M, /, *, version: int = 0, **fields: object) -> M:
        """Changes a record and returns it.

        With an id, the given fields change and None clears one; `version`, when not 0, is the version that must still be there.
        With a message, all its fields are written and its own version must still be there.
        Raises NotFound, VersionMismatch (read again and decide), InvalidArgument.
        """
        return self._written(mutations.update(self._kind, id, version, fields))

    def delete(self, id: str, /, *, version: int = 0, cascade: bool = False) -> None:
        """Removes a record. Raises NotFound, VersionMismatch, or HasDependents unless `cascade` is set."""
        self._sink.write(mutations.delete(self._kind, id, version, cascade))

    def _written(self, *steps: Mutation) -> M:
        return self._value(self._sink.write(*steps))

    def _expected(self, found: Any) -> int:
        """The version that a delete of a record just read expects; 0 (any) when an earlier step of the transaction changes it."""
        return 0 if self._sink.wrote(self._kind, found.id) else found.version

    def _value(self, message: Any) -> M:
        """What callers are given for a record's message."""
        return cast(M, message)


class CollectionWrites(RecordWrites[M]):
    """Writes records of a kind whose `save` is the plain one."""

    def save(self, message: M | None = None, /, **fields: object) -> M:
        """Adds the record, or changes the given fields of the one with that id, and returns it.

        A message is written with all its fields. Raises InvalidArgument without an id, and what `create` raises.
        """
        return self._written(mutations.upsert(self._kind, message, fields))
