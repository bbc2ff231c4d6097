"""Failures within a batch: a failed command must not affect the other commands."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3.dbapi2 as sqlite

from holdfastd.errors import AlreadyExists, DiskFull, FailedPrecondition, InvalidArgument, NotFound, VersionMismatch
from holdfastd.model.call import Call
from holdfastd.model.commands import Command
from holdfastd.model.mutations import Mutation
from holdfastd.store.sqlite.errors import Error
from holdfastd.writer.batch import Waiter
from tests.support.engine import Engine, append, commit_of, delete, insert_session, insert_task, update_task


@dataclass(frozen=True)
class Defect(Command[None]):
    """A command with a defective handler: it writes and then raises an unexpected error."""


def run_defect(connection: Any, command: Defect, now_ns: int) -> None:
    connection.execute("INSERT INTO meta (name, value) VALUES ('defect', 'was here')")
    raise TypeError("a programming error")


class FailingConnection:
    """The writer's connection; chosen statements fail with SQLite error codes, as on a bad disk."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.failures: dict[str, list[int]] = {}

    def execute(self, statement: str, *parameters: Any) -> Any:
        if codes := self.failures.get(statement):
            error = sqlite.OperationalError("injected")
            error.sqlite_errorcode = codes.pop(0)
            raise error
        return self._connection.execute(statement, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
def failing() -> list[FailingConnection]:
    return []


@pytest.fixture
def engine(tmp_path: Path, failing: list[FailingConnection]) -> Iterator[Engine]:
    def wrap(connection: Any) -> FailingConnection:
        failing.append(FailingConnection(connection))
        return failing[0]

    made = Engine(tmp_path, extra_handlers={Defect: run_defect}, wrap=wrap)
    yield made
    made.close()


def run(engine: Engine, *commands: Any) -> list[Any]:
    """Runs one batch; returns the result or error of each command."""
    waiters = [Waiter(each, Call(), lambda _: None) for each in commands]
    applied = engine.batcher.run(waiters)
    assert all((waiter.error is None) == (waiter in applied) for waiter in waiters)
    return [waiter.error if waiter.error is not None else waiter.result for waiter in waiters]


def commits(*each: Mutation | Sequence[Mutation]) -> list[Any]:
    return [commit_of(*one) if isinstance(one, Sequence) else commit_of(one) for one in each]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (commit_of(insert_session("Z"), insert_task("T1")), AlreadyExists),
        (commit_of(insert_session("Z"), insert_task("new", construct_id="nobody")), FailedPrecondition),
        (commit_of(insert_session("Z"), update_task("T1", 7, title="x")), VersionMismatch),
        (commit_of(insert_session("Z"), append("S", "lost"), delete("task", "nobody")), NotFound),
        (commit_of(insert_session("Z"), append("S", "lost", expected=9)), VersionMismatch),
        (Defect(), TypeError),
    ],
    ids=["id taken", "no parent", "version", "half done", "journal moved on", "programming error"],
)
def test_one_bad_command_fails_alone(engine: Engine, bad: Any, error: type[Exception]) -> None:
    run(engine, commit_of(insert_session("S"), insert_task("T1"), append("S", "a")))
    before, failed, after = run(
        engine, *commits(append("S", "b"), insert_task())[:1], bad, *commits(append("S", "c"), insert_task())[:1]
    )
    assert isinstance(failed, error)
    assert (before.revision, after.revision) == (2, 3)
    assert [row[0] for row in engine.query("SELECT content FROM transcript ORDER BY number")] == ["a", "b", "c"]
    assert engine.query("SELECT count(*) FROM session WHERE id = 'Z'") == [(0,)]
    assert engine.query("SELECT count(*) FROM meta WHERE name = 'defect'") == [(0,)]
    assert engine.revisions() == [1, 2, 3]


def test_a_refused_command_uses_no_number(engine: Engine) -> None:
    results = run(engine, *commits(insert_task(), [insert_task(), delete("task", "nobody")], insert_task()))
    assert [results[0].results[0].id, results[2].results[0].id] == ["TASK-001", "TASK-002"]


def limit_pages(engine: Engine, spare: int) -> None:
    pages = engine.query("PRAGMA page_count")[0][0]
    engine.connection.execute(f"PRAGMA max_page_count = {pages + spare}")


def lift_limit(engine: Engine) -> None:
    engine.connection.execute("PRAGMA max_page_count = 1000000")


