"""The steps of a transaction: gathered in order, sent as one commit, and told to whoever was shown what they made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.contract.kinds import Kind
from holdfast.errors import Closed
from holdfast.records.collection import Scope
from holdfast.v1 import entry_pb2, record_pb2
from holdfast.v1.store_service_pb2 import Append, Mutation, MutationResult, StoreServiceCommitResponse

Settle = Callable[[MutationResult, StoreServiceCommitResponse], None]


class Steps:
    """What a transaction's collections add to. For one thread."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.revision = 0
        self._steps: list[Mutation] = []
        self._settles: list[Settle] = []
        self._over = False

    def stage(self, step: Mutation, settle: Settle) -> None:
        """Adds a step, and what to do with its result when the commit is done."""
        self._check_open()
        self._steps.append(step)
        self._settles.append(settle)

    def stage_record(self, kind: Kind, step: Mutation, record: record_pb2.Record) -> Any:
        """Adds a step about a record; returns a copy of its message, so that what the caller does to it changes nothing here."""
        shown = kind.message_class()
        shown.CopyFrom(getattr(record, kind.name))
        if kind.id_template and not shown.id:
            shown.id = kind.made_id(shown)

        def settle(result: MutationResult, answer: StoreServiceCommitResponse) -> None:
            if result.HasField("record"):
                shown.CopyFrom(getattr(result.record, kind.name))
            else:
                _settle_alone(shown, result, answer)

        self.stage(step, settle)
        return shown

    def stage_append(self, append: Append) -> list[entry_pb2.Entry]:
        """Adds an append; returns copies of its entries, which get their numbers when the commit is done."""
        shown = [entry_pb2.Entry() for _ in append.entries]
        for copy, entry in zip(shown, append.entries, strict=True):
            copy.CopyFrom(entry)

        def settle(result: MutationResult, answer: StoreServiceCommitResponse) -> None:
            for number, entry in enumerate(shown, result.first_number):
                entry.number, entry.revision = number, answer.revision
                entry.create_time.CopyFrom(answer.commit_time)

        self.stage(Mutation(append=append), settle)
        return shown

    def end(self, *, commit: bool) -> None:
        """Sends the steps as one commit, or drops them. After that there are no more."""
        self._check_open()
        self._over = True
        if commit:
            self._commit()

    def _check_open(self) -> None:
        if self._over:
            raise Closed("The transaction is over.")

    def _commit(self) -> None:
        if not self._steps:
            self.revision = self.scope.connection.revision
            return
        answer = self.scope.commit(self._steps)
        self.revision = answer.revision
        for settle, result in zip(self._settles, answer.results, strict=True):
            settle(result, answer)


def _settle_alone(shown: Any, result: MutationResult, answer: StoreServiceCommitResponse) -> None:
    """When the answer had no room for the record: what the result tells of it."""
    shown.id, shown.version = result.id, result.version
    shown.update_time.CopyFrom(answer.commit_time)
    if result.version == 1:
        shown.create_time.CopyFrom(answer.commit_time)
