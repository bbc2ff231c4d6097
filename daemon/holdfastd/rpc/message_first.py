"""Receives the message of a unary call before a thread is taken for it. The only file that uses private parts of grpcio.

By grpcio's own way a unary call takes a thread when its headers arrive, wakes it when its message arrives, and holds it until
the answer: 429 µs of the daemon's CPU an append, against 247 µs this way. grpcio has no public call for it, but hands each call
to the executor that its handler names (`experimental_thread_pool`). That executor, `CallPool`, offers the call to
`MessageFirst.receive`, which asks gRPC for the message. grpcio's serving thread then calls `_Call.on_message`, and that runs
the handler: at once when it never waits, otherwise in a thread of the pool. The rest repeats what `grpc._server` does.

Private parts may change in any version, so three guards keep a change from harming callers. Only a version in
`TESTED_VERSIONS` takes this way. `loopback.py` tries it before the socket is public. And a failure in it refuses that one call
and switches it off until the process ends; calls then take grpcio's own way, with the same answers.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import grpc

from holdfastd import logs

# The versions that CI ran `tests/end_to_end/test_call_pool.py` with, by both ways.
TESTED_VERSIONS = frozenset({"1.85.1"})

# Larger requests are decoded and checked in the pool: the serving thread serves everybody, and 4 KiB cost it 1 to 2 ms.
SMALL_REQUEST_BYTES = 4 * 2**10

_NOT_BEGUN = b"The daemon could not receive this call; nothing was applied. Try again."
_UNKNOWN_OUTCOME = b"The daemon could not send its answer. Whether the call was applied is not known; its log tells more."

Run = Callable[..., None]  # a function and its arguments; runs it in the pool


def _private(name: str) -> Any:
    """A private module of grpcio, or None when this version has none of that name."""
    with suppress(ImportError):
        return importlib.import_module(name)
    return None


grpc_server, cygrpc = _private("grpc._server"), _private("grpc._cython.cygrpc")

log = logs.logger(__name__)


class Sender(Protocol):
    """The caller's end of one short call. Any thread may use it, once; neither method blocks."""

    def send(self, answer: bytes | None) -> None:
        """Sends an encoded answer with OK; None ends the call with the status that was set in its context."""

    def abort(self) -> None:
        """Ends the call when its context or `send` failed. Does not raise."""


class Receiver(Protocol):
    """What a handler needs so that its calls can be received first."""

    never_waits: bool

    def receive(self, data: bytes, context: grpc.ServicerContext, sender: Sender) -> None:
        """Answers one call through `sender`, now or later. Does not raise."""


class Drift(Exception):
    """grpcio did something else than the listed versions do. Its text is ours."""


class MessageFirst:
    """Whether messages are received first, and why not. Thread-safe; one for the life of a daemon."""

    def __init__(self, version: str = grpc.__version__) -> None:
        self._version = version
        self._lock = threading.Lock()
        self._warning = ""
        self._is_on = version in TESTED_VERSIONS
        if not self._is_on:
            self._warning = (
                f"Holdfast was not tested with grpcio {version}, so calls take a slower way through it. "
                f"Tested: {', '.join(sorted(TESTED_VERSIONS))}."
            )
            log.warning("grpcio_not_tested", extra={"grpcio": version, "tested": ",".join(sorted(TESTED_VERSIONS))})

    def warnings(self) -> list[str]:
        """For `GetStatus`: empty while messages are received first."""
        return [self._warning] if self._warning else []

    def switch_off(self, error: BaseException) -> bool:
        """From now on every call takes grpcio's own way. Returns False when that was so before."""
        with self._lock:
            if not self._is_on:
                return False
            self._is_on = False
            self._warning = (
                f"Receiving messages first failed with grpcio {self._version} ({type(error).__name__}), so calls take a slower "
                "way through it until the daemon restarts. The log line message_first_off says where."
            )
        log.error("message_first_off", extra={"grpcio": self._version, "why": _why(error)}, exc_info=error)
        return True

    def receive(self, run: Run, args: tuple[Any, ...]) -> bool:
        """Asks gRPC for the message of the call that `submit` was given. False: nothing was done, grpcio must take the call.

        Runs in grpcio's serving thread with the call's condition held, so `on_message` cannot run before this returns.
        """
        if not self._is_on:
            return False
        try:
            respond, rpc_event, state, handler, _, deserializer, _ = args
            if respond is not grpc_server._stream_response_in_pool:
                raise Drift("the handler was submitted with another function")
            _Call(self, run, rpc_event, state, handler, deserializer).start()
        except Exception as error:
            self.switch_off(error)
            return False
        return True


