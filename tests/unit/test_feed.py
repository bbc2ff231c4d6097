"""The feed: a publication wakes exactly the subscribers that follow what it changed, without delay."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.contract.kinds import KINDS
from holdfast.v1 import journal_service_pb2, store_service_pb2
from holdfastd.errors import Cancelled, InvalidArgument, NotFound, Stopping
from holdfastd.model.budget import Budget, Claim, NoRoom
from holdfastd.model.call import OWN, Call
from holdfastd.model.commands import Committed
from holdfastd.model.mutations import INSERT, Change
from holdfastd.service import feed as feed_module
from holdfastd.service import watches
from holdfastd.service.feed import Feed, Interest, Subscription, follow
from holdfastd.store import changes
from holdfastd.store.sqlite.database import Database
from tests.support.engine import Engine, append, delete, insert_session, insert_task

PATIENCE_S = 10.0


def committed(*changes: tuple[str, str], workspace: str = "w") -> Committed:
    return Committed(1, 1, (), workspace, tuple(Change(kind, id, INSERT) for kind, id in changes))


def of(*names: str) -> frozenset[str]:
    return frozenset(names)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("interest", "woken"),
    [
        (Interest("w"), True),
        (Interest("w", of("task")), True),
        (Interest("w", of("task", "comment"), of("T", "U")), True),
        (Interest("w", ids=of("T")), True),
        (Interest("v"), False),
        (Interest("v", of("task"), of("T")), False),
        (Interest("w", of("session")), False),
        (Interest("w", of("task"), of("U")), False),
        (Interest("w", of("session"), of("T")), False),
        (Interest("w", of("task"), of("L")), False),
        (Interest("w", ids=of("U")), False),
    ],
)
def test_interests(interest: Interest, woken: bool) -> None:
    feed = Feed()
    with feed.subscribe(interest, Call()) as subscription:
        feed.publish([committed(("task", "T"), ("link", "L")), "an answer of another command"])
        assert subscription.wait(0) is woken


def test_an_engine_that_others_write_to_wakes_every_follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wakes: list[Callable[[], None]] = []
    monkeypatch.setattr(Database, "follow", lambda self, wake: wakes.append(wake))
    engine = Engine(tmp_path)
    try:
        with engine.feed.subscribe(Interest("w", of("task"), of("T")), Call()) as subscription:
            assert not subscription.wait(0)
            wakes[0]()
            assert subscription.wait(0)
    finally:
        engine.close()


def test_a_publication_between_clear_and_wait_is_not_lost() -> None:
    feed = Feed()
    with feed.subscribe(Interest("w"), Call()) as subscription:
        subscription.clear()
        feed.publish([committed(("task", "T"))])
        assert subscription.wait(0)
        subscription.clear()
        assert not subscription.wait(0)


def test_a_closed_subscription_is_removed() -> None:
    feed = Feed()
    for interest in (Interest("w"), Interest("w", of("task")), Interest("w", of("task"), of("T", "U"))):
        with feed.subscribe(interest, Call()), feed.subscribe(interest, Call()):
            assert feed._followers
    assert not feed._followers
    assert not feed._subscriptions


def test_a_subscription_takes_memory_for_each_name_and_gives_it_back() -> None:
    """The product of 1,000 kinds and 1,000 ids took 115 MiB."""
    feed, budget = Feed(), Budget(64 << 20)
    call = Call(claim=Claim(budget, OWN))
    interest = Interest("w", frozenset(KINDS), of(*(f"id-{number:0190}" for number in range(1000))))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with feed.subscribe(interest, call) as subscription:
            used = tracemalloc.get_traced_memory()[0] - before
            assert used <= budget.held_bytes < 2 << 20
            call.claim.release()  # as after each frame
            assert used <= budget.held_bytes
            feed.publish([committed(("task", f"id-{7:0190}"))])
            assert subscription.wait(0)
    finally:
        tracemalloc.stop()
    assert budget.held_bytes == 0


def test_a_subscription_without_room_is_refused() -> None:
    feed = Feed()
    call = Call(claim=Claim(Budget(1 << 20), OWN))
    interest = Interest("w", ids=of(*map(str, range(1000))))
    with (
        feed.subscribe(interest, call),
        pytest.raises(NoRoom),
        feed.subscribe(interest, call),
    ):
        pass
    assert not feed._subscriptions


def test_repeated_names_of_a_watch_count_once_and_none_is_longer_than_ids_are(engine: Engine) -> None:
    request = store_service_pb2.StoreServiceWatchRequest(kinds=["task", "session"] * 500, ids=["T", "U"] * 500, after_revision=0)
    engine.submit(insert_task())
    cursor = watches._Cursor(engine.watches._reading, engine.watches._unread, request, Call())
    assert (cursor.interest.kinds, cursor.interest.ids) == (of("task", "session"), of("T", "U"))
    with pytest.raises(InvalidArgument, match="ids is longer than 200 bytes"):
        engine.watches.watch(store_service_pb2.StoreServiceWatchRequest(ids=["x" * 201]), Call())


def test_the_end_of_the_call_and_of_the_daemon_wake() -> None:
    feed, call = Feed(), Call()
    with feed.subscribe(Interest("w"), call) as subscription:
        call.end()
        assert subscription.wait(0)
    with feed.subscribe(Interest("w"), Call()) as subscription:
        feed.close()
        assert subscription.wait(0)
        with pytest.raises(Stopping):
            subscription.clear()


def test_a_quiet_stream_sends_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "HEARTBEAT_S", 0.01)
    frames = follow(Feed(), Interest("w"), Call(), lambda: iter(()), lambda: "alive")
    assert [next(frames) for _ in range(3)] == ["alive"] * 3


class Collecting:
    """Reads a stream to its end in a thread."""

    def __init__(self, pool: ThreadPoolExecutor, frames: Iterator[Any], pick: Callable[[Any], list[Any]]) -> None:
        self.items: list[Any] = []
        self._changed = threading.Condition()
        self.ended = pool.submit(self._run, frames, pick)

    def _run(self, frames: Iterator[Any], pick: Callable[[Any], list[Any]]) -> None:
        for frame in frames:
            with self._changed:
                self.items += pick(frame)
                self._changed.notify_all()

    def await_count(self, count: int) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.items) >= count, PATIENCE_S), self.items
        return self.items


def test_followers_and_watchers_see_each_thing_once_while_eight_threads_write(engine: Engine) -> None:
    engine.submit(insert_session("S"))
    watch_call, follow_call = Call(), Call()
    watching = engine.watches.watch(store_service_pb2.StoreServiceWatchRequest(after_revision=0), watch_call)
    request = journal_service_pb2.JournalServiceReadRequest(parent_kind="session", parent_id="S", follow=True)
    with ThreadPoolExecutor(12) as pool:
        watched = Collecting(pool, watching, lambda frame: [(each.revision, each.ordinal) for each in frame.changes])
        followed = Collecting(pool, engine.read(request, follow_call), lambda frame: [each.number for each in frame.entries])
        writers = [
            pool.submit(lambda: [engine.submit(append("S", "a", "b"), insert_task()) for _ in range(30)]) for _ in range(8)
        ]
        for each in writers:
            each.result(60)
        assert followed.await_count(480) == list(range(1, 481))
        expected = [(1, 0), *((revision, ordinal) for revision in range(2, 242) for ordinal in (0, 1))]
        assert watched.await_count(481) == expected
        watch_call.end()
        follow_call.end()
        for each in (watched, followed):
            with suppress(Cancelled):  # a read in progress is cancelled
                each.ended.result(PATIENCE_S)


def test_a_follower_whose_parent_is_deleted_is_told_at_once(engine: Engine) -> None:
    engine.submit(insert_session("S"), append("S", "a"))
    request = journal_service_pb2.JournalServiceReadRequest(parent_kind="session", parent_id="S", follow=True)
    with ThreadPoolExecutor(1) as pool:
        followed = Collecting(pool, engine.read(request, Call()), lambda frame: list(frame.entries))
        followed.await_count(1)
        began = time.monotonic()
        engine.submit(delete("session", "S", cascade=True))
        with pytest.raises(NotFound):
            followed.ended.result(PATIENCE_S)
        assert time.monotonic() - began < 5


def test_a_follower_of_a_journal_that_never_began_is_told_at_once_too(engine: Engine) -> None:
    engine.submit(insert_session("S"))
    request = journal_service_pb2.JournalServiceReadRequest(parent_kind="session", parent_id="S", follow=True)
    with ThreadPoolExecutor(1) as pool:
        followed = Collecting(pool, engine.read(request, Call()), lambda frame: [frame.last_number])
        followed.await_count(1)
        began = time.monotonic()
        engine.submit(delete("session", "S"))
        with pytest.raises(NotFound):
            followed.ended.result(PATIENCE_S + 5)
        assert time.monotonic() - began < 5


def test_a_subscription_wakes_many_times(engine: Engine) -> None:
    with engine.feed.subscribe(Interest("default", of("task")), Call()) as subscription:
        assert isinstance(subscription, Subscription)
        for _ in range(5):
            subscription.clear()
            engine.submit(insert_task())
            assert subscription.wait(0)


@pytest.mark.parametrize(
    ("kinds", "ids", "index"),
    [(0, 0, "(revision,ordinal)>"), (2, 0, "(revision,ordinal)>"), (1, 3, "(revision,ordinal)>"), (1, 1, "id=?")],
)
def test_a_page_of_changes_is_found_from_its_place_on(engine: Engine, kinds: int, ids: int, index: str) -> None:
    """An index in another order would sort the whole history with its images at each wake-up."""
    parameters = [0, 0, 5, "default", *["x"] * (kinds + ids), 10]
    plan = [
        row[-1]
        for row in engine.query("EXPLAIN QUERY PLAN " + changes.page_sql(engine.connection.dialect, kinds, ids), *parameters)
    ]
    assert index in plan[0].replace(", ", ",")
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan


def test_a_publication_during_a_read_causes_another_read_before_the_heartbeat() -> None:
    feed = Feed()

    def read() -> Iterator[str]:
        yield "read"
        feed.publish([committed(("task", "T"))])  # after the read, so the next read must return it

    frames = follow(feed, Interest("w"), Call(), read, lambda: "alive")
    began = time.monotonic()
    assert [next(frames) for _ in range(3)] == ["read", "read", "read"]
    assert time.monotonic() - began < 5
