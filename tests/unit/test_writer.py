"""The writer's queue on a real database: the order of commands, when callers get an answer, and what is refused."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfastd.errors import Cancelled, DeadlineExceeded, Exhausted, HoldfastError, NotFound, Stopping
from holdfastd.model.call import Call
from holdfastd.model.commands import Command
from tests.support.engine import Engine, append, commit_of, delete, insert_session, insert_task, update_task

PATIENCE_S = 10.0


@dataclass(frozen=True)
class Hold(Command[str]):
    """A command that blocks the writer until it is released."""

    begun: threading.Event
    go_on: threading.Event


def run_hold(connection: Any, command: Hold, now_ns: int) -> str:
    command.begun.set()
    assert command.go_on.wait(PATIENCE_S)
    return "held"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path, extra_handlers={Hold: run_hold}, queue_max=50, batch_max=20)
    yield made
    made.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as threads:
        yield threads


class Holding:
    """Keeps the writer busy inside the block, so that submitted commands wait in the queue."""

    def __init__(self, engine: Engine, pool: ThreadPoolExecutor) -> None:
        self.engine, self.pool = engine, pool
        self.command = Hold(threading.Event(), threading.Event())

    def __enter__(self) -> Holding:
        self.held: Future[Any] = self.pool.submit(self.engine.writer.submit, self.command, Call())
        assert self.command.begun.wait(PATIENCE_S)
        return self

    def queue(self, *actions: Callable[[], Any]) -> list[Future[Any]]:
        """Submits the actions one after the other, so that they are queued in this order."""
        futures = []
        for action in actions:
            before = self.engine.writer.queued
            futures.append(self.pool.submit(action))
            assert eventually(lambda before=before: self.engine.writer.queued > before)
        return futures

    def __exit__(self, *_: object) -> None:
        self.command.go_on.set()
        assert self.held.result(PATIENCE_S) == "held"


def eventually(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE_S
    while not (done := condition()) and time.monotonic() < give_up:
        time.sleep(0.001)
    return done


def statements(engine: Engine) -> list[str]:
    """The list of statements that the connection executes from now on."""
    seen: list[str] = []
    engine.connection.set_trace_callback(seen.append)
    return seen


def test_commands_queued_meanwhile_are_one_transaction(engine: Engine, pool: ThreadPoolExecutor) -> None:
    with Holding(engine, pool) as holding:
        futures = holding.queue(*[lambda: engine.submit(insert_task())] * 5)
        seen = statements(engine)
    assert [each.result(PATIENCE_S).revision for each in futures] == [1, 2, 3, 4, 5]
    assert [each for each in seen if each.startswith(("BEGIN", "COMMIT"))] == ["COMMIT", "BEGIN IMMEDIATE", "COMMIT"]
    assert engine.query("SELECT count(*) FROM task") == [(5,)]


def test_a_batch_takes_no_more_than_it_may(engine: Engine, pool: ThreadPoolExecutor) -> None:
    with Holding(engine, pool) as holding:
        futures = holding.queue(*[lambda: engine.submit(insert_task())] * 45)
        seen = statements(engine)
    assert sorted(each.result(PATIENCE_S).revision for each in futures) == list(range(1, 46))
    assert seen.count("BEGIN IMMEDIATE") == 3  # 20 + 20 + 5


def test_results_are_published_in_order_after_the_commit_and_before_the_answer(engine: Engine) -> None:
    in_transaction = []
    engine.feed.on_publish = lambda: in_transaction.append(engine.connection.in_transaction)
    for expected in range(1, 4):
        engine.submit(insert_task())
        assert [each.revision for each in engine.published] == list(range(1, expected + 1))
    assert in_transaction == [False, False, False]


def test_a_full_queue_refuses_with_a_retry_delay(engine: Engine, pool: ThreadPoolExecutor) -> None:
    with Holding(engine, pool) as holding:
        futures = holding.queue(*[lambda: engine.submit(insert_task())] * 50)
        with pytest.raises(Exhausted) as caught:
            engine.submit(insert_task())
    assert caught.value.reason == "QUEUE_FULL"
    assert caught.value.metadata == {"limit": "50"}
    assert caught.value.retry_delay_s > 0
    assert len({each.result(PATIENCE_S).revision for each in futures}) == 50
    assert engine.query("SELECT count(*) FROM task") == [(50,)]


def test_a_deadline_that_passes_in_the_queue_leaves_no_trace(engine: Engine, pool: ThreadPoolExecutor) -> None:
    with Holding(engine, pool) as holding:
        (first, late, last) = holding.queue(
            lambda: engine.submit(insert_task(title="first")),
            lambda: engine.submit(insert_task(title="late"), call=Call(0.05)),
            lambda: engine.submit(insert_task(title="last")),
        )
        with pytest.raises(DeadlineExceeded, match="nothing was applied"):
            late.result(PATIENCE_S)  # fails at once, while the writer is still busy
    assert (first.result(PATIENCE_S).revision, last.result(PATIENCE_S).revision) == (1, 2)
    assert engine.query("SELECT title FROM task ORDER BY id") == [("first",), ("last",)]


def test_the_first_in_the_queue_does_not_wait_past_its_deadline_either(engine: Engine, pool: ThreadPoolExecutor) -> None:
    with Holding(engine, pool) as holding:
        (late, last) = holding.queue(
            lambda: engine.submit(insert_task(title="late"), call=Call(0.05)), lambda: engine.submit(insert_task(title="last"))
        )
        with pytest.raises(DeadlineExceeded):
            late.result(2.0)
    assert last.result(PATIENCE_S).revision == 1
    assert engine.query("SELECT title FROM task") == [("last",)]


def test_a_caller_that_has_gone_before_its_turn_leaves_no_trace(engine: Engine, pool: ThreadPoolExecutor) -> None:
    call = Call()
    with Holding(engine, pool) as holding:
        (gone, other) = holding.queue(
            lambda: engine.submit(insert_session("S"), append("S", "a"), call=call, request_id="r"),
            lambda: engine.submit(insert_task()),
        )
        call.end()
    with pytest.raises(Cancelled):
        gone.result(PATIENCE_S)
    assert other.result(PATIENCE_S).revision == 1
    for table in ("session", "journal", "transcript", "request"):
        assert engine.query(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert engine.revisions() == [1]


def test_stop_refuses_what_comes_and_finishes_what_waits(engine: Engine, pool: ThreadPoolExecutor) -> None:
    with Holding(engine, pool) as holding:
        futures = holding.queue(*[lambda: engine.submit(insert_task())] * 30)
        assert engine.writer.stop(0.05) is False
        with pytest.raises(Stopping):
            engine.submit(insert_task())
        stopped = pool.submit(engine.writer.stop, PATIENCE_S)
    assert stopped.result(PATIENCE_S) is True
    assert [each.result(PATIENCE_S).revision for each in futures] == list(range(1, 31))
    with pytest.raises(Stopping):
        engine.submit(insert_task())


def test_first_come_first_served(engine: Engine, pool: ThreadPoolExecutor) -> None:
    """A thread that submits repeatedly must not get ahead of a waiting one."""
    with Holding(engine, pool) as holding:
        futures = holding.queue(*[lambda n=n: engine.submit(insert_task(title=f"{n:02d}")) for n in range(40)])
    revisions = [each.result(PATIENCE_S).revision for each in futures]
    assert revisions == sorted(revisions)


def test_none_of_sixteen_threads_starves(tmp_path: Path) -> None:
    """While the fastest thread makes a hundred commits, the slowest makes at least five.

    The benchmark `writer` measures how evenly processes share the writer.
    """
    engine = Engine(tmp_path, batch_max=8)
    start, stop = threading.Barrier(16), threading.Event()
    counts = [0] * 16

    def work(number: int) -> None:
        start.wait(PATIENCE_S)
        while not stop.is_set():
            engine.submit(insert_task(f"{number}-{counts[number]}"))
            counts[number] += 1
            if counts[number] == 100:
                stop.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_S)
    engine.close()
    assert min(counts) >= 5, counts


def random_command(chance: random.Random) -> tuple[tuple[Any, ...], type[HoldfastError] | None]:
    """Random mutations, and the error type that they must cause."""
    what = chance.random()
    if what < 0.5:
        return (insert_task(),), None
    if what < 0.7:
        return (append("S", *"x" * chance.randint(1, 5)),), None
    if what < 0.85:  # refused after it has changed something
        return (insert_task(), append("S", "lost"), update_task("nobody", title="x")), NotFound
    return (delete("task", "nobody"),), NotFound


def test_every_outcome_comes_once_under_sixteen_threads(tmp_path: Path) -> None:
    """Every caller is woken and gets its own answer, and refused commands leave nothing."""
    engine = Engine(tmp_path, batch_max=5)
    engine.submit(insert_session("S"))
    revisions: list[int] = []
    entries: list[int] = []
    lock = threading.Lock()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(60):
            mutations, error = random_command(chance)
            timeout_s = chance.choice([30.0, 30.0, 0.0005])
            try:
                committed = engine.submit(*mutations, call=Call(timeout_s))
            except DeadlineExceeded:
                assert timeout_s < 1
                continue
            except NotFound:
                assert error is NotFound
                continue
            assert error is None
            assert len(committed.results) == len(mutations)
            with lock:
                revisions.append(committed.revision)
                result = committed.results[0]
                entries.extend(range(result.first_number, result.last_number + 1) if result.last_number else ())

    with ThreadPoolExecutor(16) as threads:
        for future in [threads.submit(work, seed) for seed in range(16)]:
            future.result(60)
    assert sorted(revisions) == engine.revisions()[1:] == list(range(2, len(revisions) + 2))
    assert sorted(entries) == list(range(1, len(entries) + 1))
    assert [row[0] for row in engine.query("SELECT number FROM transcript ORDER BY number")] == sorted(entries)
    assert engine.query("SELECT count(*) FROM transcript WHERE content = 'lost'") == [(0,)]
    assert engine.writer.queued == 0
    engine.close()


def test_a_command_without_a_handler_does_not_affect_others(engine: Engine, pool: ThreadPoolExecutor) -> None:
    with Holding(engine, pool) as holding:
        (wrong, right) = holding.queue(
            lambda: engine.writer.submit(Command[None](), Call()), lambda: engine.writer.submit(commit_of(insert_task()), Call())
        )
    with pytest.raises(KeyError):
        wrong.result(PATIENCE_S)
    assert right.result(PATIENCE_S).revision == 1


def post(engine: Engine, told: list[tuple[str, Any]], title: str, call: Call | None = None) -> None:
    """Posts the insert of a task; its callback adds the thread's name and the outcome to `told`."""
    engine.writer.post(
        commit_of(insert_task(title=title)),
        call or Call(),
        lambda waiter: told.append((threading.current_thread().name, waiter.error or waiter.result.revision)),
    )


