# Generated from client/holdfast/records/watch.py by `make generate-async`. Do not edit.
"""Watches the store's changes: each once, in order, across outages of the daemon."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType

from holdfast.v1 import admin_service_pb2, store_service_pb2
from tests.async_client.connection import Connection
from tests.async_client.generated.wire.scope import Scope
from tests.async_client.streams import Stream


class Watch:
    """An iterator of changes. One thread iterates; any thread may `close`, which ends the iteration.

    After an outage it resumes at the cursor of the last frame, so it neither misses nor repeats a change.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        workspace: str,
        kinds: Sequence[str],
        ids: Sequence[str],
        after_revision: int,
        cursor: str,
        replay_only: bool,
    ) -> None:
        self._request = store_service_pb2.StoreServiceWatchRequest(
            workspace=workspace, kinds=kinds, ids=ids, after_revision=after_revision, cursor=cursor, replay_only=replay_only
        )
        self._cursor = cursor
        self._stream: Stream[store_service_pb2.StoreServiceWatchRequest, store_service_pb2.StoreServiceWatchResponse]
        self._stream = Stream(connection, lambda stubs: stubs.store.Watch, lambda: self._request)
        self._changes = self._read()

    @property
    def cursor(self) -> str:
        """The position at which another watch of the same kinds and ids can resume: after the last frame that was consumed.

        That watch repeats the changes already taken from a frame that is only partly consumed. Empty before the first frame
        was consumed.
        """
        return self._cursor

    def __aiter__(self) -> AsyncIterator[store_service_pb2.Change]:
        return self

    async def __anext__(self) -> store_service_pb2.Change:
        return await anext(self._changes)

    async def close(self) -> None:
        """Ends the watch, even while another thread waits for a change."""
        self._stream.close()
        # Closing the generator releases grpc's call object now. Released at interpreter exit instead, it may block on a lock.
        # RuntimeError: another task runs the generator, and the closed stream ends it there.
        with suppress(RuntimeError):
            await self._changes.aclose()

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _read(self) -> AsyncGenerator[store_service_pb2.Change, None]:
        async for frame in self._stream:
            self._request.cursor = frame.cursor
            for each in frame.changes:
                yield each
            self._cursor = frame.cursor


async def revision_now(scope: Scope) -> int:
    """Returns the revision of the newest commit."""
    request = admin_service_pb2.AdminServiceGetStatusRequest()
    return (await scope.connection.call(lambda stubs: stubs.admin.GetStatus, request)).revision


async def open_watch(
    scope: Scope, kinds: Iterable[str], ids: Iterable[str], since: int | None, cursor: str, *, replay_only: bool = False
) -> Watch:
    """Opens a watch at a cursor, after a revision, or (with neither) after the present revision, which this call reads."""
    if since is None and not cursor:
        since = await revision_now(scope)
    return Watch(
        scope.connection,
        workspace=scope.workspace,
        kinds=tuple(kinds),
        ids=tuple(ids),
        after_revision=since or 0,
        cursor=cursor,
        replay_only=replay_only,
    )
