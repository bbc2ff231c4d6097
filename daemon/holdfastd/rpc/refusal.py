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
READ_BYTES = 4 * 1024  # so much of what a refused connection sends is read at once, since the door's thread serves all
FRAMES_MAX = 1024  # enough for some hundred calls; then the connection is closed


class Refusal:
    """The server's side of one refused connection. It looks at `FRAMES_MAX` frames in all and keeps less than one of them."""

    def __init__(self, error: Exhausted) -> None:
        self._answer = _trailers_only(error)
        self._received = b""
        self._is_greeted = False
        self._frames_left = FRAMES_MAX

    def reply(self, data: bytes) -> bytes | None:
        """What to send after the caller has sent `data`; None when the caller does not speak HTTP/2, or has had its answers."""
        received = self._received + data
        if self._is_greeted:
            return self._answers(received)
        if not received.startswith(PREFACE[: len(received)]):
            return None
        if len(received) < len(PREFACE):
            self._received = received
            return b""
        self._is_greeted = True
        answers = self._answers(received[len(PREFACE) :])
        return None if answers is None else _frame(_SETTINGS, 0, 0, b"") + answers

    def _answers(self, received: bytes) -> bytes | None:
        """The answers to all whole frames. None when there are more than it looks at, or one is larger than HTTP/2 allows."""
        answers, at = [], 0
        while len(received) - at >= _HEADER_BYTES:
            size = int.from_bytes(received[at : at + 3], "big")
            if size > _FRAME_MAX_BYTES or not self._frames_left:
                return None
            if len(received) - at < _HEADER_BYTES + size:
                break
            self._frames_left -= 1
            answers.append(self._answer_to(received[at : at + _HEADER_BYTES]))
            at += _HEADER_BYTES + size
        self._received = received[at:]
        return b"".join(answers)

    def _answer_to(self, header: bytes) -> bytes:
        kind, flags = header[3], header[4]
        if kind == _SETTINGS and not flags & _ACK:
            return _frame(_SETTINGS, _ACK, 0, b"")
        if kind == _HEADERS:
            return _frame(_HEADERS, _END_HEADERS | _END_STREAM, int.from_bytes(header[5:9], "big"), self._answer)
        return b""


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
