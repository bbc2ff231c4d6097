"""Request ids: a repeated request applies once and gets the same answer, also after a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.v1 import journal_service_pb2, store_service_pb2
from holdfastd.errors import HoldfastError, InvalidArgument, NotFound
from holdfastd.model.call import Call
from holdfastd.model.commands import ExpireRequests
from tests.support import api
from tests.support.engine import Engine, answered, append, delete, insert_session, insert_task


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


def commit(engine: Engine, *mutations: store_service_pb2.Mutation, **fields: Any) -> Any:
    request = store_service_pb2.StoreServiceCommitRequest(mutations=mutations, return_records=True, **fields)
    return answered(engine.commits.commit(request, Call(30)))


def allocate(engine: Engine, **fields: Any) -> Any:
    return answered(engine.commits.allocate_id(store_service_pb2.StoreServiceAllocateIdRequest(kind="task", **fields), Call(30)))


def append_entries(engine: Engine, **fields: Any) -> Any:
    request = journal_service_pb2.JournalServiceAppendRequest(parent_kind="session", parent_id="S", **fields)
    return answered(engine.commits.append(request, Call(30)))


def test_a_repeated_commit_applies_once_and_answers_the_same_also_after_a_restart(engine: Engine, tmp_path: Path) -> None:
    mutations = [
        api.insert("task", title="a"),
        api.insert("session", id="S"),
        api.append("S", "x", "y"),
        api.delete("session", "S", cascade=True),
    ]
    first = commit(engine, *mutations, request_id="r", actor="me")
    commit(engine, api.insert("task", title="between"))
    assert commit(engine, *mutations, request_id="r", actor="me") == first
    engine.close()
    again = Engine(tmp_path)
    assert commit(again, *mutations, request_id="r", actor="me") == first
    assert again.revisions() == [1, 2]
    again.close()
    engine.__init__(tmp_path)  # type: ignore[misc]  # for the fixture to close


def test_the_answer_is_the_same_when_a_commit_makes_one_record_twice(engine: Engine) -> None:
    commit(engine, api.insert("task", id="T", title="old"))
    mutations = [api.delete("task", "T"), api.insert("task", id="T", title="new"), api.update("task", id="T", title="newer")]
    first = commit(engine, *mutations, request_id="r")
    assert [each.record.task.title for each in first.results] == ["old", "new", "newer"]
    assert commit(engine, *mutations, request_id="r") == first


def test_a_repeated_append_and_allocation_answer_the_same(engine: Engine) -> None:
    engine.submit(insert_session("S"))
    fields = {"request_id": "a", "entries": [api.entry("x"), api.entry("y")]}
    assert append_entries(engine, **fields) == append_entries(engine, **fields)
    assert [each.number for each in engine.entries("S")] == [1, 2]
    assert allocate(engine, request_id="b", count=3).ids == allocate(engine, request_id="b", count=3).ids
    assert allocate(engine).ids == ["TASK-004"]


def test_a_repeated_append_is_no_conflict_though_the_journal_has_moved_on(engine: Engine) -> None:
    engine.submit(insert_session("S"))
    fields = {"request_id": "a", "entries": [api.entry("x")], "expected_last_number": 0}
    first = append_entries(engine, **fields)
    append_entries(engine, entries=[api.entry("y")])
    assert append_entries(engine, **fields) == first


@pytest.mark.parametrize("other", ["commit", "append", "allocate"])
def test_another_body_under_the_same_id_is_refused_and_changes_nothing(engine: Engine, other: str) -> None:
    commit(engine, api.insert("session", id="S"), request_id="r")
    calls = {
        "commit": lambda: commit(engine, api.insert("session", id="S2"), request_id="r"),
        "append": lambda: append_entries(engine, entries=[api.entry("x")], request_id="r"),
        "allocate": lambda: allocate(engine, request_id="r"),
    }
    with pytest.raises(InvalidArgument) as caught:
        calls[other]()
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert "new id" in caught.value.message
    assert engine.revisions() == [1]
    assert allocate(engine).ids == ["TASK-001"]


def test_ids_belong_to_an_actor_and_a_workspace(engine: Engine) -> None:
    answers = [
        commit(engine, api.insert("task", title="t"), request_id="r", actor=actor, workspace=workspace)
        for actor, workspace in [("a", "w"), ("b", "w"), ("a", "v"), ("", "w")]
    ]
    assert [each.revision for each in answers] == [1, 2, 3, 4]


def test_only_successes_are_remembered(engine: Engine) -> None:
    mutations = [api.append("S", "x")]
    with pytest.raises(HoldfastError, match="no session S"):
        commit(engine, *mutations, request_id="r")
    commit(engine, api.insert("session", id="S"))
    assert commit(engine, *mutations, request_id="r").revision == 2
    assert engine.query("SELECT count(*) FROM request") == [(1,)]


def test_remembered_answers_are_limited_by_age_and_number(engine: Engine) -> None:
    for name in "abcd":
        commit(engine, api.insert("task", title=name), request_id=name)
    long_ago = time.time_ns() - 3600 * 10**9
    assert engine.writer.submit(ExpireRequests(long_ago, 0, 100), Call()) == 0
    assert engine.writer.submit(ExpireRequests(long_ago, 3, 100), Call()) == 2
    assert [row[0] for row in engine.query("SELECT request_id FROM request")] == ["c", "d"]
    assert engine.writer.submit(ExpireRequests(time.time_ns() + 1, 0, 1), Call()) == 1


def test_an_allocation_is_remembered_from_its_own_time_on(engine: Engine) -> None:
    """An allocation makes no commit, so the newest commit may be much older than the allocation."""
    first = allocate(engine, request_id="r")
    assert engine.writer.submit(ExpireRequests(time.time_ns() - 3600 * 10**9, 0, 100), Call()) == 0
    assert allocate(engine, request_id="r").ids == first.ids


def test_a_refused_commit_leaves_its_request_id_free(engine: Engine) -> None:
    with pytest.raises(NotFound):
        engine.submit(insert_task("T"), delete("task", "nobody"), request_id="r")
    assert engine.submit(insert_task("T"), append_to_task(), request_id="r", fingerprint=b"other").revision == 1


def append_to_task() -> Any:
    return append("T", "x", parent_kind="task")
