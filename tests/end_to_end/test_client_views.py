"""Views go through every method of a store: what is returned can be changed, sent back, and refused when another was first."""

from __future__ import annotations

import datetime
import pickle
from typing import Any

import pytest

import holdfast
from holdfast.contract.kinds import KINDS
from holdfast.v1 import record_pb2
from holdfast.values import views


def test_every_method_that_returns_records_returns_views(store: holdfast.Store) -> None:
    made = store.tasks.create(title="one", metadata={"b": [1, 2]})
    with store.transaction() as commit:
        staged = commit.tasks.update(made.id, tags=["x"])
    found = [made, staged, store.tasks.get(made.id), store.tasks.save(id=made.id, status="running"), store.tasks.first()]
    found += [*store.tasks.list(), *store.tasks.ready(), *store.tasks.batch_get([made.id]).values()]
    state = store.states.save(made.id, status="running", gates=[{"phase": "plan", "approved": True}])
    assert {type(each) for each in found} == {views.Task}
    assert [type(state.message), *map(type, state.gates)] == [views.TaskState, views.GateDecision]
    assert [type(each.message) for each in store.states.load_all().values()] == [views.TaskState]
    assert {type(each) for each in store.tasks.history(made.id)} == {views.Change}
    assert {type(each) for each in store.audit.of(made)} == {views.AuditEntry}
    assert all(isinstance(next(iter(store.collection(kind).list()), None), holdfast.View | None) for kind in KINDS)


def test_values_come_back_as_they_went_in(store: holdfast.Store) -> None:
    began = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    made = store.sessions.create(title="t", metadata={"b": [1, 2]}, start_time=began, tags=["x"])
    found = store.sessions.get(made.id)
    assert (found.metadata, found.start_time, found.end_time, found.tags) == ({"b": [1, 2]}, began, None, ["x"])
    assert found == made and pickle.loads(pickle.dumps(found)) == found


def test_a_changed_view_is_saved_with_the_version_that_was_read(store: holdfast.Store) -> None:
    made = store.tasks.create(title="one", tags=["a"], metadata={"n": 1})
    mine, theirs = store.tasks.get(made.id), store.tasks.get(made.id)
    mine.title, mine.metadata["n"] = "mine", 2
    mine.tags.append("b")
    saved = store.tasks.update(mine)
    assert (saved.title, saved.tags, saved.metadata, saved.version) == ("mine", ["a", "b"], {"n": 2}, 2)
    theirs.title = "theirs"
    with pytest.raises(holdfast.VersionMismatch):
        store.tasks.update(theirs)
    with pytest.raises(holdfast.VersionMismatch), store.transaction() as commit:
        commit.tasks.update(theirs)
    assert store.tasks.get(made.id) == saved
    assert store.tasks.save(saved, priority="high").priority == "high"
    copied = store.in_workspace("other").tasks.create(saved)
    assert (copied.title, copied.version) == ("mine", 1)


def test_an_unchanged_view_loses_no_nanoseconds(store: holdfast.Store) -> None:
    message = record_pb2.Session(title="t")
    message.start_time.FromNanoseconds(1_700_000_000_123_456_789)
    made = store.sessions.create(message)
    assert made.start_time is not None and store.sessions.update(made).time_ns("start_time") == 1_700_000_000_123_456_789


def test_the_commit_fills_in_a_step_s_view(store: holdfast.Store) -> None:
    made = store.tasks.create(title="one", tags=["a"], metadata={"n": 1})
    session = store.sessions.create(title="s").id
    with store.transaction() as commit:
        staged = commit.tasks.update(made.id, status="running")
        entry = commit.transcripts.append(session, role="prompt", content="hi", metadata=[1])
        event = commit.events.save(made.id, type="begun")
        assert (staged.tags, staged.metadata, staged.create_time, entry.number) == ([], None, None, 0)
    assert (staged.tags, staged.metadata, staged.version) == (["a"], {"n": 1}, 2) and staged == store.tasks.get(made.id)
    assert (entry.number, entry.content, entry.metadata, event.number, event.type) == (1, "hi", [1], 1, "begun")
    assert entry.create_time == store.tasks.get(made.id).update_time


def test_entries_are_read_and_appended_again(store: holdfast.Store) -> None:
    session = store.sessions.create(title="s").id
    now = datetime.datetime.now(datetime.UTC)
    store.transcripts.append(session, role="prompt", content="hi", metadata={"n": 1}, time=now)
    task = store.tasks.create(title="t").id
    store.events.save(task, type="error", message="broken", data=[1])
    (entry,) = store.transcripts.read(session)
    assert (entry.number, entry.role, entry.content, entry.metadata, entry.time) == (1, "prompt", "hi", {"n": 1}, now)
    assert [each.parent_id for each in store.transcripts.list()] == [session]
    assert store.transcripts.append_many(session, [entry, entry.transcript]) == range(2, 4)
    assert [each.transcript.content for each in store.transcripts.read(session)] == ["hi"] * 3
    (event,) = store.events.query()
    assert (event.type, event.message, event.data, event.parent_id, event.duration_ms) == ("error", "broken", [1], task, None)
    assert store.events.save_many([event]) == [2]
    first, *_ = store.audit.of("task", task)
    assert (first.action, first.diff["title"], first.number > 0) == ("insert", {"after": "t"}, True)


def test_methods_take_views(store: holdfast.Store, tmp_path: Any) -> None:
    task = store.tasks.create(title="t")
    state = store.states.save(task.id, phases=[{"phase": "plan"}], gates=[{"phase": "plan"}])
    state.message.phases[0].status = "completed"
    update = store.status_updates.create(record_pb2.StatusUpdate(message="on it"))
    update.message += ", really"
    assert store.status_updates.update(update).message == "on it, really"
    again = store.states.save(task.id, phases=state.message.phases, gates=state.gates)
    assert [each.status for each in again.message.phases] == ["completed"] and len(again.gates) == 1
    first = store.workflows.store("ship", phases=[{"name": "build"}])
    first.phases.append(views.WorkflowPhase(name="test"))
    assert [each.name for each in store.workflows.save(first).phases] == ["build", "test"]
    artifact = store.attachments.save(task.id, "notes.txt", b"text")
    assert store.artifacts.open(artifact).read() == b"text"
    saved = store.checkpoints.save(store.sessions.create(title="s").id, context={"a": 1}, tags=["x"])
    assert isinstance(saved, views.Checkpoint) and saved.load() == store.checkpoints.load(saved.message) == {"a": 1}
    assert pickle.loads(pickle.dumps(saved)) == saved
    later = store.checkpoints.save(saved.session_id, context=b"b", parent=saved)
    assert later.parent_id == saved.id and store.checkpoints.load(later) == b"b"


def test_a_watch_yields_views(store: holdfast.Store) -> None:
    made = store.tasks.create(title="t", metadata={"a": 1})
    store.transcripts.append(store.sessions.create(title="s").id, role="prompt")
    changes = list(store.watch(since=0, replay_only=True))
    tasks = [each.record.task for each in changes if each.record is not None and each.record.task is not None]
    assert tasks == [made] and tasks[0].metadata == {"a": 1} and changes[0].commit_time == made.create_time
    assert [each.record for each in changes if each.kind == "transcript"] == [None]
