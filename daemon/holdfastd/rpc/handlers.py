"""Handlers made from the protobuf descriptors: one wrapper for each way of calling, none for each method.

A use case takes the request (or an iterator of them) and a `Call`, and returns the answer (or an iterator of them).
The wrapper decodes, admits, checks the client's API version, maps errors, and logs what nobody foresaw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError

from holdfastd import logs
from holdfastd.errors import HoldfastError, InvalidArgument
from holdfastd.rpc.caller import GrpcCall
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.replies import Reply, Send, refuse
from holdfastd.rpc.status import internal, to_status
from holdfastd.service.admin import check_api_version
from holdfastd.service.pending import Pending

MAX_REQUEST_BYTES = 16 * 2**20
MAX_TRANSPORT_BYTES = (
    2 * MAX_REQUEST_BYTES
)  # above the limit there is room for a clear answer; above this, gRPC refuses by itself
API_VERSION_KEY = "holdfast-api"

UseCase = Callable[..., Any]

log = logs.logger(__name__)


def _check_metadata(context: grpc.ServicerContext) -> None:
    for key, value in context.invocation_metadata():
        if key == API_VERSION_KEY:
            check_api_version(int(value) if str(value).isdecimal() else -1)


def _decoder(method: MethodDescriptor) -> Callable[[bytes], Any]:
    """Decodes a request; what cannot be decoded comes out as the error, for an exception here would be INTERNAL."""
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


def _refuse(context: grpc.ServicerContext, error: Exception, method: str) -> None:
    if isinstance(error, HoldfastError):
        context.abort_with_status(to_status(error))
    if context.is_active():  # else it is the bare exception that grpcio raises in the request stream of a caller who has gone
        log.error("call_failed", extra={"method": method}, exc_info=error)
    context.abort_with_status(internal())


def _answering(use_case: UseCase, gate: Gate, name: str, timeout_s: float, decode: Callable[[bytes], Any]) -> UseCase:
    def receive(data: bytes, context: grpc.ServicerContext, send: Send) -> None:
        try:
            gate.enter()
        except HoldfastError as refusal:
            refuse(context, send, refusal, name)
            return
        reply = Reply(context, send, gate, name)
        try:
            _check_metadata(context)
            answer = use_case(_whole(decode(data)), GrpcCall(context, timeout_s))
            if isinstance(answer, Pending):
                answer.deliver(reply.succeed, reply.fail)
                return
        except Exception as error:
            reply.fail(error)
        else:
            reply.succeed(answer)

    def handle(data: bytes, context: grpc.ServicerContext, send_answer: Callable[[bytes | None], None]) -> None:
        def send_both(answer: bytes) -> None:
            send_answer(answer)
            send_answer(None)

        def send(answer: bytes | None) -> None:
            if answer is None:
                send_answer(None)
            else:  # which waits until the answer is on its way, and the writer must not wait for a slow caller
                gate.unary_pool.run(send_both, answer)

        receive(data, context, send)

    handle.receive = receive  # type: ignore[attr-defined]
    handle.never_waits = getattr(use_case, "never_waits", False)  # type: ignore[attr-defined]
    handle.experimental_non_blocking = True  # type: ignore[attr-defined]
    handle.experimental_thread_pool = gate.unary_pool  # type: ignore[attr-defined]
    return handle


def _gathering(use_case: UseCase, gate: Gate, name: str) -> UseCase:
    def handle(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        try:
            with gate.stream():
                _check_metadata(context)
                return use_case(map(_whole, requests), GrpcCall(context, None))
        except Exception as error:
            _refuse(context, error, name)

    handle.experimental_thread_pool = gate.stream_pool  # type: ignore[attr-defined]
    return handle


def _streaming(use_case: UseCase, gate: Gate, name: str) -> UseCase:
    def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            with gate.stream():
                _check_metadata(context)
                call = GrpcCall(context, None)
                with closing(use_case(_whole(request), call)) as answers:
                    yield from answers
        except Exception as error:
            _refuse(context, error, name)

    handle.experimental_thread_pool = gate.stream_pool  # type: ignore[attr-defined]
    return handle


def _encode(answer: Any) -> bytes:
    data: bytes = answer.SerializeToString()
    return data


def _handler(method: MethodDescriptor, use_case: UseCase, gate: Gate, timeout_s: float) -> grpc.RpcMethodHandler[Any, Any]:
    decode = _decoder(method)
    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(_gathering(use_case, gate, method.full_name), decode, _encode)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(_streaming(use_case, gate, method.full_name), decode, _encode)
    # On the wire a unary answer is a stream of one message, and only a streaming handler of grpcio's can answer later. This one
    # is given encoded messages and gives such.
    return grpc.unary_stream_rpc_method_handler(_answering(use_case, gate, method.full_name, timeout_s, decode))


def service_handler(
    service: ServiceDescriptor, use_cases: Mapping[str, UseCase], gate: Gate, timeout_s: float
) -> grpc.GenericRpcHandler:
    """A service of the contract; every method of it must have its use case."""
    handlers = {method.name: _handler(method, use_cases[method.name], gate, timeout_s) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, handlers)