def test_post_does_not_block_and_calls_back_once_in_the_writers_thread(engine: Engine, pool: ThreadPoolExecutor) -> None:
    told: list[tuple[str, Any]] = []
    with Holding(engine, pool):
        for number in range(30):
            post(engine, told, str(number))
        assert engine.writer.queued == 30
        assert told == []
    assert eventually(lambda: len(told) == 30)
    assert told == [("writer", revision) for revision in range(1, 31)]
    assert engine.writer.revision == 30


def test_an_expired_or_cancelled_posted_command_is_refused(engine: Engine, pool: ThreadPoolExecutor) -> None:
    told: list[tuple[str, Any]] = []
    gone = Call()
    with Holding(engine, pool):
        post(engine, told, "late", Call(0.01))
        post(engine, told, "gone", gone)
        post(engine, told, "kept")
        time.sleep(0.02)
        gone.end()
    assert eventually(lambda: len(told) == 3)
    assert [type(outcome) for _, outcome in told] == [DeadlineExceeded, Cancelled, int]
    assert engine.query("SELECT title FROM task") == [("kept",)]


def test_post_raises_on_a_full_queue_and_does_not_call_back(engine: Engine, pool: ThreadPoolExecutor) -> None:
    told: list[tuple[str, Any]] = []
    with Holding(engine, pool):
        for number in range(50):
            post(engine, told, str(number))
        with pytest.raises(Exhausted):
            post(engine, told, "one too many")
    assert eventually(lambda: len(told) == 50)
    assert engine.writer.stop(PATIENCE_S)
    with pytest.raises(Stopping):
        post(engine, told, "too late")
    assert engine.query("SELECT count(*) FROM task WHERE title IN ('one too many', 'too late')") == [(0,)]
    assert len(told) == 50


def test_an_expired_command_frees_its_place_in_a_full_queue(engine: Engine, pool: ThreadPoolExecutor) -> None:
    told: list[tuple[str, Any]] = []
    with Holding(engine, pool):
        for number in range(50):
            post(engine, told, str(number), Call(0.01 if number % 2 else 30.0))
        time.sleep(0.02)
        post(engine, told, "late, but in time")
        assert [type(outcome) for _, outcome in told] == [DeadlineExceeded] * 25
        assert engine.writer.queued == 26
    assert eventually(lambda: len(told) == 51)
    titles = [title for (title,) in engine.query("SELECT title FROM task ORDER BY create_time, id")]
    assert sorted(titles) == sorted([*map(str, range(0, 50, 2)), "late, but in time"])
