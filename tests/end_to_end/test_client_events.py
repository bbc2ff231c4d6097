"""Events over a real daemon: saved singly, in batches and in transactions, queried, followed, and deleted with their parent."""

from __future__ import annotations

import datetime
import threading
from typing import Any

import pytest

import holdfast
from holdfast.v1 import entry_pb2
from tests.end_to_end.command_line import Run

UTC = datetime.UTC


@pytest.fixture
def task_id(store: holdfast.Store) -> str:
    return store.tasks.create(title="a task").id


def numbers(store: holdfast.Store, **asked: Any) -> list[int]:
    return [each.number for each in store.events.query(**asked)]


def test_save_and_read_back(store: holdfast.Store, task_id: str) -> None:
    when = datetime.datetime(2026, 1, 2, tzinfo=UTC)
    told = {"phase": "spec", "iteration": 2, "source": "executor", "message": "é", "data": {"n": [1]}, "duration_ms": 0}
    assert store.events.save(task_id, type="phase_completed", time=when, **told) == 1
    assert store.events.save(task_id, type="warning") == 2
    first, second = (holdfast.plain(each)["event"] for each in store.events.read(task_id))
    expected = {"task_id": task_id, "type": "phase_completed", "time": when, **told}
    assert {name: first[name] for name in expected} == expected
    assert (second["data"], second["time"], second["message"]) == (None, None, "")
    assert not next(store.events.read(task_id, start=2)).event.HasField("duration_ms"), "an unset number must not be read as zero"


def test_many_are_one_commit_in_their_order(store: holdfast.Store, task_id: str) -> None:
    other = store.tasks.create(title="another").id
    before = store.revision
    mixed = [
        {"type": "a", "task_id": task_id},
        entry_pb2.Event(type="b", task_id=other),
        entry_pb2.Entry(event=entry_pb2.Event(type="c", task_id=task_id)),
    ]
    assert store.events.save_many(mixed) == [1, 1, 2]
    assert store.events.save_many([{"type": str(number)} for number in range(500)], parent_id=task_id) == list(range(3, 503))
    assert store.revision == before + 2
    assert [each.event.type for each in store.events.read(task_id)] == ["a", "c", *map(str, range(500))]
    assert numbers(store, task_id=other) == [1]
    assert store.events.save_many(iter(())) == []


def test_runs_and_sessions_have_events_too(store: holdfast.Store, task_id: str) -> None:
    workflow = store.workflows.store("ship", phases=[{"name": "spec"}])
    run = store.runs.create(workflow=workflow.id, task_id=task_id)
    session = store.sessions.create(title="s")
    store.events.save(run.id, parent_kind="run", type="started", task_id=task_id)
    assert store.events.save_many([{"type": "state"}, {"type": "state"}], parent_kind="session", parent_id=session.id) == [1, 2]
    store.events.save(task_id, type="started")
    found = list(store.events.query(task_id=task_id))
    assert {(each.parent_kind, each.parent_id) for each in found} == {("run", run.id), ("task", task_id)}
    assert [each.number for each in store.events.query(parent_kind="session", parent_id=session.id)] == [1, 2]


def test_queries(store: holdfast.Store, task_id: str) -> None:
    day = datetime.datetime(2026, 1, 1, tzinfo=UTC)
    events = [
        {
            "type": ["phase", "tokens", "error"][number % 3],
            "phase": "spec" if number < 6 else "test",
            "source": "api" if number == 11 else "executor",
            "data": {"n": number},
            "time": day + datetime.timedelta(days=number),
        }
        for number in range(12)
    ]
    store.events.save_many(events, parent_id=task_id)
    store.events.save(task_id, type="untimed")
    assert numbers(store, task_id=task_id) == list(range(1, 14))
    assert numbers(store, type="phase") == [1, 4, 7, 10]
    assert numbers(store, type=("phase", "error"), task_id=task_id) == [1, 3, 4, 6, 7, 9, 10, 12]
    assert numbers(store, phase="test", type="phase") == [7, 10]
    assert numbers(store, source="api") == [12]
    assert numbers(store, filter="data.n >= 10 OR data.n = 0", page_size=1) == [1, 11, 12]
    assert numbers(store, since=day + datetime.timedelta(days=10), until=day + datetime.timedelta(days=11)) == [11]
    assert numbers(store, since=datetime.datetime.now(UTC) - datetime.timedelta(hours=1), type="untimed") == [13], "save time"
    assert numbers(store, until=datetime.datetime.now(UTC) - datetime.timedelta(hours=1), type="untimed") == []
    for size in (0, 1, 5):
        assert numbers(store, task_id=task_id, descending=True, page_size=size, limit=7) == [13, 12, 11, 10, 9, 8, 7]
    assert numbers(store, task_id="TASK-404") == [] and numbers(store, limit=0) == []
    with pytest.raises(holdfast.InvalidArgument):
        numbers(store, filter="nothing = 1")


