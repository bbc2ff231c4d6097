"""The memory budget: never exceeded, fair between connections and users, given back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfastd.errors import Cancelled, DeadlineExceeded
from holdfastd.model import budget as module
from holdfastd.model.budget import Budget, Claim, NoRoom
from holdfastd.model.call import Call, Peer

MIB = 2**20


def peer(connection: str, uid: int = 1000) -> Peer:
    return Peer(connection, 1, uid, uid)


def fill(budget: Budget, holder: Peer, piece: int = MIB) -> list[Claim]:
    """Claims of one piece each, until one is refused."""
    claims = []
    while (claim := Claim(budget, holder)).fits(piece):
        claims.append(claim)
    return claims


def held(claims: list[Claim]) -> int:
    return sum(each.held_bytes for each in claims)


def test_one_caller_gets_three_fifths() -> None:
    budget = Budget(500 * MIB)
    assert held(fill(budget, peer("a"))) == pytest.approx(300 * MIB, abs=2 * MIB)
    assert budget.share_alone_bytes == 300 * MIB


@pytest.mark.parametrize("connections", [2, 8])
def test_greedy_connections_share_equally_and_leave_room_for_a_new_one(connections: int) -> None:
    budget = Budget(1024 * MIB)
    greedy = {number: fill(budget, peer(f"c{number}"), MIB) for number in range(connections)}
    for _ in range(40):  # each gives a quarter back and takes again
        for number, claims in greedy.items():
            for claim in claims[-len(claims) // 4 :]:
                claim.release()
                claims.remove(claim)
            claims += fill(budget, peer(f"c{number}"), MIB)
    shares = [held(claims) for claims in greedy.values()]
    assert max(shares) < 4 * min(shares)
    assert budget.held_bytes == sum(shares) <= budget.limit_bytes
    newcomer = fill(budget, peer("new"), MIB)
    assert held(newcomer) >= budget.limit_bytes // (16 * connections)


def test_a_new_connection_gets_room_for_small_calls_whatever_the_others_keep() -> None:
    budget = Budget(100 * MIB)
    for number in range(60):  # one after the other; nothing is given back
        fill(budget, peer(f"c{number}"), 16 * 2**10)
    assert not budget.is_over_share(peer("new"))
    assert held(fill(budget, peer("new"), 16 * 2**10)) >= module.FLOOR_BYTES
    assert budget.held_bytes <= budget.limit_bytes


def test_another_user_gets_room_whatever_one_user_holds() -> None:
    budget = Budget(1000 * MIB)
    greedy = [fill(budget, peer(f"c{number}")) for number in range(200)]
    assert sum(map(held, greedy)) <= 750 * MIB
    assert held(fill(budget, peer("other", uid=2000))) >= 100 * MIB


def test_a_caller_over_its_share_is_known_before_anything_is_read() -> None:
    budget = Budget(100 * MIB)
    assert not budget.is_over_share(peer("a"))
    claim = Claim(budget, peer("a"))
    claim.force(61 * MIB)
    assert budget.is_over_share(peer("a"))
    assert not budget.is_over_share(peer("b"))
    claim.release()
    assert not budget.is_over_share(peer("a"))


def test_a_refusal_says_when_to_try_again() -> None:
    budget = Budget(MIB)
    with pytest.raises(NoRoom) as caught:
        Claim(budget, peer("a")).take(MIB)
    assert (caught.value.reason, caught.value.size_bytes) == ("MEMORY_FULL", MIB)
    assert caught.value.retry_delay_s > 0


def test_everything_is_given_back_once() -> None:
    budget = Budget(100 * MIB)
    claim = Claim(budget, peer("a"))
    claim.take(MIB)
    claim.force(200 * MIB)  # the answer of an applied commit is never refused
    assert budget.held_bytes == 201 * MIB
    claim.give(300 * MIB)  # no more than is held
    claim.release()
    claim.release()
    assert budget.held_bytes == 0
    assert not budget._users
    assert not budget._connections


def test_those_that_wait_are_admitted_in_order_and_past_a_blocked_connection() -> None:
    budget = Budget(100 * MIB)
    holder = Claim(budget, peer("a"))
    holder.take(55 * MIB)
    order: list[str] = []
    lock = threading.Lock()

    def wait(name: str, connection: str, size: int) -> None:
        claim = Claim(budget, peer(connection))
        claim.take_when_free(size, Call(10.0))
        with lock:
            order.append(name)
        claim.release()

    with ThreadPoolExecutor(4) as pool:
        blocked = pool.submit(wait, "blocked", "a", 50 * MIB)
        until(lambda: len(budget._waiting) == 1)
        pool.submit(wait, "other", "b", 5 * MIB).result(5)
        assert order == ["other"]
        holder.release()
        blocked.result(5)
    assert order == ["other", "blocked"]
    assert budget.held_bytes == 0


@pytest.mark.parametrize(("ends", "error"), [("deadline", DeadlineExceeded), ("cancel", Cancelled), ("patience", NoRoom)])
def test_a_wait_ends_with_its_call(ends: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05 if ends == "patience" else 10.0)
    budget = Budget(100 * MIB)
    Claim(budget, peer("b")).force(90 * MIB)
    call = Call(0.05 if ends == "deadline" else 10.0)
    if ends == "cancel":
        threading.Timer(0.05, call.end).start()
    with pytest.raises(error):
        Claim(budget, peer("a")).take_when_free(20 * MIB, call)
    assert not budget._waiting


def test_what_no_caller_could_hold_is_refused_at_once() -> None:
    with pytest.raises(NoRoom):
        Claim(Budget(100 * MIB), peer("a")).take_when_free(61 * MIB, Call(None))


def test_many_threads_never_exceed_the_budget() -> None:
    budget = Budget(10 * MIB)
    most = [0]

    def work(number: int) -> None:
        claim = Claim(budget, peer(f"c{number % 5}", uid=number % 2))
        for step in range(300):
            if claim.fits((step % 7 + 1) * 50_000):
                most[0] = max(most[0], budget.held_bytes)
            if step % 3 == 2:
                claim.release()
        claim.release()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(32)))
    assert 0 < most[0] <= budget.limit_bytes
    assert budget.held_bytes == 0


def test_large_requests_leave_room_for_small_ones_of_the_same_user() -> None:
    budget = Budget(134 * MIB)
    Claim(budget, peer("a")).take(64 * MIB)
    late = [Claim(budget, peer(f"b{number}")) for number in range(6)]
    assert sum(each.fits(18 * MIB) for each in late) == 1
    for number in range(3):  # calls in progress of greedy connections, until their shares are used up
        fill(budget, peer(f"c{number}"), 16 * 2**10)
    for _ in range(4):
        Claim(budget, peer("honest")).take(20 * 2**10)


def test_the_highest_use_is_remembered() -> None:
    budget = Budget(100 * MIB)
    claim = Claim(budget, peer("a"))
    claim.take(10 * MIB)
    claim.release()
    assert budget.highest_bytes == 10 * MIB
    budget.forget_highest()
    assert budget.highest_bytes == 0


def test_without_a_budget_everything_fits() -> None:
    claim = Claim(None, peer("a"))
    claim.take(2**60)
    claim.take_when_free(2**60, Call(0.0))
    claim.release()


def until(condition: Callable[[], bool]) -> None:
    ended = threading.Event()
    for _ in range(500):
        if condition():
            return
        ended.wait(0.01)
    raise AssertionError("it never came true")


def test_an_admitted_request_gets_a_little_more_whatever_its_share() -> None:
    """Otherwise a large message is received and then refused for the few bytes of its small fields."""
    budget = Budget(100 * MIB)
    claim, other = Claim(budget, peer("a")), Claim(budget, peer("b"))
    claim.take(40 * MIB)
    other.force(50 * MIB)
    claim.top_up(5 * MIB)
    assert claim.held_bytes == 45 * MIB
    with pytest.raises(NoRoom):
        claim.top_up(6 * MIB)
