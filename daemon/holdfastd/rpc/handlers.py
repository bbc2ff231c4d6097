"""gRPC handlers, built from the protobuf descriptors. There is one wrapper for each type of call: unary, client or server stream.

A use case takes the request (or an iterator of requests) and a `Call`, and returns the answer (or an iterator of answers). The
wrapper decodes the request, admits the call, checks the client's API version, and ends the call with its answer or its error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError

from holdfastd import MAX_API_VERSION, logs
from holdfastd.errors import HoldfastError, InvalidArgument
from holdfastd.model.budget import Claim, NoRoom
from holdfastd.model.call import Call, Peer
from holdfastd.rpc.caller import GrpcCall
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.message_handlers import Sender, StreamReceiver
from holdfastd.rpc.replies import Reply, refuse, send_refusal
from holdfastd.rpc.request_sizes import IN_PROGRESS_BYTES, memory_of, memory_of_fields
from holdfastd.service.decoding import check_api_version
from holdfastd.service.pending import NeverWaits, Pending
from holdfastd.service.reading import MayBeLong

MAX_REQUEST_BYTES = 16 * 2**20
# Between the two limits we refuse a message with our error details; above this one gRPC refuses it without them.
MAX_TRANSPORT_BYTES = MAX_REQUEST_BYTES + 2 * 2**20
# What an upload needs beside the content that it gathers when grpcio receives its messages itself: the message on its way, whose
# size is not known before, and the chunk before it, hashed and compressed.
UPLOAD_BYTES = MAX_TRANSPORT_BYTES + 8 * 2**20
API_VERSION_KEY = "holdfast-api"
_VERSION = re.compile("[0-9]{1,9}")

log = logs.logger(__name__)

UseCase = Callable[..., Any]
Decode = Callable[[bytes], Any]  # a request, or the HoldfastError that refuses it


def _api_version(context: grpc.ServicerContext) -> int:
    """The API version that the caller states, checked; the daemon's own when it states none."""
    for key, value in context.invocation_metadata():
        if key == API_VERSION_KEY:
            version = int(value) if _VERSION.fullmatch(str(value)) else -1
            check_api_version(version)
            return version
    return MAX_API_VERSION


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


def _admit(gate: Gate, context: grpc.ServicerContext) -> Claim:
    """Counts a call as in progress until it ends, and returns a claim for what else it needs. Raises as `Receiver.admit`."""
    claim = gate.claim_of(gate.peers.of(context))
    in_progress = claim.beside()
    in_progress.take(IN_PROGRESS_BYTES)
    if not context.add_callback(in_progress.release):  # it has ended already
        in_progress.release()
    return claim


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

    def admit(self, context: grpc.ServicerContext) -> Claim:
        """The claim of a new call. Raises PERMISSION_DENIED, or RESOURCE_EXHAUSTED when the caller holds its share of memory."""
        return _admit(self._gate, context)

    def receive(self, data: bytes, context: grpc.ServicerContext, sender: Sender, claim: Claim) -> None:
        """Runs the use case and answers, or leaves the answer to the writer. Does not raise."""
        reply = Reply(context, sender, self._gate, self._method, claim)
        self._gate.enter()
        try:
            self._gate.check_short(claim.holder)
            call = GrpcCall(context, cast(Peer, claim.holder), self._timeout_s, claim, _api_version(context))
            claim.top_up(memory_of_fields(data))
            request = _whole(self._decode(data))
            del data
            answer = self._use_case(request, call) if self.never_waits else self._read(request, call)
        except BaseException as error:  # also SystemExit: the caller must get an answer
            reply.fail(error)
        else:
            self._answer(answer, reply)

    def _answer(self, answer: Any, reply: Reply) -> None:
        if isinstance(answer, Pending):
            try:
                answer.deliver(reply.succeed, reply.fail)
            except BaseException as error:
                reply.fail(error)
        elif isinstance(answer, bytes):
            reply.offer(answer)
        else:
            reply.succeed(answer)

    def _read(self, request: Any, call: Call) -> bytes:
        """The encoded answer of a use case that reads. Few are built at once: each may need three times its size meanwhile."""
        call.is_long = isinstance(self._use_case, MayBeLong) and self._use_case.is_long(request)
        with self._gate.answers.place(call):
            if self._gate.pauses.is_on(call.peer.connection):
                raise NoRoom(0)
            data: bytes = self._use_case(request, call).SerializeToString()
        return data

    def refuse(self, error: HoldfastError, context: grpc.ServicerContext, sender: Sender) -> None:
        """Answers a call that was not admitted. Does not raise."""
        send_refusal(error, context, sender, self._method)

    def __call__(self, data: bytes, context: grpc.ServicerContext, send_response: Callable[[bytes | None], None]) -> None:
        sender = StreamSender(context, send_response, self._gate.unary_pool.run)
        try:
            claim = self.admit(context)
            claim.take(memory_of(data))
        except HoldfastError as error:
            self.refuse(error, context, sender)
        else:
            self.receive(data, context, sender, claim)


