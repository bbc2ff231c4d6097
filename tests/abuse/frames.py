"""Frames of HTTP/2 (RFC 9113) written by hand, for what no gRPC library would send. It only writes; of answers it reads bytes."""

from __future__ import annotations

import re
import socket
import struct
import time
from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
MOST_STREAM = 2**31 - 1  # the highest stream and the largest window
# Without a dynamic table gRPC writes the status of each call as plain text into the trailers.
PLAIN_ANSWERS = struct.pack(">HI", HEADER_TABLE_SIZE, 0)
_STATUS = re.compile(rb"grpc-status[\x01\x02]([0-9]{1,2})")


def frame(type: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([type, flags]) + struct.pack(">I", stream) + payload


def setting(name: int, value: int) -> bytes:
    return struct.pack(">HI", name, value)


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def header(name: bytes, value: bytes) -> bytes:
    """A literal header field without indexing and without Huffman coding (RFC 7541, 6.2.2)."""
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def _length(value: int) -> bytes:
    if value < 127:
        return bytes([value])
    out, value = bytearray([127]), value - 127
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def call_headers(path: str) -> bytes:
    """The header block of a gRPC call."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost"}
    fields |= {"content-type": "application/grpc", "te": "trailers"}
    return b"".join(header(name.encode(), value.encode()) for name, value in fields.items())


def call(stream: int, path: str, message: bytes) -> bytes:
    """A whole call with one message."""
    return frame(HEADERS, END_HEADERS, stream, call_headers(path)) + frame(DATA, END_STREAM, stream, framed(message))


def framed(message: bytes) -> bytes:
    """gRPC's frame around a message."""
    return b"\0" + struct.pack(">I", len(message)) + message


class RawConnection:
    """A connection to the daemon that sends whatever bytes it is given."""

    def __init__(self, path: Path, settings: bytes = PLAIN_ANSWERS) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10.0)
        self.socket.connect(str(path))
        windows = setting(INITIAL_WINDOW_SIZE, MOST_STREAM)  # else an answer of more than 64 KiB would never end
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings + windows) + window_update(0, MOST_STREAM - 65_535))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def status_of(self, request: bytes, timeout_s: float) -> str:
        """Sends one call; returns its status as a number, `reset` or `closed`, or `hangs` when no answer came in time."""
        self.send(request)
        answer, deadline = b"", time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:
                return "closed"
            answer += data
            if found := _STATUS.search(answer):
                return found[1].decode()
            if not data:
                return "closed"
            if has_frame(answer, RST_STREAM):
                return "reset"
        return "hangs"

    def close(self) -> None:
        self.socket.close()


def has_frame(data: bytes, type: int) -> bool:
    """Whether a frame of the type is among the whole frames in `data`."""
    at = 0
    while at + 9 <= len(data):
        if data[at + 3] == type:
            return True
        at += 9 + int.from_bytes(data[at : at + 3], "big")
    return False
