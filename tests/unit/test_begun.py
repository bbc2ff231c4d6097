"""The calls that a connection began, counted from its frames, and what they count for when it ends."""

from __future__ import annotations

import random
import time

import pytest

from holdfastd.rpc.begun import CALL_S, CALLS_MAX, FRAMES_MAX, FREE_S, MOST_S, Begun, Spent
from holdfastd.rpc.refusal import PREFACE
from tests.unit.test_door import House, eventually, read
from tests.unit.test_door import build as build
from tests.unit.test_door import house as house

DATA, HEADERS, PING = 0, 1, 6


def frame(kind: int, size: int) -> bytes:
    return size.to_bytes(3, "big") + bytes([kind, 4, 0, 0, 0, 1]) + bytes(size)


def test_headers_are_counted_however_the_bytes_arrive() -> None:
    sent = PREFACE + b"".join(frame(HEADERS, 30) + frame(DATA, 20_000) + frame(PING, 8) for _ in range(40))
    rng = random.Random(1)
    for largest in (1, 5, 100, 70_000):
        begun, place = Begun(7), 0
        while place < len(sent):
            size = rng.randint(1, largest)
            begun.read(memoryview(sent)[place : place + size])
            place += size
        assert (begun.take(), begun.take(), begun.is_over) == (40, 0, False)


@pytest.mark.parametrize("sent", [frame(PING, 0) * FRAMES_MAX, frame(HEADERS, 1) * CALLS_MAX])
def test_a_connection_with_many_frames_counts_as_one_with_all_its_calls(sent: bytes) -> None:
    begun = Begun(7)
    begun.read(memoryview(PREFACE + sent))
    assert (begun.take(), begun.is_over) == (CALLS_MAX, True)


def test_short_connections_with_few_calls_are_never_delayed() -> None:
    spent = Spent()
    for number in range(1_000):
        now = number / 300
        assert spent.free_at(7) <= now
        spent.add(7, 3, now)


def test_a_process_waits_after_connections_with_many_calls_and_no_other_does() -> None:
    spent = Spent()
    for _ in range(4):
        spent.add(7, CALLS_MAX, 10.0)
    assert spent.free_at(7) == pytest.approx(10.0 + 4 * CALLS_MAX * CALL_S - FREE_S)
    assert spent.free_at(8) < 10.0
    for _ in range(1_000):
        spent.add(7, CALLS_MAX, 10.0)
    assert spent.free_at(7) == 10.0 + MOST_S - FREE_S
    spent.forget_old(10.0 + MOST_S)
    assert spent.free_at(7) < 0


def test_new_connections_of_such_a_process_are_not_read_and_old_ones_are(house: House) -> None:
    callers, servers = [], []
    for _ in range(4):
        caller, server = house.pair()
        callers.append(caller)
        servers.append(server)
    callers[0].sendall(frame(HEADERS, 1) * CALLS_MAX)
    assert read(servers[0], 10 * CALLS_MAX)
    for each in callers[1:]:
        each.sendall(frame(HEADERS, 1) * CALLS_MAX)
    began = time.monotonic()
    callers[0].sendall(b"old")
    assert read(servers[0], 3) == b"old"
    assert time.monotonic() - began < 0.2
    for each in servers[1:]:
        assert len(read(each, 10 * CALLS_MAX)) == 10 * CALLS_MAX
    assert time.monotonic() - began > (3 * CALLS_MAX * CALL_S - FREE_S) / 2


def test_the_door_delays_the_next_connection_of_such_a_process(house: House) -> None:
    for _ in range(3):
        house.call(PREFACE + frame(HEADERS, 1) * CALLS_MAX).close()
        house.meet()
    assert eventually(lambda: house.door.connections() == 0)
    began = time.monotonic()
    house.call(PREFACE + b"and more")
    server, _ = house.meet()
    assert time.monotonic() - began > (3 * CALLS_MAX * CALL_S - FREE_S) / 2
    assert read(server, len(PREFACE) + 8) == PREFACE + b"and more"