class StreamSender:
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


def unary_handler(handler: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
    """The handler for grpcio. It is of the streaming type, the only one that may answer later. The wire format is the same."""
    return grpc.unary_stream_rpc_method_handler(handler)


class GatheringHandler:
    """A client-streaming use case. grpcio calls it in a thread of the stream pool."""

    is_of_contract = True  # `StreamPool` runs it in its own threads

    def __init__(self, use_case: UseCase, gate: Gate, method: str) -> None:
        self._use_case = use_case
        self._gate = gate
        self._method = method

    def __call__(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        try:
            peer = self._gate.peers.of(context)
            with self._gate.stream(peer), closing(self._gate.claim_of(peer)) as claim:
                call = GrpcCall(context, peer, None, claim, _api_version(context))
                with closing(claim.beside()) as of_messages:
                    incoming = self._gate.message_first.incoming(requests, of_messages)
                    if incoming is None:
                        claim.take_when_free(UPLOAD_BYTES, call)
                    return self._use_case(map(_whole, incoming or requests), call)
        except Exception as error:
            refuse(context, error, self._method)
            return None


class StreamHandler(StreamReceiver):
    """A server-streaming use case. grpcio calls it in a thread of the stream pool."""

    is_of_contract = True

    def __init__(self, use_case: UseCase, gate: Gate, method: str) -> None:
        self._use_case = use_case
        self._gate = gate
        self._method = method

    def admit(self, context: grpc.ServicerContext) -> Claim:
        return _admit(self._gate, context)

    def refuse(self, error: HoldfastError, context: grpc.ServicerContext, sender: Sender) -> None:
        send_refusal(error, context, sender, self._method)

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            peer = self._gate.peers.of(context)
            with self._gate.stream(peer), closing(self._gate.claim_of(peer)) as claim:
                call = GrpcCall(context, peer, None, claim, _api_version(context))
                with closing(self._use_case(_whole(request), call)) as answers:
                    yield from answers
        except Exception as error:
            refuse(context, error, self._method)


def _encode(answer: Any) -> bytes:
    """The encoded answer; empty after a refusal, because grpcio sends a message with an error too, which callers ignore."""
    data: bytes = b"" if answer is None else answer.SerializeToString()
    return data


def _handler(method: MethodDescriptor, use_case: UseCase, gate: Gate, timeout_s: float) -> grpc.RpcMethodHandler[Any, Any]:
    decode = _decoder(method)
    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(GatheringHandler(use_case, gate, method.full_name), decode, _encode)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(StreamHandler(use_case, gate, method.full_name), decode, _encode)
    return unary_handler(UnaryHandler(use_case, gate, method.full_name, timeout_s, decode))


def service_handler(
    service: ServiceDescriptor, use_cases: Mapping[str, UseCase], gate: Gate, timeout_s: float
) -> grpc.GenericRpcHandler:
    """The handler of one service of the contract. `use_cases` must have an entry for every method."""
    handlers = {method.name: _handler(method, use_cases[method.name], gate, timeout_s) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, handlers)
