"""The front door over real sockets: what it passes on, whom it refuses, and how little it holds."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfastd.errors import PermissionDenied
from holdfastd.model.call import Peer
from holdfastd.rpc import door as door_module
from holdfastd.rpc import relay
from holdfastd.rpc.door import Door, DoorLimits
from holdfastd.rpc.peers import Peers
from holdfastd.rpc.refusal import PREFACE

PATIENCE_S = 5.0


def eventually(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE_S
    while not (done := condition()) and time.monotonic() < give_up:
        time.sleep(0.005)
    return done


class House:
    """A door with a public socket, and a socket in grpcio's place."""

    def __init__(self, directory: Path, exits: contextlib.ExitStack, limits: DoorLimits) -> None:
        self._directory = directory
        self._exits = exits
        self.peers = Peers()
        self.door = Door(self.peers, limits)
        self.inner = exits.enter_context(self.bind("inner"))
        self.door.inner_path = str(directory / "inner")
        self.door.start()
        exits.callback(self.door.close, PATIENCE_S)
        self.door.listen(self.bind("public"))

    def bind(self, name: str) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self._directory / name))
        listening.listen(64)
        listening.settimeout(PATIENCE_S)
        return listening

    def call(self, first: bytes = PREFACE, name: str = "public") -> socket.socket:
        """A connection that has sent its first bytes."""
        caller = self._exits.enter_context(socket.socket(socket.AF_UNIX))
        caller.settimeout(PATIENCE_S)
        caller.connect(str(self._directory / name))
        if first:
            caller.sendall(first)
        return caller

    def meet(self) -> tuple[socket.socket, str]:
        """The server's end of the next connection, and the name under which grpcio would see it."""
        server, address = self.inner.accept()
        self._exits.enter_context(server)
        server.settimeout(PATIENCE_S)
        return server, f"unix-abstract:{address[1:].decode()}"

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a new connection, after the preface."""
        caller = self.call()
        server, _ = self.meet()
        assert read(server, len(PREFACE)) == PREFACE
        return caller, server


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := connection.recv(size - len(data))):
        data += part
    return data


def read_all(connection: socket.socket) -> bytes:
    """What is sent until the other end has closed it."""
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            data += part
    return bytes(data)


def send_all(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(data)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other end has closed it; discards what is still to be read."""
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def context(peer: str) -> Any:
    return SimpleNamespace(peer=lambda: peer)


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., House]]:
    with contextlib.ExitStack() as exits:
        yield lambda **limits: House(tmp_path, exits, DoorLimits(**limits))


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    return build()


def test_bytes_pass_both_ways_unchanged(house: House) -> None:
    caller = house.call(PREFACE + b"first")
    server, _ = house.meet()
    assert read(server, len(PREFACE) + 5) == PREFACE + b"first"
    server.sendall(b"answer")
    assert read(caller, 6) == b"answer"
    caller.sendall(b"second")
    assert read(server, 6) == b"second"


def test_the_preface_may_come_in_parts(house: House) -> None:
    caller = house.call(PREFACE[:3])
    time.sleep(0.05)
    caller.sendall(PREFACE[3:])
    server, _ = house.meet()
    assert read(server, len(PREFACE)) == PREFACE


def test_the_peer_is_known_by_the_name_that_grpcio_sees(house: House) -> None:
    caller = house.call()
    _, name = house.meet()
    peer = house.peers.of(context(name))
    assert (peer.connection, peer.pid, peer.uid, peer.gid) == (name, os.getpid(), os.geteuid(), os.getegid())
    assert set(peer.groups) == set(os.getgroups())
    caller.close()
    assert eventually(lambda: house.door.connections() == 0)
    with pytest.raises(PermissionDenied):
        house.peers.of(context(name))


@pytest.mark.parametrize("name", ["unix:", "unix-abstract:holdfast-peer-0", "unix:/tmp/s"])
def test_a_name_that_the_door_did_not_make_is_refused(house: House, name: str) -> None:
    with pytest.raises(PermissionDenied, match="did not come through the daemon's public socket"):
        house.peers.of(context(name))


def test_what_is_not_http2_never_reaches_the_server(house: House) -> None:
    assert is_closed(house.call(b"GET / HTTP/1.1\r\n\r\n"))
    house.inner.settimeout(0.1)
    with pytest.raises(TimeoutError):
        house.inner.accept()


