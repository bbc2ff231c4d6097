"""The writer's queue: heavy commands do not delay light ones, and one caller's do not delay another's."""

from __future__ import annotations

from typing import Any

import pytest

from holdfastd.model.budget import Budget, Claim
from holdfastd.model.call import Call, Peer
from holdfastd.model.commands import Command
from holdfastd.writer.batch import Waiter
from holdfastd.writer.line import BATCH_BYTES, BATCH_ROWS, LIGHT_BATCH_BYTES, LIGHT_BYTES, LIGHT_ROWS, REST, Line


class Rows(Command[None]):
    """A command of so many rows."""

    is_held = True

    def __init__(self, rows: int, exclusive: bool = False) -> None:
        self._rows = rows
        self.exclusive = exclusive  # type: ignore[misc]

    @property
    def rows(self) -> int:
        return self._rows


def waiter(name: str, rows: int = 1, size_bytes: int = 0, *, exclusive: bool = False, pid: int = 1) -> Waiter[Any]:
    peer = Peer(name, pid, 1, 1)
    claim = Claim(Budget(2**40), peer)
    claim.force(size_bytes)
    return Waiter(Rows(rows, exclusive), Call(None, peer, claim), lambda _: None)


def names(batch: list[Waiter[Any]]) -> str:
    return "".join(each.call.peer.connection for each in batch)


def line_of(*waiters: Waiter[Any]) -> Line:
    line = Line()
    for each in waiters:
        line.append(each)
    return line


def test_light_commands_are_taken_in_order_and_heavy_ones_apart() -> None:
    heavy_rows, heavy_bytes = waiter("r", LIGHT_ROWS + 1), waiter("b", 1, LIGHT_BYTES + 1)
    line = line_of(waiter("1"), heavy_rows, waiter("2"), heavy_bytes, waiter("3"))
    assert len(line) == 5
    assert [names(line.take(10)) for _ in range(3)] == ["123", "rb", ""]
    assert heavy_rows.begun


def test_light_and_heavy_batches_alternate() -> None:
    heavies = [waiter("h", BATCH_ROWS) for _ in range(3)]
    line = line_of(*heavies, *[waiter("l") for _ in range(6)])
    assert [names(line.take(2)) for _ in range(6)] == ["ll", "h", "ll", "h", "ll", "h"]


def test_heavy_commands_are_taken_by_caller_in_turn() -> None:
    many = [waiter("a", BATCH_ROWS) for _ in range(4)]
    line = line_of(*many, waiter("b", BATCH_ROWS))
    assert [names(line.take(10)) for _ in range(5)] == ["a", "b", "a", "a", "a"]


