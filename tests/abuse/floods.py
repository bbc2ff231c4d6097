"""Floods of HTTP/2 frames on the socket, while an honest caller beside each must get all of its answers."""

from __future__ import annotations

import itertools
import random
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.v1 import blob_service_pb2, store_service_pb2
from tests.abuse import frames
from tests.abuse.attack import Attack
from tests.abuse.frames import END_HEADERS, END_STREAM, RawConnection, call, frame
from tests.abuse.honest import Answers, HonestCaller
from tests.end_to_end.daemons import DaemonProcess
from tests.support.api import Api, insert
from tests.support.memory import watched

SECONDS, SHORT_SECONDS = 10, 1
REFUSED_WORST_MS = 1_000.0
CHUNK = 1 << 16
_GET, _LIST, _COMMIT, _WATCH = (f"/holdfast.v1.StoreService/{name}" for name in ("Get", "List", "Commit", "Watch"))
_GET_BLOB = "/holdfast.v1.BlobService/Get"
_LIST_TASKS = store_service_pb2.StoreServiceListRequest(workspace="flood", kind="task").SerializeToString()

Chunks = Iterator[bytes]


@dataclass(frozen=True)
class Flood:
    """`chunks` makes what one connection sends after the preface. A connection that the daemon closes is opened again."""

    name: str
    chunks: Callable[[Material], Chunks]
    connections: int = 2
    reads: bool = True
    settings: bytes = b""
    pause_s: float = 0.0
    hangs_up: bool = False  # the caller ends each connection when it has sent everything, and opens the next


@dataclass(frozen=True)
class Material:
    """What the floods may ask for: a blob and a task of the store, and random numbers."""

    digest: str
    small_task: str
    rng: random.Random


def run(attack: Attack) -> None:
    """One daemon gets all floods, one after the other."""
    daemon = attack.serve("floods")
    with Api(daemon.socket, workspace="flood") as api:
        digest = api.put_stream(attack.rng.randbytes(1 << 20) for _ in range(16)).digest
        material = Material(digest, api.insert("task", title="small", description="d" * 3_850), attack.rng)
        for title in "abc":
            api.insert("task", title=title, description="d" * 500_000)
    for flood in FLOODS:
        _flood(attack, flood, daemon, material)
        if not attack.demand(daemon.process.poll() is None, f"{flood.name}: the daemon ended with {daemon.process.poll()}"):
            return
    attack.check_serving(daemon, "the floods")
    attack.stop(daemon, "the floods")
    _on_refused_connections(attack)


def _on_refused_connections(attack: Attack) -> None:
    """This process has all the connections that it may have, so the floods' are refused: the front door itself answers them."""
    daemon = attack.serve("refused", "--user-connections-max", "16")
    held = [RawConnection(daemon.socket) for _ in range(8)]
    for flood in FLOODS_OF_REFUSED:
        answers = _flood(attack, flood, daemon, Material("", "", attack.rng))
        attack.demand(answers.worst_ms < REFUSED_WORST_MS, f"{flood.name}: an honest call took {answers.worst_ms:.0f} ms")
    for each in held:
        each.close()
    attack.check_serving(daemon, "the floods on refused connections")
    attack.stop(daemon, "the floods on refused connections")


def _flood(attack: Attack, flood: Flood, daemon: DaemonProcess, material: Material) -> Answers:
    """Sends one flood beside an honest caller; returns what that one got."""
    with watched(daemon.process.pid) as memory, HonestCaller(daemon.socket) as honest:
        opened = _pour(flood, daemon.socket, material, attack.size(SECONDS, SHORT_SECONDS))
    attack.tell(f"{flood.name}: {opened} connections; {honest.answers}; memory +{memory.growth_mib:.0f} MiB")
    attack.check_answers(honest.answers, flood.name)
    attack.check_memory(memory, flood.name)
    return honest.answers


def _pour(flood: Flood, path: Path, material: Material, seconds: float) -> int:
    """Sends the flood for that long; returns how many connections were opened."""
    pours = [_Pour(flood, path, material) for _ in range(flood.connections)]
    selector = selectors.DefaultSelector()
    for each in pours:
        each.open(selector)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, events in selector.select(0.05):
            key.data.step(selector, events)
        time.sleep(flood.pause_s)
    for each in pours:
        each.close(selector)
    selector.close()
    return sum(each.opened for each in pours)


