"""Permits to receive messages: bounded, in turn between connections, and taken back from messages that do not arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from holdfastd.errors import DeadlineExceeded, Exhausted, HoldfastError
from holdfastd.model import call as caller
from holdfastd.model.budget import Budget, Claim, NoRoom
from holdfastd.model.call import Peer
from holdfastd.rpc import receipts as module
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.handlers import UnaryHandler
from holdfastd.rpc.peers import Peers
from holdfastd.rpc.receipts import Receipts

MIB = 2**20


class Call:
    """A call whose message arrives when the test says so."""

    def __init__(self, budget: Budget, connection: str, has_ended: bool = False, pid: int = 1) -> None:
        self.claim = Claim(budget, Peer(connection, pid, 1000, 1000))
        self.has_ended = has_ended
        self.begun = 0
        self.has_arrived = False  # though the serving thread has not seen it
        self.refused: list[HoldfastError] = []

    def begin(self) -> bool:
        self.begun += not self.has_ended
        return not self.has_ended

    def has_stalled(self) -> bool:
        return not self.has_arrived

    def refuse(self, error: HoldfastError) -> None:
        self.refused.append(error)


@pytest.fixture
def budget() -> Budget:
    return Budget(100 * MIB)


@pytest.fixture
def receipts(budget: Budget) -> Iterator[Receipts]:
    made = Receipts(budget, permits=4, largest_bytes=16 * MIB)
    yield made
    made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LATE_S", 1e9)


def ask(receipts: Receipts, call: Call) -> Call:
    if receipts.ask(call):
        call.begin()
    return call


@pytest.mark.usefixtures("patient")
def test_one_connection_gets_half_of_the_permits(receipts: Receipts, budget: Budget) -> None:
    greedy = [ask(receipts, Call(budget, "a")) for _ in range(6)]
    assert [each.begun for each in greedy] == [1, 1, 0, 0, 0, 0]
    assert receipts.done(greedy[0])
    assert [each.begun for each in greedy] == [1, 1, 1, 0, 0, 0]


@pytest.mark.usefixtures("patient")
def test_connections_get_permits_in_turn(receipts: Receipts, budget: Budget) -> None:
    first = [ask(receipts, Call(budget, name)) for name in ("a", "a", "x", "y")]
    many = [ask(receipts, Call(budget, "a")) for _ in range(3)]
    one = ask(receipts, Call(budget, "b"))
    for each in first:
        receipts.done(each)
    assert one.begun == 1
    assert [each.begun for each in many] == [1, 1, 0]


@pytest.mark.usefixtures("patient")
def test_a_call_that_ended_while_it_waited_passes_its_permit_on(receipts: Receipts, budget: Budget) -> None:
    first = [ask(receipts, Call(budget, "a")) for _ in range(2)]
    ask(receipts, Call(budget, "a", has_ended=True))
    last = ask(receipts, Call(budget, "a"))
    receipts.done(first[0])
    assert last.begun == 1


@pytest.mark.usefixtures("patient")
def test_a_waiting_call_of_a_caller_over_its_share_is_refused_unread(receipts: Receipts, budget: Budget) -> None:
    first = [ask(receipts, Call(budget, "a")) for _ in range(2)]
    waiting = ask(receipts, Call(budget, "a"))
    first[0].claim.force(70 * MIB)
    receipts.done(first[1])
    assert (waiting.begun, len(waiting.refused)) == (0, 1)


@pytest.mark.usefixtures("patient")
def test_the_serving_thread_refuses_few_calls_at_once_and_the_others_are_refused_soon(receipts: Receipts, budget: Budget) -> None:
    first = [ask(receipts, Call(budget, "a")) for _ in range(2)]
    waiting = [Call(budget, "a") for _ in range(200)]
    with receipts._lock:  # the other thread does nothing meanwhile
        receipts._wanted.clear()
        for each in waiting:
            receipts._append(each)
    first[0].claim.force(70 * MIB)
    receipts.done(first[1])
    assert sum(len(each.refused) for each in waiting) == module.TURNS_AT_ONCE
    receipts._wanted.set()
    assert eventually(lambda: all(each.refused for each in waiting))


def test_a_message_that_does_not_arrive_gives_its_permit_back(receipts: Receipts, budget: Budget) -> None:
    stalled = [ask(receipts, Call(budget, f"s{number}")) for number in range(8)]
    honest = ask(receipts, Call(budget, "honest"))
    assert eventually(lambda: honest.begun == 1)
    counted = [each for each in stalled if each.claim.held_bytes]
    assert counted
    assert all(each.claim.held_bytes == 16 * MIB for each in counted)
    assert receipts.done(counted[0])


def test_a_process_with_late_messages_leaves_half_of_the_permits_to_others(receipts: Receipts, budget: Budget) -> None:
    slow = [ask(receipts, Call(budget, f"s{number}", pid=2)) for number in range(12)]
    assert [each.begun for each in slow] == [1] * 4 + [0] * 8
    assert eventually(lambda: sum(each.begun for each in slow) > 4)  # the first ones were late
    for _ in range(20):
        honest = ask(receipts, Call(budget, "honest"))
        assert honest.begun == 1
        receipts.done(honest)
        time.sleep(0.01)


def test_a_late_message_is_refused_when_the_share_is_used_up(receipts: Receipts, budget: Budget) -> None:
    Claim(budget, Peer("other", 1, 1000, 1000)).force(70 * MIB)
    stalled = [ask(receipts, Call(budget, f"s{number}")) for number in range(4)]
    honest = ask(receipts, Call(budget, "honest"))
    assert eventually(lambda: honest.begun == 1)
    refused = [each for each in stalled if each.refused]
    assert refused
    assert not receipts.done(refused[0])  # its message arrives after all, and is dropped


def test_a_message_that_does_not_arrive_for_long_is_refused_and_its_memory_is_free(
    receipts: Receipts, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MESSAGE_S", 0.1)
    stalled = [ask(receipts, Call(budget, f"s{number}")) for number in range(4)]
    honest = ask(receipts, Call(budget, "honest"))
    assert eventually(lambda: honest.begun == 1 and receipts.done(honest))
    counted = [each for each in stalled if each.claim.held_bytes]
    assert counted
    assert eventually(lambda: all(each.refused for each in counted))
    assert all(isinstance(each.refused[0], DeadlineExceeded) for each in counted)
    assert not receipts.done(counted[0])  # as if it arrived after all


@pytest.mark.usefixtures("patient")
def test_too_many_waiting_calls_of_one_connection_are_refused(
    receipts: Receipts, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 10)
    for _ in range(7):
        ask(receipts, Call(budget, "a"))
    with pytest.raises(Exhausted) as caught:
        ask(receipts, Call(budget, "a"))
    assert caught.value.retry_delay_s > 0
    ask(receipts, Call(budget, "x"))
    ask(receipts, Call(budget, "b"))  # below its share


@pytest.mark.usefixtures("patient")
def test_a_connection_whose_first_waiting_call_is_refused_is_not_waited_for(
    receipts: Receipts, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    first = [ask(receipts, Call(budget, name)) for name in ("a", "a", "x", "y", "b", "c")]
    with pytest.raises(Exhausted):
        ask(receipts, Call(budget, "d"))
    for each in first:
        assert receipts.done(each)
    assert not receipts._waiting


def eventually(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + 10
    while not (done := condition()) and time.monotonic() < give_up:
        time.sleep(0.005)
    return done


def test_a_message_that_has_arrived_is_not_late(receipts: Receipts, budget: Budget) -> None:
    """The serving thread may be busy for long; then its callers are not refused for that."""
    Claim(budget, Peer("other", 1, 1000, 1000)).force(70 * MIB)
    arrived = [ask(receipts, Call(budget, f"s{number}")) for number in range(4)]
    for each in arrived:
        each.has_arrived = True
    waiting = ask(receipts, Call(budget, "honest"))
    time.sleep(4 * module.LATE_S)
    assert not any(each.refused for each in arrived)
    assert waiting.begun == 0
    assert eventually(lambda: waiting.begun == 1)  # after STALLED_S they are late whatever gRPC says


def test_a_connection_pauses_after_a_large_message_without_room(receipts: Receipts, budget: Budget) -> None:
    receipts.pauses.begin("a", 16 * MIB)
    began = time.monotonic()
    paused, other = ask(receipts, Call(budget, "a")), ask(receipts, Call(budget, "b"))
    assert (paused.begun, other.begun) == (0, 1)
    assert eventually(lambda: paused.begun == 1)
    assert time.monotonic() - began >= 0.2
    receipts.pauses.begin("b", 1000)
    assert ask(receipts, Call(budget, "b")).begun == 1


def test_a_read_of_a_paused_connection_is_refused_before_its_answer_is_built() -> None:
    gate, built = Gate(2, 2, 10, Peers()), []
    handler = UnaryHandler(lambda request, call: built.append(1), gate, "method", 1.0, bytes)
    gate.pauses.begin("a", 16 * MIB)
    with pytest.raises(NoRoom):
        handler._read(None, caller.Call(None, Peer("a", 1, 1000, 1000)))
    assert built == []
    gate.close()