def test_a_batch_of_heavy_commands_has_a_limit_of_rows_and_bytes() -> None:
    assert names(line_of(*[waiter("r", BATCH_ROWS // 2) for _ in range(5)]).take(10)) == "rr"
    assert names(line_of(*[waiter("b", 1, BATCH_BYTES // 2) for _ in range(5)]).take(10)) == "bb"


def test_a_batch_of_light_commands_has_limits_of_its_own() -> None:
    assert names(line_of(*[waiter("r", LIGHT_ROWS) for _ in range(40)]).take(1_000)) == "r" * (BATCH_ROWS // LIGHT_ROWS)
    assert names(line_of(*[waiter("b", 1, LIGHT_BYTES) for _ in range(80)]).take(1_000)) == "b" * (
        LIGHT_BATCH_BYTES // LIGHT_BYTES
    )


def test_when_more_light_commands_wait_than_fit_they_are_taken_in_turn() -> None:
    line = line_of(*[waiter("g", LIGHT_ROWS) for _ in range(40)], waiter("h"), waiter("h"))
    first = names(line.take(1_000))
    assert (len(first), first[:5]) == (17, "ghghg")
    line.append(waiter("i"))
    assert "i" in names(line.take(1_000))[:2]
    assert sum(len(line.take(1_000)) for _ in range(2)) == 43 - 17 - 16


def test_the_connections_of_one_process_have_one_turn_together() -> None:
    greedy = [waiter("abcdefgh"[number % 8], LIGHT_ROWS) for number in range(40)]
    line = line_of(*greedy, waiter("h", pid=2), waiter("h", pid=2))
    assert names(line.take(5)) == "ahbhc"
    assert names(line.take(5)) == "defgh"


def test_what_one_connection_sends_keeps_its_order() -> None:
    waiters = [waiter("ab"[number % 2], LIGHT_ROWS) for number in range(60)]
    line = Line()
    taken: list[Waiter[Any]] = []
    for number, each in enumerate(waiters):
        line.append(each)
        if number % 25 == 24:
            taken += line.take(1_000)
            line.put_back(taken[-2:])
            del taken[-2:]
    while batch := line.take(1_000):
        taken += batch
    for name in "ab":
        assert [each for each in taken if names([each]) == name] == [each for each in waiters if names([each]) == name]


def test_a_huge_command_is_a_batch_of_its_own() -> None:
    line = line_of(waiter("h", BATCH_ROWS), waiter("g", BATCH_ROWS + 1), waiter("b", 1, BATCH_BYTES + 1), waiter("k", 17))
    assert [names(line.take(10)) for _ in range(5)] == ["g", "b", "h", "k", ""]


class Clock:
    """A clock that the test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_after_a_huge_command_others_have_their_time() -> None:
    clock = Clock()
    line = Line(clock)
    for each in (waiter("1", 1, BATCH_BYTES + 1), waiter("2", 1, BATCH_BYTES + 1), waiter("l")):
        line.append(each)
    assert [names(line.take(10)), names(line.take(10))] == ["l", "1"]
    clock.now_s = 0.3
    line.append(waiter("m"))
    line.append(waiter("n", LIGHT_ROWS + 1))
    assert [names(line.take(10)) for _ in range(3)] == ["m", "n", ""]
    assert line.rest_s() == pytest.approx(0.3 * REST)
    clock.now_s = 0.31 + 0.3 * REST
    assert (line.rest_s(), names(line.take(10)), line.rest_s()) == (0.0, "2", None)


def test_huge_commands_alone_follow_each_other_at_once() -> None:
    clock = Clock()
    line = Line(clock)
    for name in "12":
        line.append(waiter(name, 1, BATCH_BYTES + 1))
    assert names(line.take(10)) == "1"
    clock.now_s = 0.3
    assert names(line.take(10)) == "2"


def test_a_stop_ends_the_rests() -> None:
    clock = Clock()
    line = Line(clock)
    for each in (waiter("1", 1, BATCH_BYTES + 1), waiter("2", 1, BATCH_BYTES + 1), waiter("l"), waiter("m")):
        line.append(each)
    assert [names(line.take(1)) for _ in range(2)] == ["l", "1"]
    clock.now_s = 0.3
    assert [names(line.take(1)) for _ in range(2)] == ["m", ""]
    line.end_rests()
    assert names(line.take(1)) == "2"


def test_the_memory_that_a_stream_holds_does_not_make_its_commands_large() -> None:
    upload = waiter("u", 1, BATCH_BYTES + 1)
    upload.command.is_held = False
    line = line_of(Waiter(upload.command, upload.call, upload.tell), waiter("l"))
    assert names(line.take(10)) == "ul"


def test_an_exclusive_command_is_taken_alone() -> None:
    line = line_of(waiter("1"), waiter("x", exclusive=True), waiter("2"))
    assert [names(line.take(10)) for _ in range(3)] == ["1", "x", "2"]


def test_what_was_put_back_comes_first() -> None:
    line = line_of(waiter("1"), waiter("2"), waiter("3"))
    batch = line.take(2)
    line.put_back(batch[1:])
    assert not batch[1].begun
    assert names(line.take(10)) == "23"


def test_commands_are_removed_from_both_parts() -> None:
    light, heavy = waiter("l"), waiter("h", 100)
    line = line_of(light, heavy, waiter("k"))
    line.remove(heavy)
    light.call.end()
    assert line.remove_dead() == [light]
    assert (len(line), names(line.take(10)), names(line.take(10))) == (1, "k", "")