@pytest.mark.parametrize("sent", [b"", PREFACE[:5]])
def test_a_connection_without_a_preface_is_closed_in_time(build: Callable[..., House], sent: bytes) -> None:
    house = build(preface_s=0.2)
    used, _ = house.pair()
    late = house.call(sent)
    began = time.monotonic()
    assert is_closed(late)
    assert 0.1 < time.monotonic() - began < 2.0
    used.settimeout(0.3)
    assert not is_closed(used), "a connection that sent its preface may be idle"


def test_a_flood_of_refused_connections_holds_few_descriptors(build: Callable[..., House]) -> None:
    house = build(connections=1, preface_s=1.0)
    house.pair()
    before = len(os.listdir("/proc/self/fd"))
    flood = []
    for _ in range(100):
        flood.append(house.call(b""))
        time.sleep(0.002)
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= before + 100 + 8)
    assert all(is_closed(each) for each in flood)
    assert len(os.listdir("/proc/self/fd")) == before + 100
    assert house.door.connections() == 1


HEADERS_OF_7 = b"\0\0\1\x01\4\0\0\0\7\x82"


def refused(house: House) -> bytes:
    """The headers with which a call on a new connection is refused."""
    caller = house.call(PREFACE + HEADERS_OF_7[:5])
    assert read(caller, 9) == b"\0\0\0\4\0\0\0\0\0", "a server's first frame is SETTINGS"
    caller.sendall(HEADERS_OF_7[5:])
    size, kind, flags, stream = (int.from_bytes(read(caller, length), "big") for length in (3, 1, 1, 4))
    assert (kind, flags, stream) == (1, 5, 7), "the call is ended by headers alone"
    block = read(caller, size)
    assert b"grpc-status\x018" in block
    return block


def test_connections_of_one_user_are_limited_and_each_process_leaves_some(
    build: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = iter((1, 1, 2, 3, 1))
    monkeypatch.setattr(door_module, "peer_of", lambda _, name: Peer(f"unix-abstract:{name}", next(pids), 1000, 1000, ()))
    house = build(user_connections=4)
    for _ in range(3):
        house.pair()
    last, _ = house.pair()
    assert b"user 1000 has 4 connections open" in refused(house)
    last.close()
    assert eventually(lambda: house.door.connections() == 3)
    pids = iter((1,))
    assert b"process 1 has 2 connections open" in refused(house)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"connections": 2}, b"2 connections are open; the limit is connections_max"),
        ({"user_connections": 4}, b"has 2 connections open, and its user may open 2 more"),
        ({"descriptors": 3}, b"no descriptor to spare for another connection; the limit is ulimit -n"),
    ],
)
def test_a_call_on_a_connection_beyond_a_limit_is_told_why(
    build: Callable[..., House], limits: dict[str, int], said: bytes
) -> None:
    house = build(**limits)
    held = [house.pair()[0] for _ in range(0 if "descriptors" in limits else 2)]
    assert said in refused(house)
    if held:
        held.pop().close()
        assert eventually(lambda: house.door.connections() == 1)
        house.pair()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", PREFACE + b"\xff\xff\xff\0\0\0\0\0\0"], ids=["HTTP/1", "huge frame"])
def test_what_a_refused_connection_sends_is_bounded(build: Callable[..., House], sent: bytes) -> None:
    house = build(connections=1)
    house.pair()
    assert is_closed(house.call(sent))


@pytest.mark.parametrize("header", [HEADERS_OF_7[:9].replace(b"\1\1", b"\0\1"), bytes(9)], ids=["calls", "empty data"])
def test_a_refused_connection_that_sends_many_frames_is_closed_and_delays_nobody(
    build: Callable[..., House], header: bytes
) -> None:
    house = build(connections=1)
    caller, server = house.pair()
    flood = house.call(PREFACE)
    flood.settimeout(60.0)
    sender = threading.Thread(target=send_all, args=(flood, header * 50_000))
    sender.start()
    time.sleep(0.02)
    began = time.monotonic()
    caller.sendall(b"question")
    server.settimeout(60.0)
    assert read(server, 8) == b"question"
    assert time.monotonic() - began < 1.0
    answered = len(read_all(flood))
    assert 0 < answered < 1024 * 1024
    sender.join(PATIENCE_S)
    assert not sender.is_alive(), "the connection is closed although most was not read"


def test_a_call_that_comes_after_many_others_is_answered(build: Callable[..., House]) -> None:
    house = build(connections=1)
    house.pair()
    caller = house.call(PREFACE)
    for _ in range(300):
        caller.sendall(HEADERS_OF_7)
    caller.shutdown(socket.SHUT_WR)
    assert read_all(caller).count(b"grpc-status\x018") == 300


# More than the sockets' buffers and the door's chunk.
MUCH_BYTES = 16 << 20


