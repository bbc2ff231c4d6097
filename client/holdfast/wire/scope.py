"""The connection, workspace and actor of every call, and the two calls that records and journals share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.contract.ids import request_id as new_request_id
from holdfast.contract.messages import message_with
from holdfast.v1 import store_service_pb2
from holdfast.wire.connection import Connection


@dataclass(frozen=True, slots=True)
class Scope:
    """The connection, the workspace of the calls, and the actor that is recorded with writes."""

    connection: Connection
    workspace: str
    actor: str

    def commit(
        self, mutations: Sequence[store_service_pb2.Mutation], *, return_records: bool = True, request_id: str = ""
    ) -> store_service_pb2.StoreServiceCommitResponse:
        """Applies the mutations as one commit. A request id makes them apply once even if the call is repeated."""
        request = message_with(
            store_service_pb2.StoreServiceCommitRequest,
            workspace=self.workspace,
            actor=self.actor,
            request_id=request_id or new_request_id(),
            mutations=mutations,
            return_records=return_records,
        )
        return self.connection.call(lambda stubs: stubs.store.Commit, request)

    def allocate(self, kind: str, count: int) -> list[str]:
        """Returns `count` new ids of a kind whose ids are numbered. The daemon gives each id to one caller only."""
        request = message_with(
            store_service_pb2.StoreServiceAllocateIdRequest,
            workspace=self.workspace,
            actor=self.actor,
            request_id=new_request_id(),
            kind=kind,
            count=count,
        )
        return list(self.connection.call(lambda stubs: stubs.store.AllocateId, request).ids)
