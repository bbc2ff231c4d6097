"""The gRPC server: the contract's services, reflection and health. Built anew at each bind, over the same use cases."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from holdfast.v1 import admin_service_pb2, blob_service_pb2, journal_service_pb2, store_service_pb2
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.handlers import MAX_TRANSPORT_BYTES, UseCase, service_handler

SERVICES: Mapping[str, ServiceDescriptor] = {
    descriptor.name: descriptor
    for file in (store_service_pb2, journal_service_pb2, blob_service_pb2, admin_service_pb2)
    for descriptor in file.DESCRIPTOR.services_by_name.values()
}

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_TRANSPORT_BYTES),
    ("grpc.max_send_message_length", MAX_TRANSPORT_BYTES),
    ("grpc.so_reuseport", 0),
)


class Health:
    """What grpc.health.v1 answers, for every server that this daemon builds."""

    def __init__(self) -> None:
        self._servicer = health.HealthServicer(experimental_non_blocking=True)
        for name in ("", *(each.full_name for each in SERVICES.values())):
            self._servicer.set(name, health_pb2.HealthCheckResponse.SERVING)

    def say_not_serving(self) -> None:
        """From now on every check answers NOT_SERVING, and those who watch are told."""
        self._servicer.enter_graceful_shutdown()

    def add_to(self, server: grpc.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)


def build_server(
    use_cases: Mapping[str, Mapping[str, UseCase]], gate: Gate, health_of_all: Health, timeout_s: float
) -> grpc.Server:
    """A server over the use cases, by service and method; not yet bound. `timeout_s`: of short calls that come without one."""
    server = grpc.server(gate.stream_pool, options=_OPTIONS)
    server.add_generic_rpc_handlers(
        [service_handler(service, use_cases[name], gate, timeout_s) for name, service in SERVICES.items()]
    )
    health_of_all.add_to(server)
    names = [*(each.full_name for each in SERVICES.values()), health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)
    return server
