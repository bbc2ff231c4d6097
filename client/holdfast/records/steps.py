"""The sink of a transaction: gathers steps in order, sends them as one commit, and fills in the views it returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from holdfast.blobs.contents import Contents
from holdfast.blobs.session_memory import TransactionMemory
from holdfast.contract.kinds import KINDS, Kind
from holdfast.contract.messages import message_with
from holdfast.errors import Closed, NotFound
from holdfast.records.sink import CommitSink, Step, new_id
from holdfast.v1 import entry_pb2
from holdfast.v1.store_service_pb2 import Append, Mutation, MutationResult, StoreServiceCommitResponse
from holdfast.values.mutations import record_of
from holdfast.values.view import copied, forget, held
from holdfast.values.view_classes import view_of
from holdfast.wire import forks


class Steps:
    """The steps of one transaction. Not thread-safe."""

    deferred = True

    def __init__(self, stored: CommitSink, request_id: str = "") -> None:
        self.scope = stored.scope
        self.blobs = stored.blobs
        self.contents = Contents(stored.scope.connection)
        self.memory = TransactionMemory(stored.memory)
        self.revision = 0
        self._stored = stored
        self._request_id = request_id
        self._steps: list[Step] = []
        self._by_kind: dict[str, list[Step]] = {}
        self._over = False
        self._generation = forks.generation

    def write(self, *mutations: Mutation) -> Any:
        """Adds the mutations; returns a view of a copy of the last one's message, which the commit fills in."""
        return [self._add(each) for each in mutations][-1]

    def append(
        self, parent_kind: str, parent_id: str, entries: Sequence[entry_pb2.Entry], expected_last_number: int | None = None
    ) -> list[Any]:
        """Adds an append; returns views of copies of its entries, in which the commit sets the numbers."""
        expected = expected_last_number
        append = message_with(
            Append, parent_kind=parent_kind, parent_id=parent_id, entries=entries, expected_last_number=expected
        )
        return self.append_all([append])[0]

    def append_all(self, appends: Sequence[Append]) -> list[list[Any]]:
        """Adds several appends, as `append` does."""
        shown = []
        for append in appends:
            shown.append([view_of(copied(each)) for each in append.entries])
            self._take(Step(Mutation(append=append), shown[-1]))
        return shown

    def read(self, kind: Kind, id: str) -> Any:
        """Returns the message of a record with the steps so far applied. Raises NotFound, also if a step deletes it."""
        steps = [each.mutation for each in self.steps(kind) if _target(each.mutation) == id]
        message = kind.message_class() if steps and steps[0].HasField("insert") else self._read_stored(kind, id, bool(steps))
        for each in steps:
            message = _applied(each, message, kind)
        if message is None:
            missing = {"kind": kind.name, "id": id}
            raise NotFound(f"This transaction deletes {kind.name} {id}.", reason="RECORD_NOT_FOUND", metadata=missing)
        return message

    def steps(self, kind: Kind) -> Sequence[Step]:
        """The steps about records of this kind, in order."""
        return self._by_kind.get(kind.name, ())

    def wrote(self, kind: Kind, id: str) -> bool:
        """Whether a step writes this record and no later one deletes it."""
        last = next((each.mutation for each in reversed(self.steps(kind)) if _target(each.mutation) == id), None)
        return last is not None and not last.HasField("delete")

    def end(self, *, commit: bool) -> None:
        """Sends the steps as one commit, or drops them. No step can be added afterwards."""
        if commit:
            self._check_open()
        self._over = True
        if commit:
            self._commit()

    def _add(self, mutation: Mutation) -> Any:
        record = record_of(mutation)
        if record is None:
            return self._take(Step(mutation, None), mutation.delete.kind)
        kind = KINDS[record.WhichOneof("value") or ""]
        value = getattr(record, kind.name)
        if mutation.HasField("insert") and not value.id and not kind.id_template:
            value.id = new_id(self.scope, kind)
        shown = copied(value)
        if kind.id_template and not shown.id:
            shown.id = kind.made_id(shown)
        return self._take(Step(mutation, view_of(shown)), kind.name)

    def _take(self, step: Step, kind: str = "") -> Any:
        self._check_open()
        self._steps.append(step)
        self._by_kind.setdefault(kind, []).append(step)
        return step.shown

    def _check_open(self) -> None:
        if self._generation != forks.generation:
            raise RuntimeError("The transaction belongs to the process before the fork; begin another one here.")
        if self._over:
            raise Closed("The transaction is over.")

    def _read_stored(self, kind: Kind, id: str, written: bool) -> Any:
        try:
            return copied(self._stored.read(kind, id))
        except NotFound:
            if not written:
                raise
            return kind.message_class()

    def _commit(self) -> None:
        if not self._steps:
            self.revision = self.scope.connection.revision
            return
        answer = self.scope.commit([each.mutation for each in self._steps], request_id=self._request_id)
        self.revision = answer.revision
        for step, result in zip(self._steps, answer.results, strict=True):
            _settle(step, result, answer)


def _target(mutation: Mutation) -> str:
    """The id of the record that a mutation changes; empty if the daemon will assign it."""
    if (record := record_of(mutation)) is None:
        return mutation.delete.id
    return str(getattr(record, record.WhichOneof("value") or "").id)


def _applied(mutation: Mutation, before: Any, kind: Kind) -> Any:
    """The message of a record after a mutation; None after its delete."""
    if (record := record_of(mutation)) is None:
        return None
    given = getattr(record, kind.name)
    after = before if before is not None else kind.message_class()
    version = after.version
    if mutation.HasField("insert") or "*" in (mask := _mask(mutation)).paths:
        after.CopyFrom(given)
    else:
        mask.MergeMessage(given, after, replace_message_field=True, replace_repeated_field=True)
    after.id, after.version = given.id, version + 1
    return after


def _mask(mutation: Mutation) -> FieldMask:
    return mutation.update.update_mask if mutation.HasField("update") else mutation.upsert.update_mask


def _settle(step: Step, result: MutationResult, answer: StoreServiceCommitResponse) -> None:
    """Updates the returned view, or entries, with the result of the commit."""
    if step.mutation.HasField("append"):
        for number, entry in enumerate(map(held, step.shown), result.first_number):
            entry.number, entry.revision = number, answer.revision
            entry.create_time.CopyFrom(answer.commit_time)
    elif step.shown is not None:
        message = held(step.shown)
        forget(step.shown)
        if result.HasField("record"):
            message.CopyFrom(getattr(result.record, result.record.WhichOneof("value") or ""))
        else:
            _settle_alone(message, result, answer, step.mutation.HasField("insert"))


def _settle_alone(message: Any, result: MutationResult, answer: StoreServiceCommitResponse, is_insert: bool) -> None:
    """Updates a returned view's message from the result alone: the daemon omits the records if the answer would be too large."""
    message.id, message.version = result.id, result.version
    message.update_time.CopyFrom(answer.commit_time)
    if result.version == 1 or is_insert:
        message.create_time.CopyFrom(answer.commit_time)
