"""The asynchronous connection, written by hand: what these tests need of `holdfast.wire.connection`, on grpc.aio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc.aio

from holdfast.errors import HoldfastError
from holdfast.v1.admin_service_pb2_grpc import AdminServiceStub
from holdfast.v1.journal_service_pb2_grpc import JournalServiceStub
from holdfast.v1.store_service_pb2_grpc import StoreServiceStub
from holdfast.wire import forks
from holdfast.wire.agreement import Agreement
from holdfast.wire.channel import Stubs
from holdfast.wire.connection import told_what_to_do
from holdfast.wire.retry import Patience
from holdfast.wire.status import error_of

METADATA = Agreement().metadata  # says the newest version of the API: client and daemon are of one tree here


class Connection:
    """Calls with a deadline, tried again while the daemon is away. For one event loop."""

    def __init__(self, socket_path: Path, timeout_s: float = 30.0) -> None:
        self.timeout_s = timeout_s
        self.revision = 0
        channel: Any = grpc.aio.insecure_channel("unix:" + quote(os.fspath(socket_path)))
        self._channel = channel
        self._stubs = Stubs(
            socket_path=socket_path,
            generation=forks.generation,
            channel=channel,
            store=StoreServiceStub(channel),
            journal=JournalServiceStub(channel),
            blob=None,  # type: ignore[arg-type]  # contents are not part of the asynchronous half
            admin=AdminServiceStub(channel),
        )

    async def call(self, method: Callable[[Stubs], Callable[..., Awaitable[Any]]], request: Any) -> Any:
        """The answer to one unary call."""
        patience = Patience(self.timeout_s)
        while True:
            try:
                answer = await method(self._stubs)(request, timeout=patience.remaining_s, metadata=METADATA)
            except grpc.aio.AioRpcError as failure:
                await self.recover(told_what_to_do(error_of(failure), request), patience)
            else:
                self.saw(getattr(answer, "revision", 0))
                return answer

    def stubs(self) -> Stubs:
        return self._stubs

    def saw(self, revision: int) -> None:
        self.revision = max(self.revision, revision)

    async def recover(self, error: HoldfastError, patience: Patience) -> None:
        """Pauses before the next attempt; raises `error` when there is none."""
        await asyncio.to_thread(patience.pause_after, error)

    async def close(self) -> None:
        await self._channel.close()
