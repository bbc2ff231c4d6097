"""gRPC handlers, built from the protobuf descriptors. There is one wrapper for each type of call: unary, client or server stream.

A use case takes the request (or an iterator of requests) and a `Call`, and returns the answer (or an iterator of answers). The
wrapper decodes the request, admits the call, checks the client's API version, and ends the call with its answer or its error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError

from holdfastd.errors import HoldfastError, InvalidArgument
from holdfastd.rpc.caller import GrpcCall
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.message_first import Sender
from holdfastd.rpc.replies import Reply, refuse
from holdfastd.service.decoding import check_api_version
from holdfastd.service.pending import NeverWaits, Pending

MAX_REQUEST_BYTES = 16 * 2**20
# Between the two limits we refuse a message with our error details; above this one gRPC refuses it without them.
MAX_TRANSPORT_BYTES = 2 * MAX_REQUEST_BYTES
API_VERSION_KEY = "holdfast-api"
_VERSION = re.compile("[0-9]{1,9}")

UseCase = Callable[..., Any]
Decode = Callable[[bytes], Any]  # a request, or the HoldfastError that refuses it


def _check_metadata(context: grpc.ServicerContext) -> None:
    for key, value in context.invocation_metadata():
        if key == API_VERSION_KEY:
            check_api_version(int(value) if _VERSION.fullmatch(str(value)) else -1)


def _decoder(method: MethodDescriptor) -> Decode:
    """The decoder of a method's requests. It returns the error of a bad one: grpcio would turn an exception into INTERNAL."""
    request_class = message_factory.GetMessageClass(method.input_type)

    def decode(data: bytes) -> Any:
        if len(data) > MAX_REQUEST_BYTES:
            return InvalidArgument(
                f"The request has {len(data):,} bytes; the limit is {MAX_REQUEST_BYTES:,}. Split it, or use a blob.",
                reason="TOO_LARGE",
                limit=MAX_REQUEST_BYTES,
                size=len(data),
            )
        try:
            return request_class.FromString(data)
        except DecodeError:
            return InvalidArgument(
                f"The request is not a {method.input_type.full_name}: it is cut short, or a string in it is not UTF-8.",
                reason="REQUEST_MALFORMED",
            )

    return decode


def _whole(request: Any) -> Any:
    if isinstance(request, HoldfastError):
        raise request
    return request


class UnaryHandler:
    """A unary use case. `MessageFirst` calls `receive`; when that is off, grpcio calls `__call__`."""

    experimental_non_blocking = True  # grpcio passes a callback to `__call__` and does not wait for a result

    def __init__(self, use_case: UseCase, gate: Gate, method: str, timeout_s: float, decode: Decode) -> None:
        self.never_waits = isinstance(use_case, NeverWaits)
        self.experimental_thread_pool = gate.unary_pool  # the executor that grpcio submits the calls to
        self._use_case = use_case
        self._gate = gate
        self._method = method
        self._timeout_s = timeout_s
        self._decode = decode

    def receive(self, data: bytes, context: grpc.ServicerContext, sender: Sender) -> None:
        """Runs the use case and answers, or leaves the answer to the writer. Does not raise."""
        reply = Reply(context, sender, self._gate, self._method)
        self._gate.enter()
        try:
            self._gate.check_short()
            _check_metadata(context)
            call = GrpcCall(context, self._gate.peers.of(context), self._timeout_s)
            answer = self._use_case(_whole(self._decode(data)), call)
            if isinstance(answer, Pending):
                answer.deliver(reply.succeed, reply.fail)
                return
        except BaseException as error:  # also SystemExit: the caller must get an answer
            reply.fail(error)
        else:
            reply.succeed(answer)

    def __call__(self, data: bytes, context: grpc.ServicerContext, send_response: Callable[[bytes | None], None]) -> None:
        self.receive(data, context, _StreamSender(context, send_response, self._gate.unary_pool.run))


class _StreamSender:
    """Sends the answer of a call that did not go through `MessageFirst`. To grpcio the answer is a stream of one message."""

    def __init__(
        self, context: grpc.ServicerContext, send_response: Callable[[bytes | None], None], run: Callable[..., None]
    ) -> None:
        self._context = context
        self._send_response = send_response
        self._run = run

    def send(self, answer: bytes | None) -> None:
        if answer is None:
            self._send_response(None)
        else:  # grpcio's own send blocks until the message is written, and this may be the writer's thread
            self._run(self._send_both, answer)

    def _send_both(self, answer: bytes) -> None:
        self._send_response(answer)
        self._send_response(None)

    def abort(self) -> None:
        self._context.cancel()


def unary_handler(handler: UnaryHandler) -> grpc.RpcMethodHandler[Any, Any]:
    """The handler for grpcio. It is of the streaming type, the only one that may answer later. The wire format is the same."""
    return grpc.unary_stream_rpc_method_handler(handler)


def _gathering(use_case: UseCase, gate: Gate, name: str) -> UseCase:
    def handle(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        try:
            call = GrpcCall(context, gate.peers.of(context), None)
            with gate.stream():
                _check_metadata(context)
                return use_case(map(_whole, requests), call)
        except Exception as error:
            refuse(context, error, name)
            return None

    return handle


def _streaming(use_case: UseCase, gate: Gate, name: str) -> UseCase:
    def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            call = GrpcCall(context, gate.peers.of(context), None)
            with gate.stream():
                _check_metadata(context)
                with closing(use_case(_whole(request), call)) as answers:
                    yield from answers
        except Exception as error:
            refuse(context, error, name)

    return handle


def _encode(answer: Any) -> bytes:
    """The encoded answer; empty after a refusal, because grpcio sends a message with an error too, which callers ignore."""
    data: bytes = b"" if answer is None else answer.SerializeToString()
    return data


def _handler(method: MethodDescriptor, use_case: UseCase, gate: Gate, timeout_s: float) -> grpc.RpcMethodHandler[Any, Any]:
    decode = _decoder(method)
    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(_gathering(use_case, gate, method.full_name), decode, _encode)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(_streaming(use_case, gate, method.full_name), decode, _encode)
    return unary_handler(UnaryHandler(use_case, gate, method.full_name, timeout_s, decode))


def service_handler(
    service: ServiceDescriptor, use_cases: Mapping[str, UseCase], gate: Gate, timeout_s: float
) -> grpc.GenericRpcHandler:
    """The handler of one service of the contract. `use_cases` must have an entry for every method."""
    handlers = {method.name: _handler(method, use_cases[method.name], gate, timeout_s) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, handlers)
