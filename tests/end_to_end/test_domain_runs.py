"""Runs and what belongs to them: their task, their outputs, their logs; and the gate decisions of a task's state."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

import holdfast
from holdfast.v1 import record_pb2
from tests.end_to_end.test_domain_work import at_once

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)


@pytest.fixture
def task(store: holdfast.Store) -> record_pb2.Task:
    return store.tasks.create(title="Fix the login")


# An output of a run belongs to the run's task.


def test_an_output_of_a_run_is_found_by_the_task(store: holdfast.Store, task: record_pb2.Task, tmp_path: Path) -> None:
    run = store.runs.create(task_id=task.id)
    saved = store.phase_outputs.save(run_id=run.id, phase="spec", content="# Spec")
    assert saved.task_id == task.id
    assert [each.id for each in store.phase_outputs.for_task(task.id)] == [saved.id]
    assert store.specs.exists(task.id) and store.specs.get(task.id) == "# Spec"
    store.contexts.materialize(task.id, tmp_path)
    assert (tmp_path / "spec.md").read_text() == "# Spec"
    with store.transaction() as tx:
        made = tx.phase_outputs.save(run_id=tx.runs.create(task_id=task.id).id, phase="plan", content="p")
    assert made.task_id == task.id


def test_an_output_of_a_run_is_saved_again_without_its_task(store: holdfast.Store, task: record_pb2.Task) -> None:
    run = store.runs.create(task_id=task.id)
    message = record_pb2.PhaseOutput(run_id=run.id, phase="plan", content="one")
    store.phase_outputs.save(message)
    message.content = "two"
    again = store.phase_outputs.save(message)
    assert (again.version, again.content, again.task_id) == (2, "two", task.id)
    assert store.phase_outputs.update(again.id, task_id=None, content="three").task_id == task.id


def test_an_output_of_a_foreign_task_is_refused(store: holdfast.Store, task: record_pb2.Task) -> None:
    other, run = store.tasks.create(title="other"), store.runs.create(task_id=task.id)
    expected = f"task_id is {other.id}, but run {run.id} has task_id {task.id}. Leave task_id unset, or name a run of {other.id}"
    with pytest.raises(holdfast.InvalidArgument, match=expected):
        store.phase_outputs.save(run_id=run.id, task_id=other.id, phase="plan", content="x")
    with pytest.raises(holdfast.InvalidArgument, match=expected):
        store.specs.save(other.id, "x", run_id=run.id)
    assert not store.phase_outputs.exists(run.id, "plan")


def test_a_run_gets_its_task_later_and_its_outputs_follow(store: holdfast.Store, task: record_pb2.Task) -> None:
    run = store.runs.create()
    outputs = [store.phase_outputs.save(run_id=run.id, phase=each, content=each) for each in ("plan", "spec")]
    assert [each.task_id for each in outputs] == ["", ""]
    changed = store.runs.update(run.id, task_id=task.id)
    assert (changed.task_id, changed.version) == (task.id, 2)
    assert [(each.phase, each.version) for each in store.phase_outputs.for_task(task.id)] == [("plan", 2), ("spec", 2)]
    last = [each for each in store.watch(since=0, replay_only=True) if each.revision == store.revision]
    assert [each.kind for each in last] == ["run", "phase_output", "phase_output"], "they follow in the same commit"
    assert store.runs.update(run.id, task_id=task.id, status="running").version == 3, "the same task is no change of it"
    other = store.tasks.create(title="other")
    for value in (other.id, None):
        with pytest.raises(holdfast.InvalidArgument, match="task_id cannot be changed"):
            store.runs.update(run.id, task_id=value)
    with pytest.raises(holdfast.ParentNotFound):
        store.runs.update(store.runs.create().id, task_id="TASK-404")


def test_a_run_does_not_take_an_output_from_its_task(store: holdfast.Store, task: record_pb2.Task) -> None:
    run, other = store.runs.create(), store.tasks.create(title="other")
    kept = store.phase_outputs.save(run_id=run.id, task_id=other.id, phase="plan", content="of the other")
    with pytest.raises(holdfast.FailedPrecondition, match=f"phase_output {kept.id} of run {run.id} has task_id {other.id}"):
        store.runs.update(run.id, task_id=task.id)
    assert store.runs.get(run.id).task_id == "" and store.phase_outputs.get(kept.id) == kept
    assert store.runs.update(run.id, task_id=other.id).task_id == other.id and store.phase_outputs.get(kept.id) == kept


# The variables of outputs.


def test_an_output_gets_another_variable(store: holdfast.Store, task: record_pb2.Task) -> None:
    outputs, run = store.phase_outputs, store.runs.create(task_id=task.id)
    for owner in ({"run_id": run.id}, {"task_id": task.id}):
        first = outputs.save(**owner, phase="plan", variable="PLAN", content="one")
        renamed = outputs.save(**owner, phase="plan", variable="DESIGN")
        assert (renamed.id, renamed.version, renamed.variable, renamed.content) == (first.id, 2, "DESIGN", "one")
        assert outputs.by_var(variable="DESIGN", **owner) == renamed
        with pytest.raises(holdfast.NotFound):
            outputs.by_var(variable="PLAN", **owner)
        renamed.variable = "AGAIN"
        assert outputs.save(renamed).variable == "AGAIN"
        assert outputs.save(**owner, phase="plan", variable=None).variable is None


def test_two_outputs_of_one_run_never_share_a_variable(store: holdfast.Store) -> None:
    run, outputs = store.runs.create(), store.phase_outputs
    outputs.save(run_id=run.id, phase="plan", variable="PLAN", content="one")
    outputs.save(run_id=run.id, phase="review", content="fine")
    with pytest.raises(holdfast.AlreadyExists, match="has the same run_id and variable"):
        outputs.save(run_id=run.id, phase="review", variable="PLAN")
    with pytest.raises(holdfast.AlreadyExists, match="has the same run_id and variable"):
        outputs.save(run_id=run.id, phase="new", variable="PLAN", content="x")


def test_the_daemon_lets_two_outputs_of_a_task_never_share_a_variable(store: holdfast.Store, task: record_pb2.Task) -> None:
    outputs = store.phase_outputs
    first = outputs.create(task_id=task.id, phase="plan", variable="PLAN")
    with pytest.raises(holdfast.AlreadyExists, match=f"phase_output plan/{task.id} has the same task_id and variable"):
        outputs.create(task_id=task.id, phase="design", variable="PLAN")
    other = outputs.create(task_id=task.id, phase="design")
    with pytest.raises(holdfast.AlreadyExists):
        outputs.update(other.id, variable="PLAN")
    run = store.runs.create(task_id=task.id)
    outputs.create(run_id=run.id, phase="plan", variable="PLAN")
    outputs.create(run_id=store.runs.create(task_id=task.id).id, phase="plan", variable="PLAN")
    assert outputs.by_var(task_id=task.id, variable="PLAN") == first, "those of the runs are not the task's own"


def test_first_saves_that_race_for_a_variable_leave_one_output(store: holdfast.Store, task: record_pb2.Task) -> None:
    for number in range(5):
        variable = f"V{number}"

        def save(phase: int, variable: str = variable) -> object:
            return store.phase_outputs.save(task_id=task.id, phase=f"{variable}-{phase}", variable=variable, content=str(phase))

        at_once(6, save)
        assert len(list(store.phase_outputs.all(task_id=task.id, filter=f'variable = "{variable}"'))) == 1


def test_a_phase_may_have_any_name(store: holdfast.Store, task: record_pb2.Task) -> None:
    outputs = store.phase_outputs
    for phase in ("code review", "-x", "Prüfung\n2", "p" * 300):
        first = outputs.save(task_id=task.id, phase=phase, content="one")
        again = outputs.save(task_id=task.id, phase=phase, variable=f"V{len(phase)}", content="two")
        assert (again.id, again.version, again.phase) == (first.id, 2, phase)
        assert outputs.get(task_id=task.id, phase=phase) == again and outputs.exists(task_id=task.id, phase=phase)
        assert outputs.save(task_id=task.id, variable=f"V{len(phase)}", content="three").id == first.id
        with pytest.raises(holdfast.AlreadyExists):
            outputs.create(task_id=task.id, phase=phase)
        outputs.delete(task_id=task.id, phase=phase)
        assert not outputs.exists(task_id=task.id, phase=phase)
    assert outputs.save(task_id=task.id, phase="plan").id == f"plan/{task.id}"


# States.


def test_a_state_that_was_loaded_is_saved(store: holdfast.Store, task: record_pb2.Task) -> None:
    gates = [{"phase": "spec", "approved": True, "decide_time": NOW}, {"phase": "build", "metadata": {"b": 1, "a": [1.0]}}]
    store.states.save(task.id, status="running", phases=[{"phase": "spec"}], gates=gates)
    loaded = store.states.load(task.id)
    again = store.states.save(loaded)
    assert again == store.states.load(task.id) and again.gates == loaded.gates, "equal decisions are not written"
    assert again.message.version == 2 and again.message.phases == loaded.message.phases
    with pytest.raises(holdfast.VersionMismatch):
        store.states.save(loaded)
    again.message.status = "paused"
    again.gates[1].approved = False
    paused = store.states.save(again, current_phase="build")
    assert (paused.message.status, paused.message.current_phase) == ("paused", "build")
    assert [(each.version, each.approved) for each in paused.gates] == [(1, True), (2, False)]
    with store.transaction() as tx:
        shown = tx.states.save(paused)
    assert shown == store.states.load(task.id) and len(shown.gates) == 2


def test_gates_that_are_saved_twice_are_stored_once(store: holdfast.Store, task: record_pb2.Task) -> None:
    store.gate_decisions.create(task_id=task.id, phase="spec", gate_type="ai", actor="kim", decide_time=NOW, reason="good")
    gates = [
        {"phase": "spec", "gate_type": "ai", "actor": "kim", "decide_time": NOW, "reason": "good"},
        {"phase": "build", "gate_type": "human", "reason": "not yet", "metadata": {"z": 1, "a": None}},
        record_pb2.GateDecision(phase="test"),
    ]
    for _ in range(2):
        saved = store.states.save(task.id, gates=gates)
        assert [(each.phase, each.version) for each in saved.gates] == [("spec", 1), ("build", 1), ("test", 1)]
    changed = store.states.save(task.id, gates=[{**gates[0], "reason": "better"}])  # type: ignore[dict-item]
    assert (changed.gates[0].phase, changed.gates[0].reason) == ("spec", "better")
    more = [{**gates[0], "decide_time": NOW + datetime.timedelta(1)}, {"phase": "test", "approved": True}]  # type: ignore[dict-item]
    assert len(store.states.save(task.id, gates=more).gates) == 5, "another time, or another decision without a time"
    with store.transaction() as tx:
        tx.states.save(task.id, gates=[*gates, gates[2]])
        tx.states.save(task.id, gates=[{"phase": "last"}, {"phase": "last"}])
    assert len(store.states.load(task.id).gates) == 6


def test_gates_that_two_clients_save_at_once_are_stored_once(store: holdfast.Store, task: record_pb2.Task) -> None:
    at_once(6, lambda _: store.states.save(task.id, gates=[{"phase": "spec"}, {"phase": "plan", "decide_time": NOW}]))
    assert len(store.states.load(task.id).gates) == 2


def test_every_task_may_have_a_state(store: holdfast.Store, task: record_pb2.Task) -> None:
    stored, gated = store.tasks.create(title="stored"), store.tasks.create(title="gated")
    store.states.save(stored.id, status="running")
    store.gate_decisions.create(task_id=gated.id, phase="spec")
    assert list(store.states.load_all()) == [stored.id]
    states = store.states.load_all(every_task=True)
    assert {id: (each.message.status, each.message.version, len(each.gates)) for id, each in states.items()} == {
        task.id: ("pending", 0, 0),
        stored.id: ("running", 1, 0),
        gated.id: ("pending", 0, 1),
    }
    saved = store.states.save(states[gated.id], status="paused")
    assert saved == store.states.load(gated.id) and (saved.message.version, len(saved.gates)) == (1, 1)


# Names of branches.


@pytest.mark.parametrize("name", ["feature/" + "x" * 1016, "ü" * 101, "y" * 201])
def test_a_branch_may_have_a_long_name(store: holdfast.Store, name: str) -> None:
    branches = store.branches
    made = branches.save(name=name, type="task")
    assert (made.name, len(made.id.encode()) <= 200) == (name, True)
    assert branches.get(name) == branches.get(made.id) == made and branches.exists(name)
    assert branches.touch(name).version == 2 and branches.set_status(name, "merged").version == 3
    assert branches.save(name=name, base_branch="main").version == 4 and branches.update(name, type="x").version == 5
    assert [each.name for each in branches.list(filter=f"name = {holdfast.quoted(name)}")] == [name]
    assert list(branches.batch_get([name, "other"])) == [name]
    assert len(list(branches.history(name))) == 5
    similar = branches.save(name=name[:-1] + "z")
    assert similar.id != made.id
    with store.transaction() as tx:
        tx.branches.set_status(name, "active")
        assert tx.branches.create(name=name[:-1] + "q").name == name[:-1] + "q"
    branches.delete(name)
    assert not branches.exists(name) and branches.exists(similar.name)


def test_a_branch_s_name_has_a_limit(store: holdfast.Store) -> None:
    with pytest.raises(holdfast.InvalidArgument, match="longer than 1,024 bytes"):
        store.branches.save(name="x" * 1025)
    assert store.branches.save(name="x" * 200).id == "x" * 200


# Logs without runs.


def test_a_log_needs_no_run(store: holdfast.Store) -> None:
    log = store.logs.store("exec-7", workflow_id="review", workflow_version=2, status="completed", detail={"a": 1})
    assert (log.id, log.run_id, log.workflow_id, log.workflow_version) == ("exec-7", "exec-7", "review", 2)
    assert store.logs.get("exec-7") == log and store.logs.detail("exec-7") == {"a": 1}
    assert [each.id for each in store.logs.recent("review", 2)] == ["exec-7"]
    with pytest.raises(holdfast.AlreadyExists):
        store.logs.store("exec-7", workflow_id="review")
    with pytest.raises(holdfast.ParentNotFound, match="Add the run first, or name the workflow_id"):
        store.logs.store("exec-8")
    with store.transaction() as tx:
        tx.logs.store("exec-9", workflow_id="review")
    store.logs.delete("exec-9")
    assert not store.logs.exists("exec-9")


def test_a_log_goes_with_its_run_when_there_is_one(store: holdfast.Store) -> None:
    store.logs.store("late", workflow_id="review")
    store.runs.create(id="late")
    with pytest.raises(holdfast.HasDependents, match="1 execution_log"):
        store.runs.delete("late")
    store.runs.delete("late", cascade=True)
    assert not store.logs.exists("late")
