"""The calls that a daemon makes to itself before its socket is public: does a short call get its answer at all?

A change in grpcio may show only as silence, which no `except` catches. So `fault_of` calls both ways of `MessageFirst` over a
real connection. The service that answers is outside the contract and its reflection; it is closed before the socket is public.
The calls are written as HTTP/2 frames by hand: loading grpcio's client would add 20 ms to the start, and these calls take 2.
Only the kinds of frames in the answers are looked at.
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
from holdfastd.rpc.handlers import UnaryHandler, unary_handler
from holdfastd.service.pending import never_waits

PATIENCE_S = 4.0
_SERVICE = "holdfastd.Loopback"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS = 0, 1, 3, 4  # kinds of frames, RFC 9113 section 6
_END_STREAM, _END_HEADERS = 1, 4  # flags
_EMPTY_MESSAGE = bytes(5)  # gRPC's prefix: not compressed, no bytes


@never_waits
def _at_once(request: Empty, call: Call) -> Empty:
    return request


def _in_pool(request: Empty, call: Call) -> Empty:
    return request


_METHODS = {1: ("AtOnce", _at_once), 3: ("InPool", _in_pool)}  # HTTP/2 stream → method


class LoopbackService(grpc.GenericRpcHandler):
    """The service that answers, while `is_open`. Otherwise its methods are UNIMPLEMENTED, as unknown ones are."""

    def __init__(self, gate: Gate) -> None:
        self.is_open = False
        self._handlers = {
            f"/{_SERVICE}/{name}": unary_handler(UnaryHandler(use_case, gate, f"{_SERVICE}.{name}", PATIENCE_S, Empty.FromString))
            for name, use_case in _METHODS.values()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call; None when it is not one of ours, or when the service is closed."""
        return self._handlers.get(handler_call_details.method) if self.is_open else None


def fault_of(path: Path, patience_s: float = PATIENCE_S) -> str:
    """Calls every method at the socket. Returns what is wrong, or nothing when all were answered in time."""
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
    """Literal fields that are neither indexed nor compressed (RFC 7541, section 6.2.2)."""
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
    """Kind, flags and stream of each frame that arrives. Raises TimeoutError at the deadline."""
    data = b""
    while received := connection.recv(65536):
        data += received
        while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
            yield data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFFFFFF
            data = data[end:]
        connection.settimeout(max(0.001, deadline - time.monotonic()))