class _Pour:
    """One connection of a flood, without blocking."""

    def __init__(self, flood: Flood, path: Path, material: Material) -> None:
        self.opened = 0
        self._flood = flood
        self._path = path
        self._material = material

    def open(self, selector: selectors.BaseSelector) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(5.0)
        self._chunks: Chunks | None = self._flood.chunks(self._material)
        self._rest = b""
        with suppress(OSError):  # the daemon refuses connections beyond its limit; the next step tries again
            self._socket.connect(str(self._path))
        self._socket.setblocking(False)
        self.opened += 1
        selector.register(self._socket, selectors.EVENT_WRITE | (selectors.EVENT_READ if self._flood.reads else 0), self)

    def step(self, selector: selectors.BaseSelector, events: int) -> None:
        try:
            if events & selectors.EVENT_READ and not self._socket.recv(CHUNK):
                raise ConnectionError
            if events & selectors.EVENT_WRITE:
                self._send(selector)
        except BlockingIOError:
            return
        except OSError:
            self.close(selector)
            self.open(selector)

    def _send(self, selector: selectors.BaseSelector) -> None:
        if not self._rest and self._chunks is not None:
            self._rest = next(self._chunks, b"")
        if self._rest:
            self._rest = self._rest[self._socket.send(self._rest) :]
        elif self._flood.hangs_up:
            raise ConnectionError
        elif self._chunks is not None:  # everything is sent: the connection stays open, silent
            self._chunks = None
            if self._flood.reads:
                selector.modify(self._socket, selectors.EVENT_READ, self)
            else:
                selector.unregister(self._socket)

    def close(self, selector: selectors.BaseSelector) -> None:
        if self._socket.fileno() in selector.get_map():
            selector.unregister(self._socket)
        self._socket.close()


def _begun(settings: bytes = frames.PLAIN_ANSWERS) -> bytes:
    return frames.PREFACE + frame(frames.SETTINGS, 0, 0, settings)


def _streams(one: Callable[[int], bytes], settings: bytes = frames.PLAIN_ANSWERS, at_once: int = 200) -> Chunks:
    """`one` for stream after stream, many in one chunk."""
    yield _begun(settings)
    for first in range(1, frames.MOST_STREAM, 2 * at_once):
        yield b"".join(one(stream) for stream in range(first, first + 2 * at_once, 2))


