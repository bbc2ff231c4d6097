"""Tasks, states, initiatives, outputs, specs, attachments, comments, branches and the constitution over a real daemon."""

from __future__ import annotations

import datetime
import io
import threading
from typing import Any

import pytest

import holdfast
from holdfast.v1 import record_pb2

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)


@pytest.fixture
def task(store: holdfast.Store) -> record_pb2.Task:
    return store.tasks.create(title="Fix the login")


def ids(found: Any) -> list[str]:
    return [each.id for each in found]


def test_ready_and_blocked_tasks(store: holdfast.Store) -> None:
    first, other = store.tasks.create(title="first"), store.tasks.create(title="other", tags=["urgent"])
    last = store.tasks.create(title="last", blocked_by=[first.id, other.id])
    assert store.tasks.next_id() == "TASK-004"
    assert ids(store.tasks.ready()) == [first.id, other.id] and ids(store.tasks.blocked()) == [last.id]
    store.tasks.update(first.id, status="completed")
    assert ids(store.tasks.ready()) == [other.id] and ids(store.tasks.blocked()) == [last.id]
    store.tasks.update(other.id, status="finished")
    assert ids(store.tasks.ready()) == [last.id] and ids(store.tasks.blocked()) == []
    assert ids(store.tasks.ready(filter='tags:"urgent" OR title = "last"', order_by="title desc", limit=1)) == [last.id]


def test_a_state_is_saved_whole_and_changed_in_part(store: holdfast.Store, task: record_pb2.Task) -> None:
    phases = [
        {"phase": "spec", "status": "completed", "start_time": NOW, "iterations": 2},
        record_pb2.PhaseState(phase="implement", retries=1, error="boom"),
        {"phase": "review", "metadata": {"model": ["a", 2**70]}},
    ]
    gate = {"phase": "spec", "approved": True, "actor": "kim", "decide_time": NOW}
    saved = store.states.save(task.id, status="running", current_phase="implement", phases=phases, gates=[gate])
    assert saved == store.states.load(task.id)
    shown = holdfast.plain(saved.message)["phases"]
    assert [each["status"] for each in shown] == ["completed", "pending", "pending"]
    assert (shown[0]["start_time"], shown[0]["end_time"], shown[1]["error"]) == (NOW, None, "boom")
    assert shown[2]["metadata"] == {"model": ["a", 2**70]}

    (decision,) = saved.gates
    decision.reason = "looks right"
    again = store.states.save(task.id, status="completed", gates=[decision, {"phase": "review"}], version=1)
    assert again.message.version == 2 and list(again.message.phases) == list(saved.message.phases)
    assert [(each.phase, each.version, each.reason) for each in again.gates] == [("spec", 2, "looks right"), ("review", 1, "")]
    assert store.tasks.get(task.id).status == "created", "saving the state must not change the task's status"


def test_a_state_is_saved_whole_or_not_at_all(store: holdfast.Store, task: record_pb2.Task) -> None:
    with pytest.raises(holdfast.InvalidArgument, match=r"phase is required"):
        store.states.save(task.id, status="running", gates=[{"phase": "spec"}, {"reason": "no phase"}])
    with pytest.raises(holdfast.NotFound):
        store.states.load(task.id)
    assert store.gate_decisions.count() == 0
    store.states.save(task.id)
    with pytest.raises(holdfast.VersionMismatch):
        store.states.save(task.id, version=7, gates=[{"phase": "spec"}])
    with pytest.raises(holdfast.InvalidArgument, match="no part of the state"):
        store.states.save(task.id, gates=[{"phase": "spec", "task_id": "TASK-999"}])
    with pytest.raises(holdfast.ParentNotFound):
        store.states.save("TASK-999")
    assert store.gate_decisions.count() == 0


