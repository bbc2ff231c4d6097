"""An asynchronous store for tests: the generated collections of records and transcripts, over a connection written by hand."""

from __future__ import annotations

from collections.abc import AsyncIterable
from types import TracebackType
from typing import Any, TypeVar

from holdfast.contract.kinds import KINDS
from holdfast.v1 import admin_service_pb2
from tests.async_client.connection import Connection
from tests.async_client.generated.journals.transcripts import Transcripts, TranscriptWrites
from tests.async_client.generated.records.collection import Collection
from tests.async_client.generated.records.sink import CommitSink
from tests.async_client.generated.records.steps import Steps
from tests.async_client.generated.records.writes import CollectionWrites
from tests.async_client.generated.wire.scope import Scope

Item = TypeVar("Item")


async def collect(items: AsyncIterable[Item]) -> list[Item]:
    """What `list` is to an iterator."""
    return [each async for each in items]


class AsyncStore:
    """One workspace of a store. Every kind has the plain collection."""

    def __init__(self, connection: Connection, workspace: str, actor: str) -> None:
        self._connection = connection
        self._scope = Scope(connection, workspace, actor)
        self._sink = CommitSink(self._scope)
        self._collections = {kind.name: Collection[Any](self._sink, kind) for kind in KINDS.values()}
        self.transcripts = Transcripts(self._scope)

    def __getattr__(self, noun: str) -> Any:
        return next(self._collections[kind.name] for kind in KINDS.values() if kind.noun == noun)

    @property
    def revision(self) -> int:
        return self._connection.revision

    def collection(self, kind: str) -> Collection[Any]:
        return self._collections[kind]

    def in_workspace(self, workspace: str) -> AsyncStore:
        return AsyncStore(self._connection, workspace, self._scope.actor)

    def transaction(self) -> AsyncTransaction:
        return AsyncTransaction(self._sink)

    async def status(self) -> Any:
        return await self._connection.call(lambda stubs: stubs.admin.GetStatus, admin_service_pb2.AdminServiceGetStatusRequest())


class AsyncTransaction:
    """Steps that apply as one commit at the end of an `async with` block, or not at all."""

    def __init__(self, stored: CommitSink) -> None:
        self._steps = Steps(stored)
        self.transcripts = TranscriptWrites[Any, Any](self._steps)

    def __getattr__(self, noun: str) -> Any:
        return next(CollectionWrites[Any](self._steps, kind) for kind in KINDS.values() if kind.noun == noun)

    @property
    def revision(self) -> int:
        return self._steps.revision

    async def __aenter__(self) -> AsyncTransaction:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._steps.end(commit=error is None)
