"""grpc.health.v1, so that a supervisor's check is answered whatever the other callers do.

`Check` needs no thread and no memory of the budget: it runs in the thread that serves the socket. `Watch` is that of grpcio,
in the few threads that `pool.py` keeps for services outside the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import grpc
from grpc_health.v1 import health, health_pb2

from holdfastd.errors import HoldfastError, InvalidArgument, NotFound
from holdfastd.model.budget import Claim
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.handlers import StreamSender, unary_handler
from holdfastd.rpc.message_handlers import Sender
from holdfastd.rpc.replies import send_refusal

_METHOD = f"{health.SERVICE_NAME}.Check"


class Health:
    """The answers of grpc.health.v1, the same on every server that this daemon builds."""

    def __init__(self, services: Iterable[str]) -> None:
        self._servicer = health.HealthServicer(experimental_non_blocking=True)
        self._names = {"", *services}
        self._is_serving = True
        for name in self._names:
            self._servicer.set(name, health_pb2.HealthCheckResponse.SERVING)

    def say_not_serving(self) -> None:
        """From now on every check answers NOT_SERVING; health watches are notified."""
        self._is_serving = False
        self._servicer.enter_graceful_shutdown()

    def check(self, data: bytes) -> bytes:
        """The encoded answer to an encoded HealthCheckRequest. Raises NOT_FOUND for an unknown service."""
        try:
            name = health_pb2.HealthCheckRequest.FromString(data).service
        except ValueError as error:
            raise InvalidArgument("The request is not a HealthCheckRequest.", reason="REQUEST_MALFORMED") from error
        if name not in self._names:
            raise NotFound(f"There is no service {name[:100]!r} here.")
        codes = health_pb2.HealthCheckResponse
        answer: bytes = codes(status=codes.SERVING if self._is_serving else codes.NOT_SERVING).SerializeToString()
        return answer

    def add_to(self, server: grpc.Server, gate: Gate) -> None:
        servicer, request, answer = self._servicer, health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        handlers = {
            "Check": unary_handler(_Check(self.check, gate)),
            "Watch": grpc.unary_stream_rpc_method_handler(servicer.Watch, request.FromString, answer.SerializeToString),
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(health.SERVICE_NAME, handlers)])


class _Check:
    """The handler of `Check`. It does not count as activity, so that checks do not keep an unused daemon running."""

    experimental_non_blocking = True
    never_waits = True

    def __init__(self, check: Callable[[bytes], bytes], gate: Gate) -> None:
        self.experimental_thread_pool = gate.unary_pool
        self._check = check
        self._gate = gate

    def admit(self, context: grpc.ServicerContext) -> Claim:
        return Claim(None, self._gate.peers.of(context))

    def receive(self, data: bytes, context: grpc.ServicerContext, sender: Sender, claim: Claim) -> None:
        try:
            sender.send(self._check(data))
        except Exception as error:
            send_refusal(error, context, sender, _METHOD)

    def refuse(self, error: HoldfastError, context: grpc.ServicerContext, sender: Sender) -> None:
        send_refusal(error, context, sender, _METHOD)

    def __call__(self, data: bytes, context: grpc.ServicerContext, send_response: Callable[[bytes | None], None]) -> None:
        sender = StreamSender(context, send_response, self._gate.unary_pool.run)
        self.receive(data, context, sender, Claim(None, self._gate.peers.of(context)))
