"""The steps that every kind of record has in a transaction."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from google.protobuf.message import Message

from holdfast.contract.kinds import Kind
from holdfast.records.collection import Records
from holdfast.staged.steps import Steps
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Mutation
from holdfast.values import mutations

M = TypeVar("M", bound=Message)


class StagedRecords(Generic[M]):
    """The writing half of a collection, for steps of a transaction."""

    def __init__(self, steps: Steps, kind: Kind) -> None:
        self._steps = steps
        self._kind = kind

    def create(self, message: M | None = None, /, **fields: object) -> M:
        """Adds a record; returns its message, with the id that it will have."""
        return self._stage_insert(message, fields)

    def update(self, id: str | M, /, *, version: int = 0, **fields: object) -> M:
        """Changes a record; returns a message that has what is given here, and all of the record when the commit is done."""
        step = mutations.update(self._kind, id, version, fields)
        return self._staged(step, step.update.record)

    def save(self, message: M | None = None, /, **fields: object) -> M:
        """Adds the record, or changes the given fields of the one with that id."""
        step = mutations.upsert(self._kind, message, fields)
        return self._staged(step, step.upsert.record)

    def delete(self, id: str, /, *, version: int = 0, cascade: bool = False) -> None:
        """Removes a record."""
        self._steps.stage(mutations.delete(self._kind, id, version, cascade), lambda _result, _answer: None)

    def _stage_insert(self, message: M | None, fields: dict[str, object]) -> M:
        step = mutations.insert(self._kind, message, fields)
        value = getattr(step.insert.record, self._kind.name)
        if not value.id and not self._kind.id_template:
            value.id = self._next_id()
        return self._staged(step, step.insert.record)

    def _next_id(self) -> str:
        return Records[Any](self._steps.scope, self._kind).next_id()

    def _staged(self, step: Mutation, record: record_pb2.Record) -> M:
        return cast(M, self._steps.stage_record(self._kind, step, record))