def test_invalid_events_are_refused(store: holdfast.Store, task_id: str) -> None:
    with pytest.raises(holdfast.ParentNotFound):
        store.events.save("TASK-404", type="phase")
    with pytest.raises(holdfast.ParentNotFound):
        store.events.save_many([{"type": "a", "task_id": task_id}, {"type": "b", "task_id": "TASK-404"}])
    with pytest.raises(holdfast.InvalidArgument, match=r"event\.type is required"):
        store.events.save(task_id, type="")
    with pytest.raises(holdfast.InvalidArgument, match=r"event\.phase holds a NUL"):
        store.events.save(task_id, type="a", phase="\0")
    with pytest.raises(holdfast.InvalidArgument, match="names no parent"):
        store.events.save_many([{"type": "a"}])
    with pytest.raises(holdfast.InvalidArgument, match="task, run, session"):
        store.events.save(task_id, type="a", parent_kind="bug")
    with pytest.raises(holdfast.InvalidArgument, match=r"event\.type is required"):
        store.events.save_many([entry_pb2.Entry(transcript=entry_pb2.Transcript(role="a"))], parent_id=task_id)
    with pytest.raises(TypeError, match="event has no field"):
        store.events.save(task_id, type="a", role="b")
    with pytest.raises(holdfast.TooLarge):
        store.events.save(task_id, type="a", source="x" * 2**20)
    assert numbers(store) == []


def test_they_are_followed(store: holdfast.Store, task_id: str) -> None:
    store.events.save(task_id, type="phase")
    with store.events.follow(task_id, filter='type = "phase"') as events:
        assert next(events).number == 1
        later = threading.Timer(0.1, lambda: store.events.save_many([{"type": "x"}, {"type": "phase"}], parent_id=task_id))
        later.start()
        assert next(events).number == 3
        later.join()


def test_in_a_transaction(store: holdfast.Store, task_id: str) -> None:
    with store.transaction() as step:
        task = step.tasks.create(title="another")
        made = step.events.save(task.id, type="created")
        more = step.events.save_many([{"type": "a", "task_id": task_id}, {"type": "b", "task_id": task.id}])
        assert made.number == 0
    assert [made.number, *(each.number for each in more)] == [1, 1, 2]
    assert {made.revision, *(each.revision for each in more)} == {step.revision}
    assert [each.event.type for each in store.events.query(task_id=task.id)] == ["created", "b"]
    with pytest.raises(holdfast.ParentNotFound), store.transaction() as step:
        step.events.save(task_id, type="c")
        step.events.save("TASK-404", type="d")
    assert numbers(store, task_id=task_id) == [1]


def test_events_are_deleted_with_their_parent(store: holdfast.Store, task_id: str) -> None:
    store.events.save_many([{"type": "a"}, {"type": "b"}], parent_id=task_id)
    store.transcripts.append(task_id, parent_kind="task", role="prompt")
    with pytest.raises(holdfast.HasDependents, match="2 event entries, 1 transcript entries"):
        store.tasks.delete(task_id)
    store.tasks.delete(task_id, cascade=True)
    assert numbers(store) == []
    told = [(each.action, each.first_number, each.last_number) for each in store.audit.query(kind="event")]
    assert told == [("append", 1, 2), ("drop", 1, 2)]
    with pytest.raises(holdfast.NotFound):
        list(store.events.read(task_id))
    frames = list(store.verify(read_blobs=True))
    assert [problem for frame in frames for problem in frame.problems] == [] and frames[-1].finished


def test_events_and_transcript_of_a_parent_are_numbered_apart(store: holdfast.Store, task_id: str) -> None:
    assert store.transcripts.append(task_id, parent_kind="task", role="prompt") == 1
    assert store.events.save(task_id, type="a") == 1
    assert [each.WhichOneof("value") for each in store.events.query()] == ["event"]
    assert [each.WhichOneof("value") for each in store.transcripts.list()] == ["transcript"]
    with store.watch(kinds=["event"], since=0, replay_only=True) as changes:
        assert [(each.kind, each.parent_kind, each.id, each.last_number) for each in changes] == [("event", "task", task_id, 1)]


def test_the_command_line_shows_events(run: Run, store: holdfast.Store, task_id: str) -> None:
    store.events.save(task_id, type="phase_completed", phase="spec", source="executor", message="Done.", data={"n": 1})
    store.events.save(task_id, type="tokens", duration_ms=5)
    tail = ("tail", task_id, "--parent-kind", "task", "--journal", "events")
    first, *rest = run(*tail).lines
    assert first.startswith("#1") and "phase_completed" in first and "spec" in first and "executor" in first
    assert rest[:2] == ["  Done.", '  {"n":1}'] and rest[3].startswith("#2") and "5 ms" in rest[3]
    assert [each["type"] for each in run(*tail, "-n", "1", "--json").objects] == ["tokens"]
    assert f"event of task {task_id} #1" in run("watch", "--kind", "events", "--since", "0", "--replay").out
    assert "--journal event" in run("list", "events").err
    assert "nothing" in run(*tail[:-1], "nothing").err
