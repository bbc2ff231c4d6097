"""The orchestrator of the fourth seed, "Storage Package": tasks, states and phase outputs, and what it promises of them.

`Backend` in orchestrator.py has each operation as the seed writes it. Every test saves whole values, loads them, and compares
them; saving what was loaded changes nothing. test_orchestrator_plans.py has initiatives and workflows, test_orchestrator_work.py
the rest.
"""

from __future__ import annotations

import ast
import dataclasses
import datetime
import inspect
import os
import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest

import holdfast
from tests.conftest import DaemonProcess
from tests.scenarios.orchestrator import INTERFACE, Backend
from tests.scenarios.orchestrator_model import (
    Context,
    Gate,
    GateDecision,
    Initiative,
    Phase,
    PhaseOutput,
    State,
    Task,
    WorkflowRun,
)

UTC = datetime.UTC
BEGAN = datetime.datetime(2021, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
NESTED = {"größe": {"deep": [1, 2.5, None, True, {"": "雪"}]}, "empty": {}, "quote": "\"'\\", "astral": "🜁"}
NAMED = [name for names in INTERFACE.values() for name in names.split()]
STATE_STATUSES = "pending running completed failed paused interrupted skipped"
TASK_STATUSES = "created classifying planned running paused blocked finalizing completed finished failed"


def test_the_interface_is_whole_and_its_operations_are_a_few_lines() -> None:
    assert sorted(NAMED) == sorted(name for name in vars(Backend) if name[0].isupper())
    for name in NAMED:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(getattr(Backend, name)))).body
        assert isinstance(function, ast.FunctionDef) and len(function.body) <= 4, f"{name} is more than a few lines"


def test_every_operation_is_used() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_orchestrator*.py"))
    assert [name for name in NAMED if f"backend.{name}(" not in sources] == []


def saved_task(backend: Backend, title: str = "Other", **fields: Any) -> Task:
    task = Task(id=backend.GetNextTaskID(), title=title, **fields)
    backend.SaveTask(task)
    return backend.LoadTask(task.id)


# --- Task ---


def test_a_task_comes_back_as_it_was_saved(backend: Backend) -> None:
    assert [backend.GetNextTaskID() for _ in range(2)] == ["TASK-001", "TASK-002"]
    first = Task(id="TASK-001", title="Größe ändern 🜁", description="one\n\ttwo ", metadata=NESTED)
    second = Task(id="TASK-002", title="Second", status="planned", priority="urgent", blocked_by=["TASK-001"])
    for task in (first, second, second):  # the same again: nothing else is stored
        backend.SaveTask(task)
    loaded = backend.LoadAllTasks()
    assert [dataclasses.replace(each, created_at=None) for each in loaded] == [first, second]
    assert all(each.created_at and each.created_at.tzinfo for each in loaded)
    assert [backend.LoadTask(each.id) for each in loaded] == loaded
    for each in loaded:
        backend.SaveTask(each)
    assert backend.LoadAllTasks() == loaded, "saving what was loaded must change nothing"


def test_a_task_is_deleted_and_its_id_is_not_given_again(backend: Backend, task: Task) -> None:
    assert backend.TaskExists(task.id) and not backend.TaskExists("TASK-404")
    backend.DeleteTask(task.id)
    assert not backend.TaskExists(task.id) and backend.LoadAllTasks() == []
    with pytest.raises(holdfast.NotFound):
        backend.LoadTask(task.id)
    assert backend.GetNextTaskID() == "TASK-002"


def test_a_task_is_saved_with_its_dependencies_or_not_at_all(backend: Backend) -> None:
    one, two = saved_task(backend), saved_task(backend)
    third = saved_task(backend, "before", blocked_by=[two.id, one.id])
    with pytest.raises(holdfast.ParentNotFound):
        backend.SaveTask(dataclasses.replace(third, title="after", blocked_by=[one.id, "TASK-404"]))
    with pytest.raises(holdfast.FailedPrecondition) as refused:
        backend.SaveTask(dataclasses.replace(one, title="after", blocked_by=[third.id]))
    assert refused.value.reason == "DEPENDENCY_CYCLE"
    assert backend.LoadAllTasks() == [one, two, third]
    replaced = dataclasses.replace(third, title="after", blocked_by=[two.id])
    backend.SaveTask(replaced)
    assert backend.LoadTask(third.id) == replaced


def test_ready_and_blocked(backend: Backend) -> None:
    first = saved_task(backend)
    second = saved_task(backend, blocked_by=[first.id])
    store = backend.store
    assert [[each.id for each in found] for found in (store.tasks.ready(), store.tasks.blocked())] == [[first.id], [second.id]]
    backend.SaveTask(dataclasses.replace(first, status="finished"))
    assert second.id in [each.id for each in store.tasks.ready()] and list(store.tasks.blocked()) == []


