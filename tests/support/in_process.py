"""The client over the daemon's insides in this process: no gRPC in between, so that SQL statements can be counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import holdfast
from holdfast.store import Store
from holdfast.wire.connection import Connection
from holdfastd.model.call import Call
from holdfastd.service.blobs.calls import BlobCalls
from tests.support.api import Api
from tests.support.engine import Engine, answered


class _Frames:
    """An open stream."""

    def __init__(self, frames: Iterator[Any]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Any]:
        return self._frames

    def cancel(self) -> None:
        """There is nobody to tell."""


class DirectConnection:
    """Stands where the client's connection stands and calls an engine's use cases."""

    revision = 0
    timeout_s = 30.0

    def __init__(self, engine: Engine) -> None:
        def bound(method: Callable[..., Any]) -> Callable[[Any], Any]:
            return lambda request: answered(method(request, Call(30.0)))

        records = engine.records
        self._stubs = SimpleNamespace(
            store=SimpleNamespace(
                Get=bound(records.get),
                BatchGet=bound(records.batch_get),
                List=bound(records.list),
                Scan=lambda request, metadata, timeout: _Frames(records.scan(request, Call(30.0))),
                Count=bound(records.count),
                Commit=bound(engine.commits.commit),
                AllocateId=bound(engine.commits.allocate_id),
            )
        )

    def call(self, method: Callable[[Any], Callable[[Any], Any]], request: Any) -> Any:
        return method(self._stubs)(request)

    def stubs(self) -> Any:
        return self._stubs

    def saw(self, revision: int) -> None:
        self.revision = max(self.revision, revision)


def store_over(engine: Engine) -> holdfast.Store:
    """A store that has the unary calls of StoreService and no others."""
    return Store(cast(Connection, DirectConnection(engine)), "default", "tester")


class DirectApi(Api):
    """The raw stubs over an engine's use cases, in a workspace of its own. Refusals come as the daemon's own errors."""

    def __init__(self, engine: Engine, blobs: BlobCalls, workspace: str = "direct") -> None:
        def bound(method: Callable[..., Any]) -> Callable[..., Any]:
            return lambda request, timeout=None: answered(method(request, Call(30.0)))

        def stub(owner: Any, *names: str) -> dict[str, Callable[..., Any]]:
            return {name.title().replace("_", ""): bound(getattr(owner, name)) for name in names}

        self.workspace = workspace
        reads = stub(engine.records, "get", "batch_get", "list", "scan", "count")
        writes = stub(engine.commits, "commit", "allocate_id")
        self.store: Any = SimpleNamespace(**reads, **writes, **stub(engine.watches, "watch"))
        self.journal: Any = SimpleNamespace(**stub(engine.commits, "append"), **stub(engine.journals, "read", "list"))
        self.blob: Any = SimpleNamespace(**stub(blobs, "put", "get", "stat"))


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that the engine's readers run in the block, in a list that grows."""
    statements: list[str] = []
    connections = [each.connection for each in engine._readers._all]
    for each in connections:
        each.set_trace_callback(statements.append)
    try:
        yield statements
    finally:
        for each in connections:
            each.set_trace_callback(None)
