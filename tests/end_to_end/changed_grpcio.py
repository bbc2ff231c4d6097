"""A grpcio that differs in one behaviour, but only for `message_first`; grpcio's own callers see the original."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from holdfastd.rpc import message_first
from holdfastd.rpc.message_first import MessageFirst

Change = Callable[[Callable[..., Any]], Callable[..., Any]]


class Changed:
    """Wraps a grpcio object and replaces or hides attributes. Equal to the object, because grpcio keeps it in sets."""

    def __init__(self, of: Any, **changed: Any) -> None:
        vars(self).update(of=of, changed=changed)

    def __getattr__(self, name: str) -> Any:
        found = self.changed[name] if name in self.changed else getattr(self.of, name)
        if found is GONE:
            raise AttributeError(name)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.of, name, value)

    def __eq__(self, other: object) -> bool:
        return other is self.of or other is self

    def __hash__(self) -> int:
        return hash(self.of)

    def __len__(self) -> int:
        return len(self.of)


GONE = object()


def one_argument_more(real: Callable[..., Any]) -> Callable[..., Any]:
    def changed(*arguments: Any) -> Any:
        *known, _new = arguments
        return real(*known)

    return changed


def one_argument_less(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: real(*arguments, None)


def another_result(real: Callable[..., Any]) -> Callable[..., Any]:
    def changed(*arguments: Any) -> Any:
        real(*arguments)
        return object()

    return changed


def raises_first(real: Callable[..., Any]) -> Callable[..., Any]:
    def changed(*arguments: Any) -> Any:
        raise LookupError

    return changed


def raises_last(real: Callable[..., Any]) -> Callable[..., Any]:
    def changed(*arguments: Any) -> Any:
        real(*arguments)
        raise LookupError

    return changed


def does_nothing(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: None


CHANGES: tuple[Change, ...] = (
    one_argument_more,
    one_argument_less,
    another_result,
    raises_first,
    raises_last,
    does_nothing,
)
OF_SERVER = ("_possibly_finish_call", "_abort", "_status", "_Context")
OF_CORE = ("ReceiveMessageOperation",)
OF_CALL = ("start_server_batch", "message", "due.add")


def drift(monkeypatch: pytest.MonkeyPatch, place: str, change: Change) -> None:
    """Changes one function of grpcio for `message_first`."""
    if place in OF_SERVER:
        see(monkeypatch, "grpc_server", place, change(getattr(message_first.grpc_server, place)))
    elif place in OF_CORE:
        see(monkeypatch, "cygrpc", place, change(getattr(message_first.cygrpc, place)))
    else:
        submitted(monkeypatch, lambda args: changed_call(args, place, change))


def see(monkeypatch: pytest.MonkeyPatch, module: str, name: str, value: Any) -> None:
    monkeypatch.setattr(message_first, module, Changed(getattr(message_first, module), **{name: value}))


def submitted(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Any]], list[Any]]) -> None:
    """Changes the arguments with which grpcio submits a call. grpcio's functions accept the changed ones."""
    server = message_first.grpc_server

    class Context(server._Context):  # type: ignore[misc]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*map(real_one, arguments))

    def finish(state: Any, token: str) -> Any:
        ended, callbacks = server._possibly_finish_call(real_one(state), token)
        return None if ended is None else state, callbacks

    def known(name: str) -> Callable[..., Any]:
        return lambda *arguments: getattr(server, name)(*map(real_one, arguments))

    functions = {"_Context": Context, "_possibly_finish_call": finish, "_abort": known("_abort"), "_status": known("_status")}
    monkeypatch.setattr(message_first, "grpc_server", Changed(server, **functions))
    receive = MessageFirst.receive
    monkeypatch.setattr(MessageFirst, "receive", lambda self, run, args: receive(self, run, tuple(change(list(args)))))


def real_one(each: Any) -> Any:
    return each.of if isinstance(each, Changed) else each


def changed_call(args: list[Any], place: str, change: Change) -> list[Any]:
    respond, rpc_event, state, *others = args
    if place == "due.add":
        state = Changed(state, due=Changed(state.due, add=change(state.due.add)))
    else:
        start = changed_start(rpc_event.call.start_server_batch, place, change)
        rpc_event = Changed(rpc_event, call=Changed(rpc_event.call, start_server_batch=start))
    return [respond, rpc_event, state, *others]


def changed_start(real: Callable[..., Any], place: str, change: Change) -> Callable[..., Any]:
    if place == "start_server_batch":
        return change(real)

    def start(operations: Any, on_event: Callable[[Any], Any]) -> Any:
        def on_changed_event(event: Any) -> Any:
            (operation,) = event.batch_operations
            return on_event(SimpleNamespace(batch_operations=[SimpleNamespace(message=change(operation.message))]))

        return real(operations, on_changed_event)

    return start