def test_saves_with_a_context_are_cancelled(backend: Backend, task: Task) -> None:
    """`SaveTaskCtx`, `SaveStateCtx` and `SaveInitiativeCtx` save as the others do, and not at all once `ctx` is cancelled."""
    ctx = Context(timeout_s=30)
    state, initiative = State(task.id, "running"), Initiative("INIT-001", "One login")
    renamed = dataclasses.replace(task, title="Renamed")
    backend.SaveTaskCtx(ctx, renamed)
    backend.SaveStateCtx(ctx, state)
    backend.SaveInitiativeCtx(ctx, initiative)
    assert (backend.LoadTask(task.id), backend.LoadState(task.id)) == (renamed, state)
    assert backend.LoadInitiative("INIT-001") == initiative
    ctx.cancellation()
    with pytest.raises(holdfast.Cancelled):
        backend.SaveTaskCtx(ctx, task)
    with pytest.raises(holdfast.Cancelled):
        backend.SaveStateCtx(ctx, State(task.id, "failed"))
    with pytest.raises(holdfast.Cancelled):
        backend.SaveInitiativeCtx(ctx, Initiative("INIT-001", "Other"))
    assert (backend.LoadTask(task.id), backend.LoadState(task.id)) == (renamed, state)
    assert backend.LoadInitiative("INIT-001") == initiative


def test_saves_with_a_context_have_a_deadline(own_daemon: DaemonProcess) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        backend = Backend(store)
        task = saved_task(backend, "before")
        daemon_pid = store.status().pid
        os.kill(daemon_pid, signal.SIGSTOP)
        try:
            with pytest.raises(holdfast.DeadlineExceeded):
                backend.SaveTaskCtx(Context(timeout_s=0.5), dataclasses.replace(task, title="after"))
        finally:
            os.kill(daemon_pid, signal.SIGCONT)
        # The request had reached the daemon's socket: it is applied whole or not at all, and the caller cannot know which.
        assert backend.LoadTask(task.id).title in ("before", "after")


# --- State ---


def whole_state(task_id: str) -> State:
    later = BEGAN + datetime.timedelta(hours=1)
    return State(
        task_id,
        status="running",
        current_phase="implement it",
        phases={
            "spec": Phase("completed", iterations=2, started_at=BEGAN, completed_at=later, metadata=NESTED),
            "implement it": Phase("failed", retries=1, error="exit 1\n\tat ünicode", started_at=later),
            "a review": Phase("skipped"),
        },
        gates=[
            Gate("spec", "ai", False, "vague", "gpt", BEGAN),
            Gate("spec", "human", True, "clear now", "ann", later),
            Gate("implement it", "human"),
        ],
        retries=1,
        error="e",
        started_at=BEGAN,
        metadata=NESTED,
    )


def test_a_state_comes_back_as_it_was_saved(backend: Backend, task: Task) -> None:
    state = whole_state(task.id)
    for _ in range(2):
        backend.SaveState(state)
        assert backend.LoadState(task.id) == state
    backend.SaveState(backend.LoadState(task.id))
    assert backend.LoadState(task.id) == state
    assert [each.approved for each in backend.ListGateDecisions(task.id)] == [False, True, None]
    failed = State(task.id, "failed", error="it did not compile", gates=state.gates)
    backend.SaveState(failed)
    assert backend.LoadState(task.id) == failed, "a save writes the whole state: its phases and times are gone"


def test_there_is_a_state_for_every_task(backend: Backend, task: Task) -> None:
    """`LoadAllStates` builds a state from each row of `tasks`, also of one whose state was never saved."""
    others = [saved_task(backend) for _ in range(2)]
    backend.SaveState(whole_state(others[1].id))
    backend.SaveGateDecision(GateDecision("spec", "human", None, task_id=others[0].id))
    untouched = [State(task.id), State(others[0].id, gates=[Gate("spec", "human")])]
    assert backend.LoadAllStates() == [*untouched, whole_state(others[1].id)]
    for state in backend.LoadAllStates():
        backend.SaveState(state)
    assert backend.LoadAllStates() == [*untouched, whole_state(others[1].id)]
    assert [backend.LoadState(each.task_id) for each in untouched] == untouched
    with pytest.raises(holdfast.NotFound):
        backend.LoadState("TASK-404")


def test_all_states_of_many_tasks(backend: Backend) -> None:
    states = [dataclasses.replace(whole_state(saved_task(backend).id), retries=number) for number in range(40)]
    for state in states:
        backend.SaveState(state)
    assert backend.LoadAllStates() == states


def test_a_state_is_saved_with_its_gates_or_not_at_all(backend: Backend, task: Task) -> None:
    state = whole_state(task.id)
    backend.SaveState(state)
    torn = dataclasses.replace(state, status="completed", gates=[Gate("implement it", "ai"), Gate("", "no phase")])
    with pytest.raises(holdfast.InvalidArgument):
        backend.SaveState(torn)
    with pytest.raises(holdfast.ParentNotFound):
        backend.SaveState(whole_state("TASK-404"))
    assert backend.LoadAllStates() == [state]


