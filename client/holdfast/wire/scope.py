"""What every call about a workspace carries, and the two calls that both records and journals make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.contract.ids import request_id
from holdfast.v1 import store_service_pb2
from holdfast.wire.connection import Connection


@dataclass(frozen=True, slots=True)
class Scope:
    """The connection, the workspace that calls are about, and the actor that writes are by."""

    connection: Connection
    workspace: str
    actor: str

    def commit(
        self, mutations: Sequence[store_service_pb2.Mutation], *, return_records: bool = True
    ) -> store_service_pb2.StoreServiceCommitResponse:
        """Applies the mutations as one commit. They apply once, however often the call is repeated."""
        request = store_service_pb2.StoreServiceCommitRequest(
            workspace=self.workspace,
            actor=self.actor,
            request_id=request_id(),
            mutations=mutations,
            return_records=return_records,
        )
        return self.connection.call(lambda stubs: stubs.store.Commit, request)

    def allocate(self, kind: str, count: int) -> list[str]:
        """New ids of a kind whose ids are numbered. No other caller is given them."""
        request = store_service_pb2.StoreServiceAllocateIdRequest(
            workspace=self.workspace, actor=self.actor, request_id=request_id(), kind=kind, count=count
        )
        return list(self.connection.call(lambda stubs: stubs.store.AllocateId, request).ids)