def test_all_states_come_by_task(store: holdfast.Store) -> None:
    tasks = [store.tasks.create(title=f"task {number}") for number in range(4)]
    for each in tasks[:3]:
        store.states.save(each.id, phases=[{"phase": each.title}], gates=[{"phase": each.title}, {"phase": "z"}])
    store.gate_decisions.create(task_id=tasks[3].id, phase="without a state")
    states = store.states.load_all()
    assert list(states) == ids(tasks[:3])
    for each in tasks[:3]:
        assert states[each.id] == store.states.load(each.id)
        assert [gate.phase for gate in states[each.id].gates] == [each.title, "z"]


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([{"phase": "x", "colour": "red"}], r"task_state\.phases has no field 'colour'"),
        ([{"phase": 5}], r"task_state\.phases\.phase: expected str, not int"),
        ({"phase": "x"}, r"task_state\.phases: expected a list, not dict"),
        ([7], r"task_state\.phases: expected PhaseState messages or dicts, not int"),
        ([record_pb2.Decision(decision="x")], "expected PhaseState messages or dicts, not Decision"),
    ],
)
def test_lists_of_messages_are_checked(store: holdfast.Store, phases: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        store.states.save("TASK-001", phases=phases)


def test_specs(store: holdfast.Store, task: record_pb2.Task) -> None:
    assert store.specs.get(task.id) is None and not store.specs.exists(task.id)
    with pytest.raises(holdfast.NotFound):
        store.specs.get_full(task.id)
    store.specs.save(task.id, "# First", source="kim")
    saved = store.specs.save(task.id, "# Second")
    assert (saved.id, saved.version, saved.source) == (f"spec/{task.id}", 2, "kim")
    assert store.specs.get(task.id) == "# Second" and store.specs.get_full(task.id) == saved
    run = store.runs.create(task_id=task.id)
    made = store.specs.save(task.id, "# By a run", run_id=run.id)
    assert store.specs.get_full(task.id) == made and store.specs.exists(task.id)
    assert store.in_workspace("nobody-wrote-here").specs.get(task.id) is None


def test_phase_outputs_are_found_by_phase_and_by_variable(store: holdfast.Store, task: record_pb2.Task) -> None:
    run, other = store.runs.create(task_id=task.id), store.runs.create()
    outputs = store.phase_outputs
    plan = outputs.save(run_id=run.id, task_id=task.id, phase="plan", variable="PLAN", content="one")
    outputs.save(run_id=run.id, phase="review", content="fine")
    outputs.save(run_id=other.id, phase="plan", variable="PLAN", content="other")
    changed = outputs.save(run_id=run.id, phase="plan", content="two", iteration=2)
    assert (changed.id, changed.version, changed.variable) == (plan.id, 2, "PLAN")
    assert outputs.get(plan.id) == outputs.get(run_id=run.id, phase="plan") == outputs.by_var(run.id, "PLAN") == changed
    assert [each.phase for each in outputs.all(run.id)] == ["plan", "review"]
    assert outputs.as_map(run.id) == {"PLAN": "two", "review": "fine"}
    assert [each.phase for each in outputs.for_task(task.id)] == ["plan", "review"], "those of its runs are the task's"
    assert outputs.exists(run.id, "plan") and outputs.exists(plan.id) and not outputs.exists(run.id, "test")
    with pytest.raises(holdfast.AlreadyExists):
        outputs.create(run_id=run.id, phase="plan", content="twice")
    outputs.delete(run_id=run.id, phase="plan")
    assert outputs.as_map(run.id) == {"review": "fine"}
    with pytest.raises(holdfast.NotFound):
        outputs.delete(run_id=run.id, phase="plan")
    with pytest.raises(TypeError, match="name the run_id"):
        list(outputs.all(""))


def test_outputs_of_a_task_are_separate_from_those_of_its_runs(store: holdfast.Store, task: record_pb2.Task) -> None:
    run, other, outputs = store.runs.create(task_id=task.id), store.tasks.create(title="other"), store.phase_outputs
    outputs.save(run_id=run.id, task_id=task.id, phase="plan", variable="PLAN", content="of the run")
    outputs.save(task_id=other.id, phase="plan", variable="PLAN", content="of the other")
    plan = outputs.save(task_id=task.id, phase="plan", variable="PLAN", content="one")
    outputs.save(task_id=task.id, phase="review", content="fine")
    assert outputs.get(task_id=task.id, phase="plan") == outputs.by_var(task_id=task.id, variable="PLAN") == plan
    assert outputs.by_var(run.id, "PLAN").content == "of the run" and outputs.as_map(run.id) == {"PLAN": "of the run"}
    assert [each.phase for each in outputs.all(task_id=task.id)] == ["plan", "review"]
    assert ids(outputs.all(task_id=task.id, filter='content = "one"')) == [plan.id]
    assert outputs.as_map(task_id=task.id) == {"PLAN": "one", "review": "fine"}
    assert outputs.exists(task_id=task.id, phase="plan") and not outputs.exists(task_id=task.id, phase="test")
    assert len(list(outputs.for_task(task.id))) == 3
    with pytest.raises(holdfast.NotFound, match=f"Task {task.id}, of its own, has no phase output with variable NONE"):
        outputs.by_var(task_id=task.id, variable="NONE")
    outputs.delete(task_id=task.id, phase="plan")
    assert not outputs.exists(task_id=task.id, phase="plan") and outputs.exists(run_id=run.id, phase="plan")
    with pytest.raises(holdfast.NotFound):
        outputs.delete(task_id=task.id, phase="plan")


def test_outputs_are_of_a_run_or_of_a_task(store: holdfast.Store) -> None:
    outputs, both = store.phase_outputs, {"run_id": "RUN-001", "task_id": "TASK-001"}
    for owner in ({}, both):
        for asking in (
            lambda owner=owner: outputs.get(phase="plan", **owner),
            lambda owner=owner: outputs.by_var(variable="PLAN", **owner),
            lambda owner=owner: outputs.all(**owner),
            lambda owner=owner: outputs.as_map(**owner),
            lambda owner=owner: outputs.exists(phase="plan", **owner),
            lambda owner=owner: outputs.delete(phase="plan", **owner),
        ):
            with pytest.raises(TypeError, match="name the run_id, or for a task's own outputs the task_id"):
                asking()
    with pytest.raises(TypeError, match="name the phase"):
        outputs.get(task_id="TASK-001")


def test_a_task_has_one_output_of_a_phase_and_one_of_a_variable(store: holdfast.Store, task: record_pb2.Task) -> None:
    outputs = store.phase_outputs
    first = outputs.save(task_id=task.id, phase="plan", variable="PLAN", content="one")
    again = outputs.save(task_id=task.id, phase="plan", variable="PLAN", content="two")
    named = outputs.save(task_id=task.id, variable="PLAN", content="three")
    assert first.id == again.id == named.id and (named.version, named.phase) == (3, "plan")
    with pytest.raises(holdfast.AlreadyExists):
        outputs.create(task_id=task.id, phase="plan", content="twice")
    before = store.revision
    moved = outputs.save(task_id=task.id, phase="replan", variable="PLAN", content="four")
    assert store.revision == before + 1, "both outputs must change in one commit"
    assert list(outputs.all(task_id=task.id)) == [moved] and outputs.as_map(task_id=task.id) == {"PLAN": "four"}
    assert outputs.save(moved) == outputs.by_var(task_id=task.id, variable="PLAN")
    with pytest.raises(holdfast.InvalidArgument, match="phase is required"):
        outputs.save(task_id=task.id, variable="NEW", content="of no phase")
    at_once(6, lambda number: outputs.save(task_id=task.id, phase="replan", variable="PLAN", content=str(number)))
    (only,) = outputs.all(task_id=task.id)
    assert only.phase == "replan"


def test_concurrent_saves_of_an_output_write_one_record(store: holdfast.Store) -> None:
    run = store.runs.create()
    at_once(8, lambda number: store.phase_outputs.save(run_id=run.id, phase="plan", content=str(number)))
    (only,) = store.phase_outputs.all(run.id)
    assert only.version == 8


def at_once(count: int, action: Any) -> list[Any]:
    """Runs the calls concurrently, one per thread; returns their results."""
    barrier, results = threading.Barrier(count), [None] * count

    def run(number: int) -> None:
        barrier.wait()
        results[number] = action(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert None not in results
    return results


def test_attachments_are_known_by_name(store: holdfast.Store, task: record_pb2.Task) -> None:
    saved = store.attachments.save(task.id, "shot 1.png", b"first")
    assert (saved.type, saved.content_type, saved.content_size_bytes) == ("attachment", "image/png", 5)
    store.attachments.save(task.id, "notes", io.BytesIO(b"text"), content_type="text/plain", description="Notes")
    again = store.attachments.save(task.id, "shot 1.png", b"second")
    assert (again.id, again.version) == (saved.id, 2)
    assert [each.name for each in store.attachments.list(task.id)] == ["notes", "shot 1.png"]
    assert store.attachments.get(task.id, "shot 1.png") == again
    with store.attachments.open(task.id, "shot 1.png") as content:
        assert content.read() == b"second"
    store.artifacts.put(source=b"a log", name="notes", task_id=task.id, type="log")
    store.attachments.delete(task.id, "notes")
    with pytest.raises(holdfast.NotFound):
        store.attachments.get(task.id, "notes")
    with pytest.raises(holdfast.ParentNotFound):
        store.attachments.save("TASK-999", "x", b"")


def test_initiatives_have_tasks_and_decisions(store: holdfast.Store, task: record_pb2.Task) -> None:
    made = store.initiatives.create(title="Logins", status="active")
    assert (made.id, store.initiatives.next_id()) == ("INIT-001", "INIT-002")
    later = store.initiatives.create(title="Later", blocked_by=[made.id])
    store.tasks.update(task.id, initiative_id=made.id)
    assert ids(store.initiatives.tasks(made.id)) == [task.id] and ids(store.initiatives.tasks(later.id)) == []
    assert ids(store.initiatives.ready()) == [made.id] and ids(store.initiatives.blocked()) == [later.id]
    store.initiatives.decide(made.id, decision="Use OAuth", rationale="Others do", actor="kim", time=NOW)
    decided = store.initiatives.decide(made.id, decision="No passwords")
    assert [(each.decision, each.actor) for each in decided.decisions] == [("Use OAuth", "kim"), ("No passwords", "tester")]
    assert holdfast.plain(decided)["decisions"][0]["time"] == NOW
    assert ids(store.initiatives.list(filter='decisions.actor = "kim"')) == [made.id]
    with pytest.raises(holdfast.NotFound):
        store.initiatives.decide("INIT-999", decision="x")


def test_concurrent_decisions_are_all_kept(store: holdfast.Store) -> None:
    made = store.initiatives.create(title="Busy")
    at_once(6, lambda number: store.initiatives.decide(made.id, decision=str(number)))
    assert sorted(each.decision for each in store.initiatives.get(made.id).decisions) == list("012345")


def test_comments_and_reviews(store: holdfast.Store, task: record_pb2.Task) -> None:
    said = store.comments.create(task_id=task.id, author="kim", body="Good")
    review = store.comments.create(task_id=task.id, type="review", body="Off by one", file_path="a.py", line=7, severity="high")
    assert ids(store.comments.for_task(task.id)) == [said.id, review.id]
    assert ids(store.comments.for_task(task.id, type="comment")) == [said.id]
    assert ids(store.comments.for_task(task.id, type="comment", filter='author = "lee"')) == []
    assert ids(store.comments.reviews(task.id)) == [review.id]
    store.comments.update(review.id, status="resolved", resolution="fixed")
    assert ids(store.comments.reviews(task.id, filter='status = "open"')) == []


def test_stale_branches(store: holdfast.Store) -> None:
    old = NOW - datetime.timedelta(days=30)
    store.branches.save(name="fix/old", type="task", activity_time=old)
    store.branches.save(name="fix/new", activity_time=NOW)
    store.branches.save(name="fix/merged", activity_time=old, status="merged")
    store.branches.save(name="fix/untouched")
    assert ids(store.branches.stale(NOW)) == ["fix/old"]
    assert ids(store.branches.stale(datetime.datetime.now(datetime.UTC), order_by="name")) == [
        "fix/new",
        "fix/old",
        "fix/untouched",
    ]
    touched = store.branches.touch("fix/old")
    assert touched.version == 2 and ids(store.branches.stale(NOW)) == []
    assert store.branches.set_status("fix/new", "merged").status == "merged"
    with pytest.raises(holdfast.NotFound):
        store.branches.touch("fix/none")
    with pytest.raises(TypeError, match="made of its fields"):
        store.branches.next_id()


def test_the_constitution_is_one(store: holdfast.Store) -> None:
    assert not store.constitution.exists()
    store.constitution.save(content="Be kind", edition="1")
    changed = store.constitution.save(content="Be kind and quick")
    assert (changed.version, changed.edition, store.constitution.get()) == (2, "1", changed)
    assert store.constitution.exists() and store.collection("constitution") is store.constitution
    store.constitution.delete()
    with pytest.raises(holdfast.NotFound):
        store.constitution.get()


def test_a_transaction_spans_the_domains(store: holdfast.Store) -> None:
    with store.transaction() as tx:
        task = tx.tasks.create(title="All at once")
        state = tx.states.save(task.id, status="running", phases=[{"phase": "spec"}], gates=[{"phase": "spec"}])
        spec = tx.specs.save(task.id, "# Spec")
        run = tx.runs.create(task_id=task.id)
        output = tx.phase_outputs.save(run_id=run.id, phase="plan", content="p")
        branch = tx.branches.create(name="fix/all", owner_id=task.id)
        shot = tx.attachments.save(task.id, "shot.png", b"png")
        assert (branch.id, spec.id, state.message.id) == ("fix/all", f"spec/{task.id}", task.id)
    assert state == store.states.load(task.id) and output == store.phase_outputs.get(run_id=run.id, phase="plan")
    assert shot == store.attachments.get(task.id, "shot.png") and shot.content_size_bytes == 3
    assert spec == store.specs.get_full(task.id) and branch == store.branches.get("fix/all")
    assert {change.revision for change in store.watch(since=0, replay_only=True)} == {tx.revision}


def test_a_transaction_that_fails_leaves_nothing(store: holdfast.Store, task: record_pb2.Task) -> None:
    with pytest.raises(holdfast.ParentNotFound), store.transaction() as tx:
        tx.states.save(task.id, status="running", gates=[{"phase": "spec"}])
        tx.specs.save(task.id, "# Spec")
        tx.phase_outputs.save(run_id="RUN-404", phase="plan", content="p")
    assert not store.specs.exists(task.id) and store.states.load_all() == {} and store.gate_decisions.count() == 0


def test_sync_waits_for_the_open_writers(store: holdfast.Store, task: record_pb2.Task) -> None:
    store.sync()
    writer = store.transcripts.writer(task.id, parent_kind="task")
    for number in range(500):
        writer.write(role="chunk", content=str(number))
    store.sync()
    assert writer.acknowledged == 500
    assert len(list(store.transcripts.list(parent_kind="task", parent_id=task.id))) == 500
    writer.close()
    store.sync()
    broken = store.transcripts.writer("TASK-999", parent_kind="task")
    broken.write(role="chunk", content="nowhere")
    with pytest.raises(holdfast.ParentNotFound):
        store.sync()
