"""Watches the store's changes: each once, in order, across outages of the daemon."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType

from holdfast.contract.messages import message_with
from holdfast.v1 import admin_service_pb2, store_service_pb2
from holdfast.values import views
from holdfast.values.view_classes import view_of
from holdfast.wire.connection import Connection
from holdfast.wire.pages import Gaps, OnUnreadable
from holdfast.wire.scope import Scope
from holdfast.wire.streams import Stream


class Watch:
    """An iterator of changes. One thread iterates; any thread may `close`, which ends the iteration.

    After an outage it resumes at the cursor of the last frame, so it neither misses nor repeats a change. A damaged change is
    left out: it is in `unreadable`, and is logged as a warning or given to `on_unreadable`, which may raise.
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
        notes: bool,
        on_unreadable: OnUnreadable | None,
    ) -> None:
        """notes: whether it yields the notes of callers."""
        self._gaps = Gaps(on_unreadable)
        self._request = message_with(
            store_service_pb2.StoreServiceWatchRequest,
            workspace=workspace,
            kinds=kinds,
            ids=ids,
            after_revision=after_revision,
            cursor=cursor,
            replay_only=replay_only,
        )
        self._notes = notes
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

    @property
    def unreadable(self) -> list[store_service_pb2.Unreadable]:
        """The damaged changes that the watch has come to, with their revision and ordinal."""
        return self._gaps.unreadable

    def __iter__(self) -> Iterator[views.Change]:
        return self

    def __next__(self) -> views.Change:
        return next(self._changes)

    def close(self) -> None:
        """Ends the watch, even while another thread waits for a change."""
        self._stream.close()
        # Closing the generator releases grpc's call object now. Released at interpreter exit instead, it may block on a lock.
        # ValueError: another thread runs the generator, and the closed stream ends it there.
        with suppress(ValueError):
            self._changes.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read(self) -> Generator[views.Change, None, None]:
        for frame in self._stream:
            self._request.cursor = frame.cursor
            if frame.unreadable:
                yield from self._around_damage(frame)
            else:
                yield from map(view_of, self._wanted(frame.changes))
            self._cursor = frame.cursor

    def _around_damage(self, frame: store_service_pb2.StoreServiceWatchResponse) -> Generator[views.Change, None, None]:
        """Yields the changes of a frame and tells of the damaged ones between them, in order."""
        damaged = deque(frame.unreadable)
        for each in self._wanted(frame.changes):
            while damaged and (damaged[0].revision, damaged[0].ordinal) < (each.revision, each.ordinal):
                self._gaps.note([damaged.popleft()])
            yield view_of(each)
        for each_damaged in damaged:
            self._gaps.note([each_damaged])

    def _wanted(self, found: Iterable[store_service_pb2.Change]) -> Iterable[store_service_pb2.Change]:
        return found if self._notes else (each for each in found if each.action != store_service_pb2.ACTION_NOTE)


def revision_now(scope: Scope) -> int:
    """Returns the revision of the newest commit."""
    request = admin_service_pb2.AdminServiceGetStatusRequest()
    return scope.connection.call(lambda stubs: stubs.admin.GetStatus, request).revision


def open_watch(
    scope: Scope,
    kinds: Iterable[str],
    ids: Iterable[str],
    since: int | None,
    cursor: str,
    *,
    replay_only: bool = False,
    notes: bool = True,
    on_unreadable: OnUnreadable | None = None,
) -> Watch:
    """Opens a watch at a cursor, after a revision, or (with neither) after the present revision, which this call reads."""
    if since is None and not cursor:
        since = revision_now(scope)
    return Watch(
        scope.connection,
        workspace=scope.workspace,
        kinds=tuple(kinds),
        ids=tuple(ids),
        after_revision=since or 0,
        cursor=cursor,
        replay_only=replay_only,
        notes=notes,
        on_unreadable=on_unreadable,
    )