def test_when_sqlite_takes_the_whole_batch_back_the_others_run_again_alone(engine: Engine) -> None:
    """SQLITE_FULL rolls back the whole transaction, including the savepoint."""
    run(engine, commit_of(insert_session("S"), append("S", "a")))
    limit_pages(engine, 60)
    trace: list[str] = []
    engine.connection.set_trace_callback(trace.append)
    first, big, refused, last = run(
        engine,
        commit_of(append("S", "b")),
        commit_of(insert_task("big", description="x" * 500_000)),
        commit_of(update_task("nobody", title="x")),
        commit_of(append("S", "c"), insert_task("T")),
    )
    engine.connection.set_trace_callback(None)
    assert isinstance(big, DiskFull)
    assert big.reason == "DISK_FULL"
    assert isinstance(refused, NotFound)
    assert (first.revision, last.revision) == (2, 3)
    assert trace.count("BEGIN IMMEDIATE") == 4  # one for the batch, then one for each of the three others
    assert [(e.number, e.transcript.content) for e in engine.entries("S")] == [(1, "a"), (2, "b"), (3, "c")]
    assert engine.revisions() == [1, 2, 3]
    assert engine.query("SELECT count(*) FROM task WHERE id = 'big'") == [(0,)]


def test_a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room(engine: Engine) -> None:
    engine.submit(insert_session("S"))
    limit_pages(engine, 0)
    with pytest.raises(DiskFull):
        for _ in range(100):
            engine.submit(insert_task(description="x" * 5000))
    written = engine.ledger.revision
    with pytest.raises(DiskFull):
        engine.submit(append("S", "x" * 100_000))
    assert len(engine.changes()) == written == engine.query("SELECT count(*) FROM task")[0][0] + 1
    lift_limit(engine)
    assert engine.submit(append("S", "fits")).revision == written + 1
    assert [each.number for each in engine.entries("S")] == [1]
    assert engine.revisions() == list(range(1, written + 2))


def test_a_batch_that_was_taken_back_is_not_published_twice(engine: Engine) -> None:
    engine.submit(insert_session("S"))
    limit_pages(engine, 60)
    with pytest.raises(DiskFull):
        engine.submit(insert_task("big", description="x" * 500_000))
    engine.submit(append("S", "a"))
    assert [each.revision for each in engine.published] == [1, 2]


@pytest.mark.parametrize("code", [sqlite.SQLITE_FULL, sqlite.SQLITE_BUSY])
def test_after_a_failed_commit_each_command_runs_again_alone(engine: Engine, failing: list[FailingConnection], code: int) -> None:
    """Each command is run again once, alone. If its own commit fails as well, it gets that error."""
    failing[0].failures["COMMIT"] = [code, code]
    first, second, third = run(engine, *commits(insert_task("T1"), insert_task("T2"), insert_task("T3")))
    assert isinstance(first, Exception)
    assert (second.revision, third.revision) == (1, 2)
    assert [row[0] for row in engine.query("SELECT id FROM task ORDER BY id")] == ["T2", "T3"]
    assert engine.sync_failures == []
    assert not engine.connection.in_transaction


