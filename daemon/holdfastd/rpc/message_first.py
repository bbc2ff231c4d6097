"""Receives the request of a call before a thread is taken for it. Only this file and `incoming.py` use private parts of grpcio.

grpcio itself takes a thread when the headers of a unary call arrive, wakes it when the message arrives, and holds it until the
answer: 429 µs of the daemon's CPU per append, against 247 µs here. grpcio has no public function for this, but it submits each
call to the executor that the handler names (`experimental_thread_pool`):

1. grpcio submits the call to that executor, `CallPool`, which offers it to `MessageFirst.receive`.
2. `receive` asks gRPC for the message, at once or when there is a permit (`receipts.py`). A caller that holds its share of the
   memory budget is refused here, before anything of its message is read.
3. When the message has arrived, grpcio's serving thread calls `_Call.on_message`, which takes the memory that it needs.
4. `on_message` runs the handler: in the serving thread when the handler never waits, otherwise in a thread of the pool. A
   server stream goes back to grpcio in a thread of the stream pool, with its request in place of the function that waits for it.

The rest repeats what `grpc._server` does. Private parts may change in any version, so there are three guards. This path is used
only with a version in `TESTED_VERSIONS`. `loopback.py` tries it before the socket is public. A failure in it refuses that one
call and switches the path off until the process ends; grpcio then handles calls itself, with the same answers.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc

from holdfastd import logs
from holdfastd.errors import HoldfastError
from holdfastd.model.budget import Claim, NoRoom
from holdfastd.rpc.incoming import STALLED_S, Incoming
from holdfastd.rpc.message_handlers import StreamReceiver
from holdfastd.rpc.outstanding import Outstanding
from holdfastd.rpc.receipts import Receipts
from holdfastd.rpc.request_sizes import is_quick, memory_of, memory_of_fields

# The versions with which CI ran `tests/end_to_end/test_call_pool.py`, with this path on and off.
TESTED_VERSIONS = frozenset({"1.85.1"})

_NOT_BEGUN = b"The daemon could not receive this call; nothing was applied. Try again."
_UNKNOWN_OUTCOME = b"The daemon could not send its answer. It is not known whether the call was applied; see the daemon's log."

_PERMITS_WITHOUT_BUDGET = 1_000

Run = Callable[..., None]  # called with a caller, a function and its arguments; runs the function in the pool


def _private(name: str) -> Any:
    """A private module of grpcio; None when this version does not have it."""
    with suppress(ImportError):
        return importlib.import_module(name)
    return None


grpc_server, cygrpc = _private("grpc._server"), _private("grpc._cython.cygrpc")

log = logs.logger(__name__)


def call_of(args: tuple[Any, ...]) -> Any:
    """gRPC's call, with `peer` and `cancel`, among grpcio's arguments to `submit`; None when this version passes others."""
    call = getattr(args[1], "call", None)
    return call if hasattr(call, "peer") and hasattr(call, "cancel") else None


class Drift(Exception):
    """grpcio did something that the tested versions do not do. We wrote its text, so it may be logged."""


class MessageFirst:
    """The switch of this path, and its entry point `receive`. Thread-safe; a daemon has one."""

    def __init__(self, version: str = grpc.__version__, receipts: Receipts | None = None) -> None:
        self.receipts = receipts or Receipts(None, permits=_PERMITS_WITHOUT_BUDGET, largest_bytes=0)
        self.outstanding = Outstanding()
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
        """Warnings for `GetStatus`; empty while this path is on."""
        return [self._warning] if self._warning else []

    def switch_off(self, error: BaseException) -> bool:
        """From now on grpcio handles every call itself. Returns False when that was already so."""
        with self._lock:
            if not self._is_on:
                return False
            self._is_on = False
            self._warning = (
                f"Receiving messages first failed with grpcio {self._version} ({type(error).__name__}), so calls take a slower "
                "way through it until the daemon restarts. The log line message_first_off has the traceback."
            )
        log.error("message_first_off", extra={"grpcio": self._version, "why": _why(error)}, exc_info=error)
        return True

    def incoming(self, requests: Iterator[Any], claim: Claim) -> Iterator[Any] | None:
        """The messages of a client stream, received under permits; None when grpcio must receive them itself."""
        if not self._is_on or not isinstance(requests, grpc_server._RequestIterator):
            return None
        return Incoming(requests, self.receipts, claim, STALLED_S)

    def receive(self, run: Run, args: tuple[Any, ...]) -> bool:
        """Asks gRPC for the message of a submitted call. False: nothing was done, and grpcio must handle the call itself.

        args: the arguments that grpcio passed to `submit`. Runs in grpcio's serving thread with the call's condition held, so
        `on_message` cannot run before this returns.
        """
        if not self._is_on:
            return False
        try:
            respond, rpc_event, state, handler, _, deserializer, serializer = args
            if respond is not grpc_server._stream_response_in_pool:
                raise Drift("the handler was submitted with another function")
            if isinstance(handler, StreamReceiver):
                _StreamCall(self, run, rpc_event, state, handler, deserializer, serializer).start()
            else:
                _Call(self, run, rpc_event, state, handler, deserializer).start()
        except Exception as error:
            self.switch_off(error)
            return False
        return True


class _Call:
    """One call on this path; also the `Sender` of its answer."""

    __slots__ = (
        "_context",
        "_deserializer",
        "_handler",
        "_is_probed",
        "_operation",
        "_path",
        "_rpc_event",
        "_run",
        "_state",
        "claim",
    )

    def __init__(self, path: MessageFirst, run: Run, rpc_event: Any, state: Any, handler: Any, deserializer: Any) -> None:
        self._path = path
        self._run = run
        self._rpc_event = rpc_event
        self._state = state
        self._handler = handler
        self._deserializer = deserializer
        self._is_probed = False

    def start(self) -> None:
        """Admits or refuses the call. When it raises, grpcio can still handle the call itself."""
        self._operation = cygrpc.ReceiveMessageOperation(0)
        if type(self._operation) is not cygrpc.ReceiveMessageOperation:  # gRPC would crash on it
            raise Drift("ReceiveMessageOperation made something else")
        self._context = self._make_context()
        try:
            self.claim = self._handler.admit(self._context)
            self._path.outstanding.begin(self.claim.holder, self._context)
            if self._has_permit():
                self.begin()
        except HoldfastError as error:
            self.refuse(error)

    def begin(self) -> bool:
        """Asks gRPC for the message. Returns False when the call has ended, so that none will come."""
        token, state = grpc_server._RECEIVE_MESSAGE_TOKEN, self._state
        with state.condition:
            if state.statused or state.client is grpc_server._CANCELLED:
                return False
            state.due.add(token)
            try:
                self._rpc_event.call.start_server_batch((self._operation,), self.on_message)
            except Exception as error:  # gRPC may have begun to receive, so grpcio can no longer handle the call itself
                state.due.discard(token)
                self._path.switch_off(error)
                self._abort("unavailable", _NOT_BEGUN)
                return False
        return True

    def has_stalled(self) -> bool:
        """As `Receipt.has_stalled`. Sends the initial metadata: when the serving thread has handled the event of that and not
        yet that of the message, the message had not arrived, since the thread handles events in their order."""
        if not self._is_probed:
            self._is_probed = True
            with suppress(grpc.RpcError, ValueError):  # the call has ended, or the metadata was sent
                self._context.send_initial_metadata(())
                return False
        return grpc_server._SEND_INITIAL_METADATA_TOKEN not in self._state.due

    def refuse(self, error: HoldfastError) -> None:
        """Ends the call with this error, unless it has ended. Its message is dropped."""
        if not self._state.statused:
            self._handler.refuse(error, self._context, self)

    def on_message(self, event: Any) -> Any:
        """Runs in the serving thread. An exception or a wrong result here would end that thread."""
        try:
            wanted = self._give_permit_back()
            self.claim.release()
            data = event.batch_operations[0].message()
            if data is not None and type(data) is not bytes:
                raise Drift("the message is not bytes")
            with self._state.condition:
                if data is None:
                    self._refuse_empty()
                finished = self._finish()
        except Exception as error:
            self._path.switch_off(error)
            self._abort("unavailable", _NOT_BEGUN)
            return self._finish_unchecked()
        if data is not None and wanted:
            self._handle(data)
        return finished

    def _has_permit(self) -> bool:
        """`Receipts.ask`. A defect there is not grpcio's: it is logged, the message is received, and this path stays on."""
        try:
            return self._path.receipts.ask(self)
        except HoldfastError:
            raise
        except Exception:
            log.exception("receipts_failed")
            return True

    def _give_permit_back(self) -> bool:
        """`Receipts.done`, with the same rule for a defect."""
        try:
            return self._path.receipts.done(self)
        except Exception:
            log.exception("receipts_failed")
            return True

    def _make_context(self) -> Any:
        context = grpc_server._Context(self._rpc_event, self._state, self._deserializer)
        if type(context) is not grpc_server._Context:
            raise Drift("_Context made something else")
        return context

    def _finish(self) -> Any:
        """Tells grpcio that the message is no longer due. Returns what `on_message` must return to the serving thread."""
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

    def _handle(self, data: bytes) -> None:
        try:
            self._take(memory_of(data), len(data))
            self._dispatch(data)
        except HoldfastError as error:
            self.refuse(error)
        except Exception:  # no thread could be started; grpcio is not at fault, so this path stays on
            log.exception("call_not_taken")
            self.claim.release()
            self._abort("internal", _NOT_BEGUN)

    def _take(self, memory_bytes: int, size_bytes: int) -> None:
        """Takes the memory for the message. When there is none, its connection pauses."""
        if not self.claim.fits(memory_bytes):
            self._path.receipts.pauses.begin(self.claim.holder.connection, size_bytes)
            raise NoRoom(memory_bytes)

    def _dispatch(self, data: bytes) -> None:
        receive = self._handler.receive
        if self._handler.never_waits and is_quick(data):
            receive(data, self._context, self, self.claim)
        else:
            self._run(self.claim.holder, receive, data, self._context, self, self.claim)

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
        """Ends the call with this status, unless it has one already. Cancels the call when that fails."""
        state = self._state
        try:
            with state.condition:
                if state.statused:  # gRPC would accept a second status and then never finish the call
                    return
                grpc_server._abort(state, self._rpc_event.call, getattr(cygrpc.StatusCode, code), details)
            if not state.statused and state.client is not grpc_server._CANCELLED:
                raise Drift("_abort sent nothing")
        except Exception as error:
            self._path.switch_off(error)
            with suppress(Exception):
                self._rpc_event.call.cancel()


