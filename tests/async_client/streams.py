"""The asynchronous stream, written by hand: what `holdfast.wire.streams` does, on grpc.aio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

import grpc.aio

from holdfast.wire.channel import Stubs
from holdfast.wire.retry import Patience
from holdfast.wire.status import error_of
from tests.async_client.connection import METADATA, Connection

Request = TypeVar("Request")
Frame = TypeVar("Frame")


class Stream(Generic[Request, Frame]):
    """The frames of a server stream, across as many calls as it takes. Another task may close it, which ends the iteration."""

    def __init__(
        self, connection: Connection, method: Callable[[Stubs], Callable[..., Any]], next_request: Callable[[], Request]
    ) -> None:
        self._connection = connection
        self._method = method
        self._next_request = next_request
        self._call: Any = None
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[Frame]:
        patience = Patience(self._connection.timeout_s)
        while not self._closed:
            self._call = self._method(self._connection.stubs())(self._next_request(), metadata=METADATA)
            try:
                async for frame in self._call:
                    patience.restart()
                    self._connection.saw(getattr(frame, "revision", 0))
                    yield frame
                return
            except grpc.aio.AioRpcError as failure:
                await self._connection.recover(error_of(failure), patience)
            except asyncio.CancelledError:
                if not self._closed:
                    raise
            finally:
                self._call.cancel()

    def close(self) -> None:
        """Ends the stream, also one that another task waits on."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()
