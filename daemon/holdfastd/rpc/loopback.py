"""Test calls that a daemon makes to itself before its socket is public: does it answer a short call?

A change in grpcio may leave a call without any answer, which no `except` catches. So `fault_of` makes two calls over a real
connection: one whose handler runs in the serving thread, one in the pool. The service for them is not part of the contract or of
reflection; it is closed before the socket is public. The HTTP/2 frames are written by hand: loading grpcio's client would add
20 ms to the start, and these calls take 2. Of the answers only the types and flags of the frames are read.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from holdfastd.model.call import Call
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.handlers import UnaryHandler, UseCase, unary_handler
from holdfastd.service.pending import NeverWaits

PATIENCE_S = 4.0
_SERVICE = "holdfastd.Loopback"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS = 0, 1, 3, 4  # types of frames, RFC 9113 section 6
_END_STREAM, _END_HEADERS = 1, 4  # flags
_EMPTY_MESSAGE = bytes(5)  # gRPC's prefix: not compressed, no bytes


def _at_once(request: Empty, call: Call) -> Empty:
    return request


def _in_pool(request: Empty, call: Call) -> Empty:
    return request


_METHODS: dict[int, tuple[str, UseCase]] = {
    1: ("AtOnce", NeverWaits(_at_once)),
    3: ("InPool", _in_pool),
}  # HTTP/2 stream → method


class LoopbackService(grpc.GenericRpcHandler):
    """The service for the test calls. It answers only while `is_open`; otherwise gRPC answers UNIMPLEMENTED."""

    def __init__(self, gate: Gate) -> None:
        self.is_open = False
        self._handlers = {
            f"/{_SERVICE}/{name}": unary_handler(UnaryHandler(use_case, gate, f"{_SERVICE}.{name}", PATIENCE_S, Empty.FromString))
            for name, use_case in _METHODS.values()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call; None for a method of another service, or while the service is closed."""
        return self._handlers.get(handler_call_details.method) if self.is_open else None


def fault_of(path: Path, patience_s: float = PATIENCE_S) -> str:
    """Calls every method at the socket. Returns the fault; empty when all were answered within `patience_s`."""
    waiting = {stream: name for stream, (name, _) in _METHODS.items()}
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(patience_s)
            connection.connect(str(path))
            connection.sendall(_requests())
            for kind, flags, stream in _frames(connection, time.monotonic() + patience_s):
                if kind == _DATA:
                    waiting.pop(stream, None)
                if not waiting:
                    return ""
                if stream in waiting and (kind == _RST_STREAM or flags & _END_STREAM):
                    return f"{waiting[stream]} was refused"
    except OSError as error:
        return f"{type(error).__name__} after {patience_s:g} s" if isinstance(error, TimeoutError) else str(error)
    return "the connection was closed"


def _requests() -> bytes:
    calls = [
        _frame(_HEADERS, _END_HEADERS, stream, _headers(name)) + _frame(_DATA, _END_STREAM, stream, _EMPTY_MESSAGE)
        for stream, (name, _) in _METHODS.items()
    ]
    return b"".join([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", _frame(_SETTINGS, 0, 0, b""), *calls])


def _headers(method: str) -> bytes:
    """The headers of a call, as literal fields without indexing or compression (RFC 7541, section 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/{_SERVICE}/{method}",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    return b"".join(b"\0%c%b%c%b" % (len(name), name.encode(), len(value), value.encode()) for name, value in fields.items())


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _frames(connection: socket.socket, deadline: float) -> Iterator[tuple[int, int, int]]:
    """Type, flags and stream of each frame that arrives. Raises TimeoutError at the deadline."""
    data = b""
    while received := connection.recv(65536):
        data += received
        while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
            yield data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFFFFFF
            data = data[end:]
        connection.settimeout(max(0.001, deadline - time.monotonic()))