class _StreamCall(_Call):
    """One server stream on this path, until its request is received."""

    __slots__ = ("_data", "_serializer")

    def __init__(
        self,
        path: MessageFirst,
        run: Run,
        rpc_event: Any,
        state: Any,
        handler: StreamReceiver,
        deserializer: Any,
        serializer: Any,
    ) -> None:
        super().__init__(path, run, rpc_event, state, handler, deserializer)
        self._serializer = serializer
        self._data = b""

    def _dispatch(self, data: bytes) -> None:
        if self._context.add_callback(self.claim.release):
            self._data = data
            self._run(self.claim.holder, self._respond)
        else:  # the caller has gone
            self.claim.release()

    def _respond(self) -> None:
        """Runs grpcio's own code of a stream, in a thread of the stream pool."""
        self._state.context.run(
            grpc_server._stream_response_in_pool,
            self._rpc_event,
            self._state,
            self._handler,
            self._request,
            self._deserializer,
            self._serializer,
        )

    def _request(self) -> Any:
        """The decoded request, or the HoldfastError that refuses it; None when the caller has gone, as in grpcio's function."""
        data, self._data = self._data, b""
        if self._state.client is grpc_server._CANCELLED:
            return None
        try:
            self.claim.top_up(memory_of_fields(data))
        except HoldfastError as error:
            return error
        return self._deserializer(data)


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, Drift) else type(error).__name__