def test_a_failed_sync_is_reported_before_any_command_is_answered(
    engine: Engine, failing: list[FailingConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the daemon the report ends the process, so no command may be answered or published before it."""
    reported, go_on = threading.Event(), threading.Event()

    def end(error: Exception) -> None:
        reported.set()
        assert go_on.wait(10.0)

    told: list[Waiter] = []
    failing[0].failures["COMMIT"] = [sqlite.SQLITE_IOERR]
    monkeypatch.setattr(engine.batcher, "_on_sync_failure", end)
    engine.writer.post(commit_of(insert_task("T")), Call(), told.append)
    assert reported.wait(10.0)
    assert (engine.published, told, engine.writer.revision) == ([], [], 0)
    go_on.set()


def test_an_io_error_at_commit_counts_as_a_failed_fsync(engine: Engine, failing: list[FailingConnection]) -> None:
    failing[0].failures["COMMIT"] = [sqlite.SQLITE_IOERR]
    run(engine, *commits(insert_task("T")))
    (error,) = engine.sync_failures
    assert isinstance(error, Error)


def test_a_busy_database_refuses_the_command_but_not_the_next(engine: Engine, failing: list[FailingConnection]) -> None:
    failing[0].failures["BEGIN IMMEDIATE"] = [sqlite.SQLITE_BUSY]
    (refused,) = run(engine, *commits(insert_task("T")))
    assert refused.reason == "DATABASE_BUSY"
    assert engine.submit(insert_task("T")).revision == 1


def test_a_savepoint_that_cannot_be_undone_takes_the_batch_back(engine: Engine, failing: list[FailingConnection]) -> None:
    failing[0].failures["ROLLBACK TO command"] = [sqlite.SQLITE_IOERR]
    first, bad, last = run(engine, *commits(insert_task("T1"), delete("task", "nobody"), insert_task("T2")))
    assert isinstance(bad, NotFound)
    assert (first.revision, last.revision) == (1, 2)
    assert engine.revisions() == [1, 2]


def test_a_rollback_also_restores_the_writers_caches(engine: Engine) -> None:
    """The next commit creates again the workspace and the journal that a refused commit had created."""
    refused = commit_of(insert_session("S"), append("S", "a"), delete("task", "nobody"), workspace="new")
    accepted = commit_of(insert_session("S"), append("S", "b"), workspace="new")
    failed, done = run(engine, refused, accepted)
    assert isinstance(failed, NotFound)
    assert done.results[1].first_number == 1
    assert engine.query("SELECT name FROM workspace") == [("new",)]
    assert engine.query("SELECT content FROM transcript") == [("b",)]


def test_an_append_follows_what_it_is_appended_to_in_one_batch(engine: Engine) -> None:
    (result,) = run(engine, *commits([insert_session("S"), append("S")]))
    assert result.results[1].first_number == 0


def test_a_request_that_comes_twice_in_one_batch_applies_once(engine: Engine) -> None:
    """A client that times out and retries may have both calls in the queue."""
    run(engine, commit_of(insert_session("S")))
    twice = commit_of(append("S", "a"), request_id="r")
    other = commit_of(append("S", "b"), request_id="r", fingerprint=b"other")
    results = run(
        engine, commit_of(append("S", "x")), twice, commit_of(append("S", "y")), twice, other, commit_of(append("S", "z"))
    )
    assert [each.revision for each in results if not isinstance(each, Exception)] == [2, 3, 4, 3, 5]
    assert (results[1].results, results[1].commit_time) == (results[3].results, results[3].commit_time)
    assert results[3].changes == ()
    assert isinstance(results[4], InvalidArgument)
    assert [each.transcript.content for each in engine.entries("S")] == ["x", "a", "y", "z"]
    assert [each.revision for each in engine.changes()] == [1, 2, 3, 4, 5]


def test_requests_that_come_twice_in_one_batch_need_no_second_transaction(engine: Engine) -> None:
    """The first repetition writes all answers of the batch so far, the second request's included."""
    run(engine, commit_of(insert_session("S")))
    first, second = commit_of(append("S", "a"), request_id="r1"), commit_of(append("S", "b"), request_id="r2")
    trace: list[str] = []
    engine.connection.set_trace_callback(trace.append)
    results = run(engine, first, second, first, second)
    engine.connection.set_trace_callback(None)
    assert [each.revision for each in results] == [2, 3, 2, 3]
    assert trace.count("BEGIN IMMEDIATE") == 1


def test_a_request_whose_first_try_was_refused_in_the_same_batch_is_a_new_one(engine: Engine) -> None:
    command = commit_of(append("S", "a"), request_id="r")
    refused, made, done = run(engine, command, commit_of(insert_session("S")), command)
    assert isinstance(refused, FailedPrecondition)
    assert (made.revision, done.revision) == (1, 2)


def test_appends_that_need_no_savepoint_still_fail_alone(engine: Engine) -> None:
    """A lone append to a known journal runs without a savepoint. If it fails, the other commands run again."""
    run(engine, commit_of(insert_session("S"), append("S", "a")))
    run(engine, commit_of(append("S", "b")))
    limit_pages(engine, 60)
    results = run(engine, *commits(append("S", "c"), append("S", "x" * 500_000), append("S", "d"), insert_task("T")))
    assert isinstance(results[1], DiskFull)
    assert [results[0].revision, results[2].revision, results[3].revision] == [3, 4, 5]
    assert [each.transcript.content for each in engine.entries("S")] == ["a", "b", "c", "d"]
    assert engine.revisions() == [1, 2, 3, 4, 5]


def test_an_append_after_its_parent_was_deleted_in_the_same_batch_is_refused(engine: Engine) -> None:
    run(engine, commit_of(insert_session("S"), append("S", "a")))
    results = run(engine, *commits(append("S", "b"), delete("session", "S", cascade=True), append("S", "c"), insert_session("S")))
    assert isinstance(results[2], FailedPrecondition)
    assert engine.query("SELECT count(*) FROM transcript") == [(0,)]
    assert run(engine, commit_of(append("S", "new")))[0].results[0].first_number == 1
