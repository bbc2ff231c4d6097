"""Where collections of records write: the store's `CommitSink` sends each write at once, a transaction's `Steps` gathers them.

A collection makes mutations and gives them to its sink, so one body serves the store and its transactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.blobs.collection import Blobs
from holdfast.blobs.session_memory import SessionMemory, TransactionMemory
from holdfast.contract.ids import random_id
from holdfast.contract.kinds import KINDS, Kind
from holdfast.v1 import store_service_pb2
from holdfast.v1.store_service_pb2 import Mutation, MutationResult
from holdfast.values.mutations import record_of
from holdfast.wire.scope import Scope


@dataclass(frozen=True, slots=True)
class Step:
    """A mutation that waits for its commit, and what the caller was given: a record's message, a list of entries, or None."""

    mutation: Mutation
    shown: Any


class Sink(Protocol):
    """What a collection writes to, and reads when a write depends on what is there."""

    @property
    def scope(self) -> Scope: ...

    @property
    def blobs(self) -> Blobs:
        """Where contents go. They are uploaded at once and are kept when a record that is committed names them."""

    @property
    def memory(self) -> SessionMemory | TransactionMemory:
        """What is known of the sessions that checkpoints are saved in."""

    @property
    def deferred(self) -> bool:
        """Whether the commit comes later. Then `write` raises no error of the daemon's, so the caller cannot try again."""

    def write(self, *mutations: Mutation) -> Any:
        """Writes mutations that apply together; returns the message of the last one's record, or None when it is a delete."""

    def read(self, kind: Kind, id: str) -> Any:
        """The message of a record as it will be when the next mutation applies. Raises NotFound."""

    def steps(self, kind: Kind) -> Sequence[Step]:
        """The steps about records of this kind that wait for their commit, in order."""

    def wrote(self, kind: Kind, id: str) -> bool:
        """Whether a step that waits for its commit writes this record, and no later one deletes it."""


class CommitSink:
    """Commits each write at once. Safe in threads."""

    deferred = False

    def __init__(self, scope: Scope, memory: SessionMemory | None = None) -> None:
        self.scope = scope
        self.blobs = Blobs(scope.connection)
        self.memory = memory or SessionMemory()

    def write(self, *mutations: Mutation) -> Any:
        """Applies the mutations as one commit; returns the last record as it is stored."""
        answer = self.scope.commit(mutations)
        record = record_of(mutations[-1])
        return None if record is None else self._stored(KINDS[record.WhichOneof("value") or ""], answer.results[-1])

    def read(self, kind: Kind, id: str) -> Any:
        """The message of a stored record. Raises NotFound."""
        request = store_service_pb2.StoreServiceGetRequest(workspace=self.scope.workspace, kind=kind.name, id=id)
        return getattr(self.scope.connection.call(lambda stubs: stubs.store.Get, request).record, kind.name)

    def steps(self, kind: Kind) -> Sequence[Step]:
        """None: nothing waits."""
        return ()

    def wrote(self, kind: Kind, id: str) -> bool:
        """False: nothing waits."""
        return False

    def _stored(self, kind: Kind, result: MutationResult) -> Any:
        # An answer that would grow too large comes without the records.
        return getattr(result.record, kind.name) if result.HasField("record") else self.read(kind, result.id)


def new_id(scope: Scope, kind: Kind) -> str:
    """A new id for a record of this kind. No other caller is given it."""
    return scope.allocate(kind.name, 1)[0] if kind.sequence_ids else random_id(kind.id_prefix)
