"""Answers the calls on a connection that the front door refuses, so that its callers learn why.

gRPC's client tries again until the deadline when a connection is closed or gets GOAWAY before its first answer. So each call is
answered with RESOURCE_EXHAUSTED, in the few HTTP/2 frames (RFC 9113) that this needs; grpcio never sees the connection.
"""

from __future__ import annotations

import base64

from holdfastd.errors import Exhausted
from holdfastd.rpc.status import to_status

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4: what every client sends first
_HEADER_BYTES, _FRAME_MAX_BYTES = 9, 16_384
_HEADERS, _SETTINGS = 1, 4  # types of frames
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4  # flags


class Refusal:
    """The server's side of one refused connection."""

    def __init__(self, error: Exhausted) -> None:
        self._answer = _trailers_only(error)
        self._received = b""
        self._is_greeted = False

    def reply(self, data: bytes) -> bytes | None:
        """What to send after the caller has sent `data`; None when the caller does not speak HTTP/2."""
        self._received += data
        if self._is_greeted:
            return self._answers()
        if not self._received.startswith(PREFACE[: len(self._received)]):
            return None
        if len(self._received) < len(PREFACE):
            return b""
        self._received = self._received[len(PREFACE) :]
        self._is_greeted = True
        answers = self._answers()
        return None if answers is None else _frame(_SETTINGS, 0, 0, b"") + answers

    def _answers(self) -> bytes | None:
        """The answers to all whole frames; None when one is larger than HTTP/2 allows."""
        answers = b""
        while len(self._received) >= _HEADER_BYTES:
            size = int.from_bytes(self._received[:3], "big")
            if size > _FRAME_MAX_BYTES:
                return None
            if len(self._received) < _HEADER_BYTES + size:
                break
            kind, flags = self._received[3], self._received[4]
            if kind == _SETTINGS and not flags & _ACK:
                answers += _frame(_SETTINGS, _ACK, 0, b"")
            elif kind == _HEADERS:
                stream = int.from_bytes(self._received[5:9], "big")
                answers += _frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, self._answer)
            self._received = self._received[_HEADER_BYTES + size :]
        return answers


def _trailers_only(error: Exhausted) -> bytes:
    """The header block of an answer that is only a status, as gRPC defines it ("Trailers-Only")."""
    status = to_status(error)
    fields = {":status": b"200", "content-type": b"application/grpc", "grpc-status": str(status.code.value[0]).encode()}
    fields["grpc-message"] = status.details.replace("%", "%25").encode()  # the text is ASCII: `door.py` writes it
    fields |= {name: base64.b64encode(bytes(value)) for name, value in status.trailing_metadata if isinstance(value, bytes)}
    return b"".join(b"\0" + _string(name.encode()) + _string(value) for name, value in fields.items())


def _string(value: bytes) -> bytes:
    """A string literal without compression (RFC 7541, sections 5.1 and 5.2)."""
    left = len(value) - 127
    if left < 0:
        return bytes([len(value)]) + value
    length = [127]
    while left >= 128:
        length.append(left % 128 + 128)
        left //= 128
    return bytes([*length, left]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