def test_the_state_is_not_the_tasks_status(backend: Backend, task: Task) -> None:
    """`SaveState` updates the engine's state, `SaveTask` the status that people see; the two have different values."""
    for status in STATE_STATUSES.split():
        backend.SaveState(State(task.id, status))
        assert backend.LoadState(task.id) == State(task.id, status)
    assert backend.LoadTask(task.id) == task, "saving the state must not change the task"
    for status in TASK_STATUSES.split():
        backend.SaveTask(dataclasses.replace(task, status=status))
        assert backend.LoadTask(task.id).status == status
    assert backend.LoadState(task.id) == State(task.id, "skipped")
    with pytest.raises(holdfast.InvalidArgument):
        backend.SaveState(State(task.id, "finalizing"))
    with pytest.raises(holdfast.InvalidArgument):
        backend.SaveTask(dataclasses.replace(task, status="interrupted"))


# --- Phase Output, Spec ---


def without_time(outputs: list[PhaseOutput]) -> list[PhaseOutput]:
    return [dataclasses.replace(each, created_at=None) for each in outputs]


def test_phase_outputs_come_back_as_they_were_saved(backend: Backend, task: Task, run: WorkflowRun) -> None:
    spec = PhaseOutput(run.id, task.id, "spec", "SPEC", "# Größe\r\n", "ann", 2)
    bare = PhaseOutput(run.id, task.id, "implement it", None, "")
    large = PhaseOutput(run.id, task.id, "log", "LOG", "zeile ü\n" * 620_000)
    strange = PhaseOutput(run.id, task.id, "raw", "RAW", "a\0b \ud83d c")
    outputs = [spec, bare, large, strange]
    for output in (*outputs, *outputs):  # twice
        backend.SavePhaseOutput(output)
    stored = backend.GetAllPhaseOutputs(run.id)
    assert without_time(stored) == outputs and len(large.content.encode()) > 5_000_000
    assert all(each.created_at is not None for each in stored)
    for each in stored:
        backend.SavePhaseOutput(each)
    assert backend.GetAllPhaseOutputs(run.id) == stored, "also the time of creation stays"
    assert [backend.GetPhaseOutput(run.id, each.phase) for each in outputs] == stored
    assert backend.GetPhaseOutputByVarName(run.id, "RAW") == stored[3]
    assert backend.GetPhaseOutputsForTask(task.id) == stored
    assert backend.LoadPhaseOutputsAsMap(run.id) == {
        "SPEC": spec.content,
        "implement it": "",
        "LOG": large.content,
        "RAW": strange.content,
    }


def test_a_phase_output_is_replaced_and_deleted(backend: Backend, task: Task, run: WorkflowRun) -> None:
    output = PhaseOutput(run.id, task.id, "spec", "SPEC", "first")
    backend.SavePhaseOutput(output)
    renamed = dataclasses.replace(output, output_var_name="PLAN", content="second")
    backend.SavePhaseOutput(renamed)
    assert without_time(backend.GetAllPhaseOutputs(run.id)) == [renamed]
    nameless = dataclasses.replace(renamed, output_var_name=None)
    backend.SavePhaseOutput(nameless)
    assert without_time([backend.GetPhaseOutput(run.id, "spec")]) == [nameless]
    assert backend.PhaseOutputExists(run.id, "spec") and not backend.PhaseOutputExists(run.id, "review")
    with pytest.raises(holdfast.NotFound):
        backend.GetPhaseOutputByVarName(run.id, "PLAN")
    foreign = dataclasses.replace(output, task_id=saved_task(backend).id)
    with pytest.raises(holdfast.InvalidArgument):
        backend.SavePhaseOutput(foreign)
    backend.DeletePhaseOutput(run.id, "spec")
    assert not backend.PhaseOutputExists(run.id, "spec")
    for missing in (lambda: backend.GetPhaseOutput(run.id, "spec"), lambda: backend.DeletePhaseOutput(run.id, "spec")):
        with pytest.raises(holdfast.NotFound):
            missing()


def test_a_spec_is_a_phase_output(backend: Backend, task: Task, run: WorkflowRun) -> None:
    assert not backend.SpecExistsForTask(task.id) and backend.GetSpecForTask(task.id) is None
    with pytest.raises(holdfast.NotFound):
        backend.GetFullSpecForTask(task.id)
    of_run = PhaseOutput(run.id, task.id, "spec", "SPEC", "of the run")
    backend.SavePhaseOutput(of_run)
    assert backend.SpecExistsForTask(task.id) and backend.GetSpecForTask(task.id) == "of the run"
    text = "# Login\n雪\0\ud800" + "but longer\n" * 500_000
    for content in ("# Login\nas before", text, text):
        backend.SaveSpecForTask(task.id, content, "ann")
    own = PhaseOutput("", task.id, "spec", None, text, "ann")
    assert backend.GetSpecForTask(task.id) == text
    assert without_time([backend.GetFullSpecForTask(task.id)]) == [own]
    assert without_time(backend.GetPhaseOutputsForTask(task.id)) == [of_run, own]
