"""The client on an engine in this process, without gRPC, so that tests can count SQL statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import holdfast
from holdfast.store import Store
from holdfast.v1 import journal_service_pb2
from holdfast.wire.connection import Connection
from holdfast.wire.retry import Patience
from holdfastd.model.call import Call
from holdfastd.rpc.server import SERVICES
from holdfastd.service.answers import Encoded
from tests.support.api import Api
from tests.support.engine import Engine, answered


class _Frames:
    """An open stream."""

    def __init__(self, frames: Iterator[Any]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Any]:
        return self._frames

    def cancel(self) -> None:
        """Does nothing: there is no server to cancel."""


class DirectConnection:
    """Replaces the client's connection and calls an engine's use cases."""

    revision = 0
    timeout_s = 30.0
    cancellation = None

    def __init__(self, engine: Engine) -> None:
        methods = engine.parts.use_cases()["StoreService"]
        self._stubs = SimpleNamespace(store=SimpleNamespace(**{name: _bound(name, use) for name, use in methods.items()}))

    def call(self, method: Callable[[Any], Callable[[Any], Any]], request: Any) -> Any:
        return method(self._stubs)(request)

    def patience(self) -> Patience:
        return Patience(self.timeout_s)

    def check_cancelled(self, request: object, patience: Patience) -> None:
        """Does nothing: nobody cancels."""

    def supports(self, version: int) -> bool:
        """Always: the engine is this tree's."""
        return True

    def stubs(self) -> Any:
        return self._stubs

    def metadata_for(self, request: Any) -> None:
        """Does nothing: the engine is this tree's, so its version matches."""

    def saw(self, revision: int) -> None:
        self.revision = max(self.revision, revision)


def _bound(name: str, use_case: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a use case in the signature of a stub's method."""
    if SERVICES["StoreService"].methods_by_name[name].server_streaming:
        return lambda request, metadata, timeout: _Frames(use_case(request, Call(timeout)))
    return lambda request: answered(use_case(request, Call(30.0)))


def store_over(engine: Engine) -> holdfast.Store:
    """A store with the calls of StoreService only."""
    return Store(cast(Connection, DirectConnection(engine)), "default", "tester")


class DirectApi(Api):
    """The raw stubs over an engine's use cases. A refusal is raised as the daemon's own error."""

    def __init__(self, engine: Engine, workspace: str = "direct") -> None:
        self.workspace = workspace
        services = [
            SimpleNamespace(**{name: _direct(use) for name, use in methods.items()})
            for methods in engine.parts.use_cases().values()
        ]
        self.store, self.journal, self.blob, self.admin = services


def _direct(use_case: Callable[..., Any]) -> Callable[..., Any]:
    return lambda request, timeout=30.0: _decoded(answered(use_case(request, Call(timeout))))


def _decoded(answer: Any) -> Any:
    """The answer, with the frames that the daemon encodes itself decoded, as a client does it."""
    if not isinstance(answer, Iterator):
        return answer
    frame = journal_service_pb2.JournalServiceReadResponse
    return (frame.FromString(each.SerializeToString()) if isinstance(each, Encoded) else each for each in answer)


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that the engine's readers run in the block; the list grows while they run."""
    statements: list[str] = []
    connections = [each.connection for each in engine.readers._all]
    for each in connections:
        each.set_trace_callback(statements.append)
    try:
        yield statements
    finally:
        for each in connections:
            each.set_trace_callback(None)
