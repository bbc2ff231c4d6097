# Generated from client/holdfast/journals/reader.py by `make generate-async`. Do not edit.
"""Reads a journal as a stream that resumes at its position after an outage of the daemon."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

from holdfast.blobs.contents import ValuesOf
from holdfast.v1 import entry_pb2, journal_service_pb2
from holdfast.v1.store_service_pb2 import Unreadable
from holdfast.values import views
from tests.async_client.connection import Connection
from tests.async_client.generated.wire.pages import Gaps, OnUnreadable
from tests.async_client.streams import Stream

E = TypeVar("E", bound="views.Entry")


class Reader(Generic[E]):
    """An iterator of entries. One thread iterates; any thread may `close`, which ends the iteration.

    It holds one frame of at most 3 MiB at a time, and the content of one entry that is in a blob. The call ends when the last
    entry was read or the reader is closed.
    """

    def __init__(
        self,
        connection: Connection,
        request: journal_service_pb2.JournalServiceReadRequest,
        values_of: ValuesOf[E],
        on_unreadable: OnUnreadable | None = None,
    ) -> None:
        self._gaps = Gaps(on_unreadable)
        self._request = request
        self._values_of = values_of
        self._limited = request.limit > 0
        self._stream: Stream[journal_service_pb2.JournalServiceReadRequest, journal_service_pb2.JournalServiceReadResponse]
        self._stream = Stream(connection, lambda stubs: stubs.journal.Read, lambda: self._request)
        self._entries = self._read()

    def __aiter__(self) -> AsyncIterator[E]:
        return self._entries

    async def __anext__(self) -> E:
        return await anext(self._entries)

    @property
    def unreadable(self) -> list[Unreadable]:
        """The entries so far that exist and cannot be read. They are left out."""
        return self._gaps.unreadable

    async def close(self) -> None:
        """Ends the iteration, even while another thread waits for an entry."""
        self._stream.close()
        # Closing the generator releases grpc's call object now. Released at interpreter exit instead, it may block on a lock.
        # RuntimeError: another task runs the generator, and the closed stream ends it there.
        with suppress(RuntimeError):
            await self._entries.aclose()

    async def __aenter__(self) -> Reader[E]:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _read(self) -> AsyncGenerator[E, None]:
        async for frame in self._stream:
            self._gaps.note(frame.unreadable)
            if entries := frame.entries:
                finished = self._move(entries)
                for each in self._values_of(entries, self._gaps):
                    yield each
                if finished:
                    self._stream.close()
                    return

    def _move(self, entries: Sequence[entry_pb2.Entry]) -> bool:
        """Advances the request past these entries. Returns whether it has nothing left to ask for."""
        last, request = entries[-1].number, self._request
        if self._limited:
            request.limit = max(request.limit - len(entries), 0)
        if request.descending:
            request.end = last - 1
        else:
            request.start = last + 1
        passed_end = request.end > 0 and request.start > request.end
        return (self._limited and request.limit == 0) or passed_end or (request.descending and request.end < 1)