def fill(sender: socket.socket) -> int:
    """Sends until nothing more is taken for a while. Returns how many bytes were taken."""
    sender.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < MUCH_BYTES:
            sent += sender.send(b"x" * 65_536)
    assert sent < MUCH_BYTES, "the door reads on from an end whose other end takes nothing"
    return sent


@pytest.mark.parametrize("which", [0, 1], ids=["to the server", "to the caller"])
def test_an_end_that_does_not_read_holds_up_only_itself(house: House, which: int) -> None:
    stuck, other = house.pair(), house.pair()
    sent = fill(stuck[which])
    assert 0 < house.door._scratch.held_bytes <= relay.CHUNK_BYTES
    other[0].sendall(b"question")
    assert read(other[1], 8) == b"question"
    assert len(read(stuck[1 - which], sent)) == sent, "it goes on where it stopped"
    assert eventually(lambda: house.door._scratch.held_bytes == 0)
    stuck[which].settimeout(PATIENCE_S)
    stuck[which].sendall(b"more")
    assert read(stuck[1 - which], 4) == b"more"


def test_all_connections_together_hold_little(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "HELD_MAX_BYTES", relay.CHUNK_BYTES)
    pairs = [house.pair() for _ in range(8)]
    for _, server in pairs:
        fill(server)
    assert house.door._scratch.held_bytes <= 2 * relay.CHUNK_BYTES + 8 * relay.SMALL_CHUNK_BYTES
    for caller, _ in pairs:
        caller.close()
    assert eventually(lambda: house.door.connections() == 0)
    assert house.door._scratch.held_bytes == 0


def test_the_servers_last_bytes_arrive_after_it_closed(house: House) -> None:
    caller, server = house.pair()
    sent = fill(server)
    server.close()
    assert len(read(caller, sent)) == sent
    assert is_closed(caller)


def test_the_servers_last_bytes_arrive_though_the_caller_still_sends(house: House) -> None:
    caller, server = house.pair()
    server.sendall(b"last answer")
    server.shutdown(socket.SHUT_RD)
    for _ in range(3):
        caller.sendall(b"window update")
        time.sleep(0.02)
    server.close()
    assert read(caller, 11) == b"last answer"
    assert is_closed(caller)


@pytest.mark.parametrize("which", [0, 1], ids=["the caller", "the server"])
def test_the_end_of_one_side_is_the_end_of_the_other(house: House, which: int) -> None:
    pair = house.pair()
    pair[which].close()
    assert is_closed(pair[1 - which])
    assert eventually(lambda: house.door.connections() == 0)


def test_a_caller_that_goes_while_the_server_does_not_read_is_noticed(house: House) -> None:
    caller, _ = house.pair()
    fill(caller)
    caller.close()
    assert eventually(lambda: house.door.connections() == 0)


def test_the_door_idles_without_work(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    caller, server = house.pair()
    fill(server)
    moves: list[int] = []
    move = relay.End.move

    def counted(end: relay.End, events: int) -> bool:
        moves.append(events)
        return move(end, events)

    monkeypatch.setattr(relay.End, "move", counted)
    time.sleep(0.2)
    assert moves == [], "a connection whose caller does not read must wait"
    server.close()
    time.sleep(0.2)
    assert len(moves) <= 2, "a connection whose server has gone must wait for the caller"
    caller.close()


def test_a_new_socket_replaces_the_old_one_and_loses_nobody(house: House) -> None:
    caller, server = house.pair()
    house.door._post(lambda: time.sleep(0.3))  # so that the next ones wait in the backlog of the old socket
    waiting = [house.call() for _ in range(20)]
    house.door.listen(house.bind("again"))
    later = house.call(name="again")
    for _ in range(21):
        assert read(house.meet()[0], len(PREFACE)) == PREFACE
    caller.sendall(b"still here")
    assert read(server, 10) == b"still here"
    with pytest.raises(ConnectionRefusedError):
        house.call()
    assert house.door.connections() == 22
    for each in (*waiting, later):
        each.close()


def test_a_server_that_cannot_be_reached_costs_only_that_connection(house: House) -> None:
    path, house.door.inner_path = house.door.inner_path, house.door.inner_path + "-gone"
    assert is_closed(house.call())
    house.door.inner_path = path
    house.pair()


def test_close_cuts_every_connection(house: House) -> None:
    pair, opening = house.pair(), house.call(PREFACE[:2])
    assert eventually(lambda: house.door.connections() == 2)
    assert house.door.close(PATIENCE_S)
    assert all(is_closed(each) for each in (*pair, opening))
    assert not house.door.is_alive()