def _repeated(data: bytes) -> Chunks:
    yield _begun()
    yield from itertools.repeat(data * (1 + CHUNK // len(data)))


def _reset(stream: int) -> bytes:
    return frame(frames.RST_STREAM, 0, stream, b"\0\0\0\x08")


def _resets_at_headers(_: Material) -> Chunks:
    block = frames.call_headers(_LIST)
    return _streams(lambda stream: frame(frames.HEADERS, END_HEADERS, stream, block) + _reset(stream))


def _resets_of_lists(_: Material) -> Chunks:
    return _streams(lambda stream: call(stream, _LIST, _LIST_TASKS) + _reset(stream))


def _resets_of_commits(_: Material) -> Chunks:
    mutations = [insert("task", title="reset")]
    request = store_service_pb2.StoreServiceCommitRequest(workspace="flood", mutations=mutations).SerializeToString()
    return _streams(lambda stream: call(stream, _COMMIT, request) + _reset(stream))


def _resets_of_watches(_: Material) -> Chunks:
    request = store_service_pb2.StoreServiceWatchRequest(workspace="flood").SerializeToString()
    return _streams(lambda stream: call(stream, _WATCH, request) + _reset(stream))


def _open_streams(_: Material) -> Chunks:
    block = frames.call_headers(_COMMIT)
    return _streams(lambda stream: frame(frames.HEADERS, END_HEADERS, stream, block))


def _streams_without_request(_: Material) -> Chunks:
    block = frames.call_headers(_GET_BLOB)
    return _streams(lambda stream: frame(frames.HEADERS, END_HEADERS, stream, block))


def _unfinished_requests(_: Material) -> Chunks:
    """The first part of a request of 17 MiB on each of many server streams."""
    block = frames.call_headers(_GET_BLOB)
    begun = b"\0" + (17 << 20).to_bytes(4, "big") + b"\x7a" + bytes(16_000)
    return _streams(
        lambda stream: frame(frames.HEADERS, END_HEADERS, stream, block) + frame(frames.DATA, 0, stream, begun), at_once=60
    )


def _begun_connections(_: Material) -> Chunks:
    """Some calls, each of them begun and no more."""
    block = frames.call_headers(_GET_BLOB)
    begun = b"\0" + (17 << 20).to_bytes(4, "big") + b"\x7a" + bytes(1_000)
    yield _begun()
    yield b"".join(
        frame(frames.HEADERS, END_HEADERS, each, block) + frame(frames.DATA, 0, each, begun) for each in range(1, 120, 2)
    )


def _reflection_without_request(_: Material) -> Chunks:
    block = frames.call_headers("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    return _streams(lambda stream: frame(frames.HEADERS, END_HEADERS, stream, block))


def _small_answers(material: Material) -> Chunks:
    """Short calls whose answers, of less than 4 KiB, may not be sent."""
    request = store_service_pb2.StoreServiceGetRequest(workspace="flood", kind="task", id=material.small_task).SerializeToString()
    return _streams(lambda stream: call(stream, _GET, request), frames.setting(frames.INITIAL_WINDOW_SIZE, 0))


def _large_headers(_: Material) -> Chunks:
    block = frames.call_headers(_LIST) + b"".join(frames.header(b"x-%d" % number, b"v" * 100) for number in range(120))
    return _streams(lambda stream: frame(frames.HEADERS, END_HEADERS | END_STREAM, stream, block), at_once=4)


def _continuations(_: Material) -> Chunks:
    """A header block that never ends."""
    yield _begun() + frame(frames.HEADERS, 0, 1, frames.call_headers(_LIST))
    one = frame(frames.CONTINUATION, 0, 1, frames.header(b"x-more", b"v" * 1000))
    yield from itertools.repeat(one * 64)


def _empty_data(_: Material) -> Chunks:
    yield _begun() + frame(frames.HEADERS, END_HEADERS, 1, frames.call_headers(_COMMIT))
    yield from itertools.repeat(frame(frames.DATA, 0, 1) * 5_000)


def _unread_blobs(material: Material) -> Chunks:
    """Downloads with the largest windows, of which nothing is read."""
    request = blob_service_pb2.BlobServiceGetRequest(digest=material.digest).SerializeToString()
    yield _begun(frames.setting(frames.INITIAL_WINDOW_SIZE, frames.MOST_STREAM)) + frames.window_update(
        0, frames.MOST_STREAM - 65_535
    )
    yield b"".join(call(stream, _GET_BLOB, request) for stream in range(1, 80, 2))


def _closed_windows(_: Material) -> Chunks:
    """Lists whose answers may not be sent."""
    yield _begun(frames.setting(frames.INITIAL_WINDOW_SIZE, 0))
    yield b"".join(call(stream, _LIST, _LIST_TASKS) for stream in range(1, 100, 2))


def _empty_headers(_: Material) -> Chunks:
    """Calls of 9 bytes each, as many as one write takes."""
    return _streams(lambda stream: frame(frames.HEADERS, END_HEADERS, stream), at_once=CHUNK // 9)


def _half_preface(material: Material) -> Chunks:
    yield frames.PREFACE[: material.rng.randint(1, len(frames.PREFACE) - 1)]


def _slow_bytes(_: Material) -> Chunks:
    for byte in _begun() + call(1, _LIST, _LIST_TASKS):
        yield bytes([byte])


def _noise(material: Material) -> Chunks:
    """Frames of every type with random flags, streams and content."""
    yield _begun()
    rng = material.rng
    while True:
        sort, stream = rng.choice((*range(10), 77)), rng.choice((0, 1, 2, 3, frames.MOST_STREAM))
        yield frame(sort, rng.randint(0, 255), stream, rng.randbytes(rng.choice((0, 4, 5, 8, 50))))


FLOODS = (
    Flood("resets at the headers", _resets_at_headers),
    Flood("resets of lists", _resets_of_lists),
    Flood("resets of commits", _resets_of_commits),
    Flood("resets of watches", _resets_of_watches),
    Flood("pings", lambda _: _repeated(frame(frames.PING, 0, 0, bytes(8)))),
    Flood("pings whose answers are not read", lambda _: _repeated(frame(frames.PING, 0, 0, bytes(8))), reads=False),
    Flood("settings", lambda _: _repeated(frame(frames.SETTINGS, 0, 0, frames.setting(frames.INITIAL_WINDOW_SIZE, 70_000)))),
    Flood("window updates", lambda _: _repeated(frames.window_update(0, 1))),
    Flood("priorities", lambda _: _repeated(frame(frames.PRIORITY, 0, 3, b"\0\0\0\0\x10"))),
    Flood("open streams", _open_streams),
    Flood("streams without request", _streams_without_request, connections=4),
    Flood("unfinished requests", _unfinished_requests, connections=4),
    Flood("connection after connection", _begun_connections, connections=4, hangs_up=True),
    Flood("reflection without request", _reflection_without_request),
    Flood("small answers", _small_answers, connections=400),
    Flood("large headers", _large_headers),
    Flood("continuations", _continuations),
    Flood("empty data", _empty_data),
    Flood("unread blobs", _unread_blobs, connections=8, reads=False),
    Flood("closed windows", _closed_windows, connections=8, reads=False),
    Flood("half a preface", _half_preface, connections=200),
    Flood("slow bytes", _slow_bytes, connections=50, pause_s=0.02),
    Flood("noise", _noise),
)
FLOODS_OF_REFUSED = (
    Flood("empty headers on refused connections", _empty_headers, connections=4),
    Flood("empty headers on refused connections that do not read", _empty_headers, connections=4, reads=False),
)
