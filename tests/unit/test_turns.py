"""Places for work of which little may run at once: given out by caller, in turn; long work gets half of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from holdfastd.errors import DeadlineExceeded
from holdfastd.model.call import Call, Peer
from holdfastd.model.turns import Turns


def call_of(connection: str, pid: int = 1, *, is_long: bool = False, timeout_s: float | None = None) -> Call:
    call = Call(timeout_s, Peer(connection, pid, 1, 1))
    call.is_long = is_long
    return call


class Work:
    """Work of one connection in a thread of its own; it holds its place until the test ends it."""

    def __init__(self, turns: Turns, connection: str, pid: int = 1, *, is_long: bool = False) -> None:
        self._turns = turns
        self._call = call_of(connection, pid, is_long=is_long)
        self.begun, self.ended = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with self._turns.place(self._call):
            self.begun.set()
            self.ended.wait(10)

    def end(self) -> None:
        self.ended.set()
        self.thread.join(10)


def test_one_connection_leaves_places_for_others() -> None:
    turns = Turns(6)
    greedy = [Work(turns, "greedy") for _ in range(20)]
    assert begun_at_last(greedy) == 3
    with turns.place(call_of("of the same process")):
        pass
    with turns.place(call_of("other", 2)):
        pass
    end(greedy)


def test_one_process_with_many_connections_leaves_places_for_others() -> None:
    turns = Turns(6)
    greedy = [Work(turns, f"greedy {number}") for number in range(20)]
    assert begun_at_last(greedy) == 4
    with turns.place(call_of("other", 2)), turns.place(call_of("third", 3)):
        pass
    end(greedy)


def test_long_work_holds_half_of_the_places() -> None:
    turns = Turns(6)
    greedy = [Work(turns, f"greedy {number}", number % 5, is_long=True) for number in range(20)]
    assert begun_at_last(greedy) == 3
    short = [Work(turns, "short", 1) for _ in range(20)]
    assert begun_at_last(short) == 2
    with turns.place(call_of("other", 9)):
        pass
    end([*greedy, *short])


def test_one_process_leaves_places_for_the_long_work_of_others() -> None:
    turns = Turns(6)
    greedy = [Work(turns, f"greedy {number}", is_long=True) for number in range(20)]
    assert begun_at_last(greedy) == 2
    with turns.place(call_of("other", 2, is_long=True)):
        pass
    end(greedy)


def test_a_wait_ends_with_its_caller() -> None:
    turns = Turns(1)
    with turns.place(call_of("x")):
        with pytest.raises(DeadlineExceeded), turns.place(call_of("y", timeout_s=0.05)):
            pytest.fail("There is no place.")
        assert not turns.take(call_of("z"), patience_s=0.05)
    with turns.place(call_of("y")):
        pass


def test_a_place_goes_to_the_connection_whose_turn_it_is() -> None:
    turns = Turns(2)
    first = [Work(turns, "x", 1), Work(turns, "y", 2)]
    assert eventually(lambda: begun(first) == 2)
    greedy = [Work(turns, f"greedy {number}", 3) for number in range(5)]
    assert eventually(lambda: all(each.thread.is_alive() for each in greedy))
    time.sleep(0.05)
    honest = Work(turns, "honest", 4)
    time.sleep(0.05)
    for each in first:
        each.end()
    assert eventually(honest.begun.is_set)
    assert begun_at_last(greedy) == 1
    end([honest, *greedy])


def test_all_work_is_done_at_last() -> None:
    turns, done = Turns(3), []

    def work(connection: str) -> None:
        for _ in range(200):
            with turns.place(call_of(connection, len(done) % 3, is_long=len(done) % 2 > 0)):
                done.append(connection)

    threads = [threading.Thread(target=work, args=(f"c{number % 4}",)) for number in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert len(done) == 12 * 200
    assert (turns._free, turns._free_long) == (3, 1)
    assert not (turns._short_waits or turns._long_waits or turns._short._processes or turns._long._connections)


def begun_at_last(work: list[Work]) -> int:
    """How many have begun when no more will."""
    time.sleep(0.1)
    return begun(work)


def end(work: list[Work]) -> None:
    for each in work:
        each.ended.set()
    for each in work:
        each.end()


def begun(work: list[Work]) -> int:
    return sum(each.begun.is_set() for each in work)


def eventually(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + 10
    while not (done := condition()) and time.monotonic() < give_up:
        time.sleep(0.005)
    return done
