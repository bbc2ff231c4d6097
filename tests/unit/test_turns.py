"""Places for work of which little may run at once: given out by connection, in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from holdfastd.rpc.turns import Turns


class Work:
    """Work of one connection in a thread of its own; it holds its place until the test ends it."""

    def __init__(self, turns: Turns, connection: str) -> None:
        self._turns = turns
        self.connection = connection
        self.begun, self.ended = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with self._turns.place(self.connection):
            self.begun.set()
            self.ended.wait(10)

    def end(self) -> None:
        self.ended.set()
        self.thread.join(10)


def test_one_connection_leaves_places_for_others() -> None:
    turns = Turns(6)
    greedy = [Work(turns, "greedy") for _ in range(20)]
    assert eventually(lambda: begun(greedy) == 3)
    time.sleep(0.05)
    assert begun(greedy) == 3
    with turns.place("other"):
        pass
    for each in greedy:
        each.end()


def test_a_place_goes_to_the_connection_whose_turn_it_is() -> None:
    turns = Turns(2)
    first = [Work(turns, "x"), Work(turns, "y")]
    assert eventually(lambda: begun(first) == 2)
    greedy = [Work(turns, "greedy") for _ in range(5)]
    assert eventually(lambda: all(each.thread.is_alive() for each in greedy))
    time.sleep(0.05)
    honest = Work(turns, "honest")
    time.sleep(0.05)
    for each in first:
        each.end()
    assert eventually(honest.begun.is_set)
    assert begun(greedy) == 1
    for each in (honest, *greedy):
        each.end()


def test_all_work_is_done_at_last() -> None:
    turns, done = Turns(3), []

    def work(connection: str) -> None:
        for _ in range(200):
            with turns.place(connection):
                done.append(connection)

    threads = [threading.Thread(target=work, args=(f"c{number % 4}",)) for number in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert len(done) == 12 * 200
    assert (turns._free, turns._held, turns._waiting) == (3, {}, {})


def begun(work: list[Work]) -> int:
    return sum(each.begun.is_set() for each in work)


def eventually(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + 10
    while not (done := condition()) and time.monotonic() < give_up:
        time.sleep(0.005)
    return done
