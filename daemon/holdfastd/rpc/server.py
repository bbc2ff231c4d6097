"""The gRPC server: the contract's services, reflection and health."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from holdfast.v1 import admin_service_pb2, blob_service_pb2, journal_service_pb2, store_service_pb2
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.handlers import MAX_TRANSPORT_BYTES, UseCase, service_handler
from holdfastd.rpc.health import Health
from holdfastd.rpc.loopback import LoopbackService, fault_of
from holdfastd.rpc.message_first import Drift

SERVICES: Mapping[str, ServiceDescriptor] = {
    descriptor.name: descriptor
    for file in (store_service_pb2, journal_service_pb2, blob_service_pb2, admin_service_pb2)
    for descriptor in file.DESCRIPTOR.services_by_name.values()
}

PENDING_CALLS = 1_000_000  # the front door limits the connections, and `max_concurrent_streams` the calls of each
SHORT_CALLS_A_CONNECTION = 128  # beside its streams; a client with more calls in progress sends the others later
# Above the first, headers are refused now and then, above the second always. Clients of Holdfast send less than 300 bytes.
METADATA_BYTES, METADATA_MAX_BYTES = 2 * 2**10, 4 * 2**10

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_TRANSPORT_BYTES),
    ("grpc.max_send_message_length", MAX_TRANSPORT_BYTES),
    ("grpc.so_reuseport", 0),
    # It lowers the number of calls of a connection, below what the client was told, after each call that gRPC resets. A client
    # with 64 threads then had calls refused (RST_STREAM, REFUSED_STREAM).
    ("grpc.http.overload_protection", 0),
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", METADATA_MAX_BYTES),
    # gRPC cancels calls of any connection when this many wait for the serving thread; by default from 1,000 on, so that one
    # connection that begins and resets calls quickly has the others' calls cancelled.
    ("grpc.server.max_pending_requests", PENDING_CALLS),
    ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS),
    ("grpc.http2.bdp_probe", 0),  # it raises the bytes that gRPC buffers for a call before the daemon asks for its message
)


class Servers:
    """Builds servers over the use cases (by service and method). `timeout_s`: the deadline of short calls that have none."""

    def __init__(self, use_cases: Mapping[str, Mapping[str, UseCase]], gate: Gate, health: Health, timeout_s: float) -> None:
        self._use_cases = use_cases
        self._gate = gate
        self._health = health
        self._timeout_s = timeout_s
        self._loopback = LoopbackService(gate)

    def build(self) -> grpc.Server:
        """A server that is not yet bound."""
        calls = self._gate.streams_a_connection + SHORT_CALLS_A_CONNECTION
        server = grpc.server(self._gate.stream_pool, options=(*_OPTIONS, ("grpc.max_concurrent_streams", calls)))
        contract = [
            service_handler(service, self._use_cases[name], self._gate, self._timeout_s) for name, service in SERVICES.items()
        ]
        server.add_generic_rpc_handlers([*contract, self._loopback])
        self._health.add_to(server, self._gate)
        names = [*(each.full_name for each in SERVICES.values()), health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, server)
        return server

    def fault_of(self, socket: Path) -> str:
        """Calls a started server at its socket. Returns why it does not answer; empty when it does."""
        self._loopback.is_open = True
        try:
            return fault_of(socket)
        finally:
            self._loopback.is_open = False

    def fall_back(self, fault: str) -> bool:
        """Switches `MessageFirst` off after a fault. False when it was off already."""
        return self._gate.message_first.switch_off(Drift(f"the daemon's call to itself ended with {fault}"))