class _Call:
    """One call whose message is received first; also the `Sender` of its answer."""

    __slots__ = ("_deserializer", "_handler", "_never_waits", "_path", "_rpc_event", "_run", "_state")

    def __init__(self, path: MessageFirst, run: Run, rpc_event: Any, state: Any, handler: Receiver, deserializer: Any) -> None:
        self._path = path
        self._run = run
        self._rpc_event = rpc_event
        self._state = state
        self._handler = handler
        self._never_waits = handler.never_waits
        self._deserializer = deserializer

    def start(self) -> None:
        """Asks for the message. When it raises, nothing was done that grpcio could not do again."""
        operation = cygrpc.ReceiveMessageOperation(0)
        if type(operation) is not cygrpc.ReceiveMessageOperation:  # gRPC would crash on it
            raise Drift("ReceiveMessageOperation made something else")
        token, due = grpc_server._RECEIVE_MESSAGE_TOKEN, self._state.due
        due.add(token)
        try:
            self._rpc_event.call.start_server_batch((operation,), self.on_message)
        except Exception as error:  # gRPC may have begun to receive or not, so grpcio cannot take the call any more
            due.discard(token)
            self._path.switch_off(error)
            self._abort("unavailable", _NOT_BEGUN)

    def on_message(self, event: Any) -> Any:
        """Runs in the serving thread, which an exception or a wrong result here would end."""
        try:
            data = event.batch_operations[0].message()
            if data is not None and type(data) is not bytes:
                raise Drift("the message is not bytes")
            context = self._make_context()
            with self._state.condition:
                if data is None:
                    self._refuse_empty()
                finished = self._finish()
        except Exception as error:
            self._path.switch_off(error)
            self._abort("unavailable", _NOT_BEGUN)
            return self._finish_unchecked()
        if data is not None:
            self._handle(data, context)
        return finished

    def _make_context(self) -> Any:
        context = grpc_server._Context(self._rpc_event, self._state, self._deserializer)
        if type(context) is not grpc_server._Context:
            raise Drift("_Context made something else")
        return context

    def _finish(self) -> Any:
        """Tells grpcio that the message is no longer due; gives the serving thread what it does with that."""
        finished = grpc_server._possibly_finish_call(self._state, grpc_server._RECEIVE_MESSAGE_TOKEN)
        ended, callbacks = finished
        if (ended is not None and ended is not self._state) or type(callbacks) not in (list, tuple):
            raise Drift("_possibly_finish_call returned something else")
        return finished

    def _finish_unchecked(self) -> Any:
        """`_finish` without grpcio's function. Needs no lock: only this thread takes operations out of `due`."""
        with suppress(Exception):
            self._state.due.remove(grpc_server._RECEIVE_MESSAGE_TOKEN)
            return (None, ()) if self._state.due else (self._state, ())
        return None, ()

    def _handle(self, data: bytes, context: grpc.ServicerContext) -> None:
        try:
            if self._never_waits and len(data) <= SMALL_REQUEST_BYTES:
                self._handler.receive(data, context, self)
            else:
                self._run(self._handler.receive, data, context, self)
        except Exception:  # no thread could be started: that is no fault of grpcio, so this way stays on
            log.exception("call_not_taken")
            self._abort("internal", _NOT_BEGUN)

    def send(self, answer: bytes | None) -> None:
        state = self._state
        try:
            grpc_server._status(self._rpc_event, state, answer)
            if not state.statused and state.client is not grpc_server._CANCELLED:
                raise Drift("_status sent nothing")
        except Exception as error:
            self._path.switch_off(error)
            self.abort()

    def abort(self) -> None:
        self._abort("internal", _UNKNOWN_OUTCOME)

    def _refuse_empty(self) -> None:
        method = self._rpc_event.call_details.method.decode()
        self._abort("unimplemented", f'"{method}" requires exactly one request message.'.encode())

    def _abort(self, code: str, details: bytes) -> None:
        """Ends the call with a status, unless it has one; cancels it when that fails."""
        state = self._state
        try:
            with state.condition:
                if state.statused:  # gRPC would accept a second status, and never be done with it
                    return
                grpc_server._abort(state, self._rpc_event.call, getattr(cygrpc.StatusCode, code), details)
            if not state.statused and state.client is not grpc_server._CANCELLED:
                raise Drift("_abort sent nothing")
        except Exception as error:
            self._path.switch_off(error)
            with suppress(Exception):
                self._rpc_event.call.cancel()


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, Drift) else type(error).__name__
