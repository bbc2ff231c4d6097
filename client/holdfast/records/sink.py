"""The sinks of collections: the store's `CommitSink` sends each write at once, a transaction's `Steps` gathers them.

A collection makes mutations and passes them to its sink, so the same code serves the store and its transactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.blobs.collection import Blobs
from holdfast.blobs.session_memory import SessionMemory, TransactionMemory
from holdfast.contract.ids import random_id
from holdfast.contract.kinds import KINDS, Kind
from holdfast.contract.messages import message_with
from holdfast.v1 import store_service_pb2
from holdfast.v1.store_service_pb2 import Mutation, MutationResult
from holdfast.values.mutations import record_of
from holdfast.values.view_classes import view_of
from holdfast.wire.scope import Scope


@dataclass(frozen=True, slots=True)
class Step:
    """A mutation that waits for its commit, and the value returned for it: a record's view, a list of entries, or None."""

    mutation: Mutation
    shown: Any


class Sink(Protocol):
    """The target of a collection's writes, and the source of the stored data on which a write depends."""

    @property
    def scope(self) -> Scope: ...

    @property
    def blobs(self) -> Blobs:
        """The store's blobs. Contents are uploaded at once and kept if a committed record refers to them."""

    @property
    def memory(self) -> SessionMemory | TransactionMemory:
        """The last context and checkpoint of each session, as this client remembers them."""

    @property
    def deferred(self) -> bool:
        """Whether `write` returns before the commit. Its errors are then raised at the commit, too late for a retry."""

    def write(self, *mutations: Mutation) -> Any:
        """Writes mutations that apply together; returns a view of the last mutation's record, or None for a delete."""

    def read(self, kind: Kind, id: str) -> Any:
        """Returns the message of a record as the next mutation will find it. Raises NotFound."""

    def steps(self, kind: Kind) -> Sequence[Step]:
        """The steps about records of this kind that wait for their commit, in order."""

    def wrote(self, kind: Kind, id: str) -> bool:
        """Whether a step that waits for its commit writes this record, and no later one deletes it."""


class CommitSink:
    """Commits each write at once. Thread-safe."""

    deferred = False

    def __init__(self, scope: Scope, memory: SessionMemory | None = None) -> None:
        self.scope = scope
        self.blobs = Blobs(scope.connection)
        self.memory = memory or SessionMemory()

    def write(self, *mutations: Mutation) -> Any:
        """Applies the mutations as one commit; returns the last mutation's record as it is stored."""
        answer = self.scope.commit(mutations)
        record = record_of(mutations[-1])
        if record is None:
            return None
        return view_of(self._stored(KINDS[record.WhichOneof("value") or ""], answer.results[-1]))

    def read(self, kind: Kind, id: str) -> Any:
        """Returns the message of a stored record. Raises NotFound."""
        request = message_with(store_service_pb2.StoreServiceGetRequest, workspace=self.scope.workspace, kind=kind.name, id=id)
        return getattr(self.scope.connection.call(lambda stubs: stubs.store.Get, request).record, kind.name)

    def steps(self, kind: Kind) -> Sequence[Step]:
        """Always empty: each write was committed at once."""
        return ()

    def wrote(self, kind: Kind, id: str) -> bool:
        """Always false: each write was committed at once."""
        return False

    def _stored(self, kind: Kind, result: MutationResult) -> Any:
        # The daemon omits the records if the answer would be too large.
        return getattr(result.record, kind.name) if result.HasField("record") else self.read(kind, result.id)


def new_id(scope: Scope, kind: Kind) -> str:
    """Returns a new id for a record of this kind. No other caller gets it."""
    return scope.allocate(kind.name, 1)[0] if kind.sequence_ids else random_id(kind.id_prefix)
