"""The orchestrator of the fourth seed, "Storage Package": every operation of its interface table, and what it promises.

`Backend` in orchestrator.py implements each operation as one call. There is one test per category, and together they use all.
"""

from __future__ import annotations

import ast
import datetime
import inspect
import json
import textwrap
from pathlib import Path

import pytest

import holdfast
from holdfast.v1 import record_pb2
from tests.scenarios.orchestrator import INTERFACE, Backend

UTC = datetime.UTC


@pytest.fixture
def backend(store: holdfast.Store) -> Backend:
    return Backend(store)


@pytest.fixture
def task(backend: Backend) -> record_pb2.Task:
    return backend.SaveTask(record_pb2.Task(id=backend.GetNextTaskID(), title="Fix the login"))


@pytest.fixture
def run(backend: Backend, task: record_pb2.Task) -> record_pb2.Run:
    workflow = backend.SaveWorkflow("implement", phases=[{"name": "spec"}, {"name": "implement"}])
    return backend.SaveWorkflowRun(id=backend.GetNextWorkflowRunID(), workflow=workflow.id, task_id=task.id)


def test_each_operation_of_the_interface_is_one_call() -> None:
    named = [name for names in INTERFACE.values() for name in names.split()]
    assert sorted(named) == sorted(name for name in vars(Backend) if name[0].isupper())
    for name in named:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(getattr(Backend, name)))).body
        assert isinstance(function, ast.FunctionDef) and len(function.body) == 1, f"{name} is more than one call"


def test_every_operation_is_used_here() -> None:
    source = Path(__file__).read_text()
    unused = [name for names in INTERFACE.values() for name in names.split() if f"backend.{name}(" not in source]
    assert unused == []


# --- Task ---


def test_tasks(backend: Backend) -> None:
    assert [backend.GetNextTaskID() for _ in range(2)] == ["TASK-001", "TASK-002"]
    first = backend.SaveTask(record_pb2.Task(id="TASK-001", title="First"))
    second = backend.SaveTask(record_pb2.Task(id="TASK-002", title="Second", status="planned", blocked_by=["TASK-001"]))
    assert backend.LoadTask("TASK-002") == second
    assert [(each.id, list(each.blocked_by)) for each in backend.LoadAllTasks()] == [("TASK-001", []), ("TASK-002", ["TASK-001"])]
    first.title = "First, renamed"
    assert backend.SaveTask(first).title == "First, renamed"
    with pytest.raises(holdfast.VersionMismatch):  # `first` is older than what was just saved
        backend.SaveTask(first)
    assert backend.TaskExists("TASK-001") and not backend.TaskExists("TASK-003")
    backend.DeleteTask("TASK-002")
    assert not backend.TaskExists("TASK-002")
    with pytest.raises(holdfast.NotFound):
        backend.LoadTask("TASK-002")
    assert backend.GetNextTaskID() == "TASK-003", "an id must not be given twice"


def test_a_task_is_saved_with_its_dependencies_or_not_at_all(backend: Backend) -> None:
    for id in ("TASK-A", "TASK-B"):
        backend.SaveTask(record_pb2.Task(id=id, title=id))
    saved = backend.SaveTask(record_pb2.Task(id="TASK-C", title="before", blocked_by=["TASK-A", "TASK-B"]))
    with pytest.raises(holdfast.ParentNotFound):
        backend.SaveTask(record_pb2.Task(id="TASK-C", title="after", blocked_by=["TASK-A", "TASK-404"]))
    assert backend.LoadTask("TASK-C") == saved
    with pytest.raises(holdfast.FailedPrecondition) as refused:
        backend.SaveTask(record_pb2.Task(id="TASK-A", title="after", blocked_by=["TASK-C"]))
    assert refused.value.reason == "DEPENDENCY_CYCLE"
    assert (backend.LoadTask("TASK-A").title, list(backend.LoadTask("TASK-A").blocked_by)) == ("TASK-A", [])
    replaced = backend.SaveTask(record_pb2.Task(id="TASK-C", title="after", blocked_by=["TASK-B"]))
    assert list(replaced.blocked_by) == ["TASK-B"]


def test_ready_and_blocked(backend: Backend) -> None:
    first = backend.SaveTask(record_pb2.Task(id=backend.GetNextTaskID(), title="First"))
    second = backend.SaveTask(record_pb2.Task(id=backend.GetNextTaskID(), title="Second", blocked_by=[first.id]))
    store = backend.store
    assert [[each.id for each in found] for found in (store.tasks.ready(), store.tasks.blocked())] == [[first.id], [second.id]]
    store.tasks.update(first.id, status="finished")
    assert second.id in [each.id for each in store.tasks.ready()] and list(store.tasks.blocked()) == []


# --- State ---


def test_states(backend: Backend, task: record_pb2.Task) -> None:
    began = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    backend.SaveState(
        task.id,
        status="running",
        current_phase="implement",
        phases=[
            {"phase": "spec", "status": "completed", "iterations": 2, "start_time": began},
            {"phase": "implement", "status": "running"},
        ],
        gates=[{"phase": "spec", "gate_type": "human", "approved": True, "actor": "ann", "reason": "clear"}],
        retries=1,
        start_time=began,
    )
    loaded = backend.LoadState(task.id)
    assert (loaded.message.status, loaded.message.current_phase, loaded.message.retries) == ("running", "implement", 1)
    assert [(each.phase, each.status) for each in loaded.message.phases] == [("spec", "completed"), ("implement", "running")]
    assert [(each.phase, each.approved, each.actor) for each in loaded.gates] == [("spec", True, "ann")]
    backend.SaveState(task.id, status="failed", error="it did not compile")
    again = backend.LoadState(task.id)
    assert (again.message.status, again.message.error, again.message.current_phase) == (
        "failed",
        "it did not compile",
        "implement",
    )
    other = backend.SaveTask(record_pb2.Task(id=backend.GetNextTaskID(), title="Other"))
    backend.SaveState(other.id, status="paused")
    everything = backend.LoadAllStates()
    assert {id: state.message.status for id, state in everything.items()} == {task.id: "failed", other.id: "paused"}
    assert [gate.approved for gate in everything[task.id].gates] == [True]
    with pytest.raises(holdfast.NotFound):
        backend.LoadState("TASK-404")


def test_a_state_is_saved_with_its_gates_or_not_at_all(backend: Backend, task: record_pb2.Task) -> None:
    backend.SaveState(task.id, status="running", gates=[{"phase": "spec", "approved": True}])
    with pytest.raises(holdfast.InvalidArgument):
        backend.SaveState(task.id, status="completed", gates=[{"phase": "implement"}, {"reason": "no phase"}])
    state = backend.LoadState(task.id)
    assert (state.message.status, [each.phase for each in state.gates]) == ("running", ["spec"])


def test_the_state_is_not_the_tasks_status(backend: Backend, task: record_pb2.Task) -> None:
    """`SaveState` updates the engine's state, `SaveTask` the status that people see; the two have different values."""
    for status in ("pending", "running", "completed", "failed", "paused", "interrupted", "skipped"):
        backend.SaveState(task.id, status=status)
        assert backend.LoadState(task.id).message.status == status
    assert backend.LoadTask(task.id) == task, "saving the state must not change the task"
    statuses = "created classifying planned running paused blocked finalizing completed finished failed"
    for status in statuses.split():
        task.status = status
        task = backend.SaveTask(task)
        assert task.status == status
    assert backend.LoadState(task.id).message.status == "skipped"
    with pytest.raises(holdfast.InvalidArgument):
        backend.SaveState(task.id, status="finalizing")
    with pytest.raises(holdfast.InvalidArgument):
        backend.SaveTask(record_pb2.Task(id=task.id, title="t", status="interrupted"))


def test_all_states_at_once(backend: Backend) -> None:
    with backend.store.transaction() as step:
        for number in range(60):
            task_id = f"TASK-{number:03}"
            step.tasks.create(id=task_id, title=task_id)
            step.task_states.create(task_id=task_id, status="running", phases=[{"phase": "a"}, {"phase": "b"}])
            step.gate_decisions.create(task_id=task_id, phase="a", approved=number % 2 == 0)
    states = backend.LoadAllStates()
    assert list(states) == [f"TASK-{number:03}" for number in range(60)]
    assert all([each.phase for each in state.message.phases] == ["a", "b"] for state in states.values())
    assert [state.gates[0].approved for state in states.values()] == [number % 2 == 0 for number in range(60)]


# --- Phase Output, Spec ---


def test_phase_outputs(backend: Backend, task: record_pb2.Task, run: record_pb2.Run) -> None:
    backend.SavePhaseOutput(run_id=run.id, task_id=task.id, phase="spec", variable="SPEC", content="first")
    backend.SavePhaseOutput(run_id=run.id, task_id=task.id, phase="implement", content="done")
    again = backend.SavePhaseOutput(run_id=run.id, task_id=task.id, phase="spec", variable="SPEC", content="second")
    assert again.version == 2, "saving a phase's output again must update it"
    assert backend.GetPhaseOutput(run.id, "spec").content == "second"
    assert backend.GetPhaseOutputByVarName(run.id, "SPEC").id == again.id
    assert [each.phase for each in backend.GetAllPhaseOutputs(run.id)] == ["spec", "implement"]
    assert backend.LoadPhaseOutputsAsMap(run.id) == {"SPEC": "second", "implement": "done"}
    assert {each.phase for each in backend.GetPhaseOutputsForTask(task.id)} == {"spec", "implement"}
    assert backend.PhaseOutputExists(run.id, "implement") and not backend.PhaseOutputExists(run.id, "review")
    backend.DeletePhaseOutput(run.id, "implement")
    assert not backend.PhaseOutputExists(run.id, "implement")
    with pytest.raises(holdfast.NotFound):
        backend.GetPhaseOutput(run.id, "implement")


def test_specs(backend: Backend, task: record_pb2.Task) -> None:
    assert not backend.SpecExistsForTask(task.id)
    assert backend.GetSpecForTask(task.id) is None
    backend.SaveSpecForTask(task.id, "# Login\nas before", "ann")
    backend.SaveSpecForTask(task.id, "# Login\nbut better", "bob")
    assert backend.SpecExistsForTask(task.id)
    assert backend.GetSpecForTask(task.id) == "# Login\nbut better"
    full = backend.GetFullSpecForTask(task.id)
    assert (full.phase, full.task_id, full.source, full.version) == ("spec", task.id, "bob", 2)
    assert [each.id for each in backend.GetPhaseOutputsForTask(task.id)] == [full.id], "a spec must be a phase output"


# --- Initiative, Phase Template, Workflow, Workflow Run ---


def test_initiatives(backend: Backend) -> None:
    assert [backend.GetNextInitiativeID() for _ in range(2)] == ["INIT-001", "INIT-002"]
    backend.SaveInitiative(id="INIT-001", title="Ground work", status="active")
    saved = backend.SaveInitiative(
        id="INIT-002",
        title="One login",
        owner="ann",
        decisions=[{"decision": "OAuth", "rationale": "everybody has it", "actor": "ann"}],
        blocked_by=["INIT-001"],
    )
    task = backend.SaveTask(record_pb2.Task(id=backend.GetNextTaskID(), title="Step", initiative_id="INIT-002"))
    assert backend.LoadInitiative("INIT-002") == saved
    assert [each.decision for each in saved.decisions] == ["OAuth"]
    assert [each.id for each in backend.store.initiatives.tasks("INIT-002")] == [task.id]
    assert [each.id for each in backend.store.initiatives.ready()] == ["INIT-001"]
    with pytest.raises(holdfast.HoldfastError):
        backend.SaveInitiative(id="INIT-002", title="Torn", decisions=[{"decision": "x"}], blocked_by=["INIT-404"])
    assert backend.LoadInitiative("INIT-002") == saved, "a refused save must change none of its tables"
    assert [each.id for each in backend.LoadAllInitiatives()] == ["INIT-001", "INIT-002"]
    backend.DeleteInitiative("INIT-002")
    assert not backend.InitiativeExists("INIT-002") and backend.InitiativeExists("INIT-001")
    assert backend.LoadTask(task.id).initiative_id == "", "its tasks must stay"


def test_a_saved_initiative_has_its_tasks_and_a_task_may_be_in_several(backend: Backend) -> None:
    tasks = [backend.SaveTask(record_pb2.Task(id=backend.GetNextTaskID(), title=title)).id for title in ("a", "b", "c")]
    backend.SaveInitiative(id="INIT-001", title="One", tasks=tasks[::-1], decisions=[{"decision": "go"}])
    backend.SaveInitiative(id="INIT-002", title="Two", tasks=tasks[:1], blocked_by=["INIT-001"])
    loaded = backend.store.initiatives.load_all()
    assert {id: [task.id for task in each.tasks] for id, each in loaded.items()} == {
        "INIT-001": tasks[::-1],
        "INIT-002": tasks[:1],
    }
    with pytest.raises(holdfast.ParentNotFound):
        backend.SaveInitiative(id="INIT-001", title="Torn", tasks=["TASK-404"], decisions=[])
    assert backend.store.initiatives.load("INIT-001") == loaded["INIT-001"], "a refused save must change none of its tables"
    backend.DeleteTask(tasks[0])
    assert [backend.LoadInitiative(id).task_ids for id in ("INIT-001", "INIT-002")] == [[tasks[2], tasks[1]], []]


def test_an_initiative_and_its_tasks_are_one_transaction(backend: Backend) -> None:
    with backend.store.transaction() as step:
        initiative = step.initiatives.create(title="One login", decisions=[{"decision": "OAuth"}])
        step.tasks.create(title="First", initiative_id=initiative.id)
        step.tasks.create(title="Second", initiative_id=initiative.id)
    assert [each.title for each in backend.store.initiatives.tasks(initiative.id)] == ["First", "Second"]
    with pytest.raises(holdfast.ParentNotFound), backend.store.transaction() as step:
        torn = step.initiatives.create(title="Torn")
        step.tasks.create(title="Third", initiative_id=torn.id, blocked_by=["TASK-404"])
    assert [each.title for each in backend.LoadAllInitiatives()] == ["One login"]
    backend.store.initiatives.decide(initiative.id, decision="and passkeys")
    assert [each.decision for each in backend.LoadInitiative(initiative.id).decisions] == ["OAuth", "and passkeys"]


def test_phase_templates(backend: Backend) -> None:
    saved = backend.SavePhaseTemplate(id="implement", name="Implement", prompt="Write {{SPEC}}", max_iterations=3)
    assert backend.GetPhaseTemplate("implement") == saved
    backend.SavePhaseTemplate(id="implement", name="Implement", prompt="Write it well: {{SPEC}}")
    assert backend.GetPhaseTemplate("implement").max_iterations == 3
    backend.SavePhaseTemplate(id="review", name="Review")
    assert [each.id for each in backend.ListPhaseTemplates()] == ["implement", "review"]
    backend.DeletePhaseTemplate("review")
    assert [each.id for each in backend.ListPhaseTemplates()] == ["implement"]


def test_workflows_with_phases_and_variables(backend: Backend) -> None:
    backend.SaveWorkflow("ship", phases=[{"name": "spec"}], variables=[{"name": "BRANCH", "required": True}])
    added = backend.SaveWorkflowPhase("ship", "test", max_iterations=5)
    assert added.id == "ship@2" and added.parent_version == 1
    assert [each.name for each in backend.ListWorkflowPhases("ship", 2)] == ["spec", "test"]
    assert [each.name for each in backend.ListWorkflowPhases("ship", 1)] == ["spec"], "a version must not change"
    assert [each.name for each in backend.DeleteWorkflowPhase("ship", "spec").phases] == ["test"]
    assert backend.SaveWorkflowVariable("ship", "BRANCH", default_value="main").workflow_version == 4
    (variable,) = backend.ListWorkflowVariables("ship", 4)
    assert (variable.name, holdfast.json_value(variable.default_value)) == ("BRANCH", "main")
    assert list(backend.DeleteWorkflowVariable("ship", "BRANCH").variables) == []
    assert backend.GetWorkflow("ship", 1).workflow_version == 1
    assert {each.id for each in backend.ListWorkflows()} == {f"ship@{number}" for number in range(1, 6)}
    backend.DeleteWorkflow("ship", 5)
    assert {each.id for each in backend.ListWorkflows()} == {f"ship@{number}" for number in range(1, 5)}


def test_workflow_runs(backend: Backend, task: record_pb2.Task) -> None:
    workflow = backend.SaveWorkflow("ship", phases=[{"name": "spec"}])
    run_id = backend.GetNextWorkflowRunID()
    assert run_id == "RUN-001"
    backend.SaveWorkflowRun(id=run_id, workflow=workflow.id, task_id=task.id, status="running", inputs={"BRANCH": "main"})
    saved = backend.SaveWorkflowRun(id=run_id, status="completed", outputs={"ok": True})
    loaded = backend.GetWorkflowRun(run_id)
    assert loaded == saved and (loaded.status, loaded.workflow, loaded.task_id) == ("completed", "ship@1", task.id)
    assert holdfast.json_value(loaded.inputs) == {"BRANCH": "main"}
    assert [each.id for each in backend.ListWorkflowRuns()] == [run_id]
    backend.DeleteWorkflowRun(run_id)
    assert backend.ListWorkflowRuns() == []
    assert backend.GetNextWorkflowRunID() == "RUN-002"


# --- Transcript ---


def test_transcripts(backend: Backend, task: record_pb2.Task) -> None:
    said = datetime.datetime(2026, 1, 2, tzinfo=UTC)
    assert backend.AddTranscript(task.id, role="prompt", content="Do it.", phase="implement", iteration=1, time=said) == 1
    roles = ["response", "chunk", "combined", "tool_call"]
    about = {"task_id": task.id, "phase": "implement", "iteration": 2}
    batch = [{**about, "role": role, "content": f"{role}: the token"} for role in roles]
    assert backend.AddTranscriptBatch(batch) == [2, 3, 4, 5]
    found = backend.GetTranscripts(task.id)
    assert [each.transcript.role for each in found] == ["prompt", *roles]
    first = holdfast.plain(found[0])
    assert (first["transcript"]["time"], first["transcript"]["iteration"], first["transcript"]["phase"]) == (said, 1, "implement")
    assert first["create_time"] > said, "the author's time is kept separately from the time of the append"
    hits = backend.SearchTranscripts("token")
    assert [(each.parent_kind, each.parent_id, each.number) for each in hits] == [("task", task.id, n) for n in range(2, 6)]


def test_runs_and_sessions_have_transcripts_too(backend: Backend, task: record_pb2.Task, run: record_pb2.Run) -> None:
    store = backend.store
    session = store.sessions.create(title="s")
    store.transcripts.append(run.id, parent_kind="run", role="combined", content="of the run", task_id=task.id)
    store.transcripts.append(session.id, role="prompt", content="of the session", task_id=task.id)
    backend.AddTranscript(task.id, role="prompt", content="of the task")
    hits = backend.SearchTranscripts("of the")
    assert {(each.parent_kind, each.parent_id) for each in hits} == {("run", run.id), ("session", session.id), ("task", task.id)}


def test_a_batch_of_transcripts_is_atomic_and_an_empty_one_does_nothing(backend: Backend, task: record_pb2.Task) -> None:
    assert backend.AddTranscriptBatch([]) == []
    with pytest.raises(holdfast.InvalidArgument):
        roles = {"good": "prompt", "nobody": ""}
        backend.AddTranscriptBatch([{"task_id": task.id, "role": role, "content": text} for text, role in roles.items()])
    assert backend.GetTranscripts(task.id) == []
    assert list(backend.store.audit.query(kind="transcript")) == [], "neither may change anything"


def test_a_batch_over_several_tasks_is_one_transaction(backend: Backend, task: record_pb2.Task) -> None:
    other = backend.SaveTask(record_pb2.Task(id=backend.GetNextTaskID(), title="Other"))
    batch = [{"task_id": id, "role": "prompt", "content": f"of {id}"} for id in (task.id, other.id)]
    assert backend.AddTranscriptBatch(batch) == [1, 1]
    assert [backend.GetTranscripts(id)[0].content for id in (task.id, other.id)] == [each["content"] for each in batch]
    assert len({backend.GetTranscripts(each.id)[0].revision for each in (task, other)}) == 1
    with pytest.raises(holdfast.ParentNotFound), backend.store.transaction() as step:
        step.transcripts.append(task.id, parent_kind="task", role="prompt", content="three")
        step.transcripts.append("TASK-404", parent_kind="task", role="prompt", content="four")
    assert len(backend.GetTranscripts(task.id)) == 1


# --- Attachment, Comments, Gates ---


def test_attachments(backend: Backend, task: record_pb2.Task) -> None:
    image, text = bytes(range(256)) * 2000, "größer".encode()
    saved = backend.SaveAttachment(task.id, "shot.png", image, "image/png")
    backend.SaveAttachment(task.id, "note.txt", text, "text/plain")
    assert (saved.content_type, saved.content_size_bytes, saved.task_id) == ("image/png", len(image), task.id)
    assert backend.GetAttachment(task.id, "shot.png") == image
    assert {each.name for each in backend.ListAttachments(task.id)} == {"shot.png", "note.txt"}
    backend.SaveAttachment(task.id, "note.txt", text * 2, "text/plain")
    assert backend.GetAttachment(task.id, "note.txt") == text * 2
    assert len(backend.ListAttachments(task.id)) == 2, "a name must be unique"
    backend.DeleteAttachment(task.id, "shot.png")
    assert [each.name for each in backend.ListAttachments(task.id)] == ["note.txt"]
    with pytest.raises(holdfast.NotFound):
        backend.GetAttachment(task.id, "shot.png")


def test_comments(backend: Backend, task: record_pb2.Task) -> None:
    backend.SaveTaskComment(task_id=task.id, author="ann", body="How about tabs?", phase="spec")
    review = backend.SaveReviewComment(
        task_id=task.id, author="bob", body="off by one", file_path="login.py", line=42, severity="major"
    )
    assert [(each.author, each.body) for each in backend.ListTaskComments(task.id)] == [("ann", "How about tabs?")]
    (found,) = backend.ListReviewComments(task.id)
    assert (found.file_path, found.line, found.severity, found.status) == ("login.py", 42, "major", "open")
    backend.store.comments.update(review.id, status="resolved", resolution="fixed", version=review.version)
    assert [each.resolution for each in backend.ListReviewComments(task.id)] == ["fixed"]


def test_gates(backend: Backend, task: record_pb2.Task) -> None:
    decided = datetime.datetime(2026, 5, 6, tzinfo=UTC)
    backend.SaveGateDecision(task_id=task.id, phase="spec", gate_type="ai", approved=False, reason="vague", decide_time=decided)
    backend.SaveGateDecision(task_id=task.id, phase="spec", gate_type="human", approved=True, actor="ann")
    found = backend.ListGateDecisions(task.id)
    assert [(each.gate_type, each.approved) for each in found] == [("ai", False), ("human", True)]
    assert holdfast.plain(found[0])["decide_time"] == decided


# --- Events ---


def test_events(backend: Backend, task: record_pb2.Task) -> None:
    began = datetime.datetime(2026, 5, 6, tzinfo=UTC)
    other = backend.SaveTask(record_pb2.Task(id=backend.GetNextTaskID(), title="Other"))
    assert backend.SaveEvent(task.id, type="phase", phase="spec", source="executor", data={"status": "started"}, time=began) == 1
    ended = began + datetime.timedelta(seconds=90)
    batch = [
        {
            "task_id": task.id,
            "type": "phase",
            "phase": "spec",
            "data": {"status": "completed"},
            "duration_ms": 90_000,
            "time": ended,
        },
        {"task_id": other.id, "type": "error", "message": "no such file", "time": ended},
        {"task_id": task.id, "type": "tokens", "phase": "spec", "iteration": 2, "data": {"input": 12}, "time": ended},
    ]
    assert backend.SaveEvents(batch) == [2, 1, 3]
    found = backend.QueryEvents(task_id=task.id)
    assert [(each.number, each.event.type) for each in found] == [(1, "phase"), (2, "phase"), (3, "tokens")]
    assert len({each.revision for each in found[1:]}) == 1, "a batch must be one commit"
    first, second = (holdfast.plain(each)["event"] for each in found[:2])
    assert (first["source"], first["phase"], first["data"], first["time"]) == ("executor", "spec", {"status": "started"}, began)
    assert second["duration_ms"] == 90_000
    assert [each.number for each in backend.QueryEvents(task_id=task.id, type="phase", descending=True)] == [2, 1]
    assert [each.event.task_id for each in backend.QueryEvents(type=["error", "tokens"], page_size=1)] == [task.id, other.id]
    assert [each.number for each in backend.QueryEvents(task_id=task.id, since=ended)] == [2, 3]
    assert [each.number for each in backend.QueryEvents(task_id=task.id, until=ended)] == [1]
    assert [each.number for each in backend.QueryEvents(task_id=task.id, limit=2, page_size=1)] == [1, 2]
    assert [each.parent_id for each in backend.QueryEvents(filter="data.status = completed OR message:file")] == [
        task.id,
        other.id,
    ]


def test_a_batch_of_events_is_saved_whole_or_not_at_all(backend: Backend, task: record_pb2.Task) -> None:
    assert backend.SaveEvents([]) == []
    good = {"task_id": task.id, "type": "phase"}
    with pytest.raises(holdfast.ParentNotFound):
        backend.SaveEvents([good, {"task_id": "TASK-404", "type": "phase"}])
    with pytest.raises(holdfast.InvalidArgument):
        backend.SaveEvents([good, {"task_id": task.id}])
    assert backend.QueryEvents() == []


# --- Branch, Constitution, Context, Lifecycle ---


def test_branches(backend: Backend, task: record_pb2.Task) -> None:
    old, now = datetime.datetime(2026, 1, 1, tzinfo=UTC), datetime.datetime.now(UTC)
    backend.SaveBranch(name="orc/TASK-001", type="task", owner_id=task.id, base_branch="main", activity_time=old)
    backend.SaveBranch(name="orc/fresh", type="task", activity_time=now)
    backend.SaveBranch(name="orc/merged", type="task", activity_time=old)
    assert backend.LoadBranch("orc/TASK-001").owner_id == task.id
    assert backend.UpdateBranchStatus("orc/merged", "merged").status == "merged"
    assert {each.name for each in backend.ListBranches("active")} == {"orc/TASK-001", "orc/fresh"}
    before = now - datetime.timedelta(days=30)
    assert [each.name for each in backend.GetStaleBranches(before)] == ["orc/TASK-001"]
    assert holdfast.plain(backend.UpdateBranchActivity("orc/TASK-001"))["activity_time"] > old
    assert backend.GetStaleBranches(before) == []
    backend.DeleteBranch("orc/merged")
    assert backend.ListBranches("merged") == []


def test_the_constitution(backend: Backend) -> None:
    assert not backend.ConstitutionExists()
    backend.SaveConstitution("Be kind.")
    assert backend.SaveConstitution("Be kind and brief.").version == 2
    assert backend.LoadConstitution().content == "Be kind and brief."
    assert backend.ConstitutionExists()
    backend.DeleteConstitution()
    assert not backend.ConstitutionExists()
    with pytest.raises(holdfast.NotFound):
        backend.LoadConstitution()


def test_context_is_materialized(backend: Backend, tmp_path: Path) -> None:
    backend.SaveConstitution("Be kind.")
    backend.SaveInitiative(id="INIT-001", title="One login", decisions=[{"decision": "OAuth", "rationale": "everybody has it"}])
    task = backend.SaveTask(record_pb2.Task(id="TASK-001", title="Login", initiative_id="INIT-001"))
    backend.SaveSpecForTask(task.id, "# The spec", "ann")
    backend.SaveAttachment(task.id, "shot.png", b"\x89PNG", "image/png")
    target = tmp_path / "context"
    assert backend.NeedsMaterialization(task.id, target)
    backend.MaterializeContext(task.id, target)
    assert not backend.NeedsMaterialization(task.id, target)
    files = {each.relative_to(target).as_posix(): each.read_bytes() for each in target.rglob("*") if each.is_file()}
    assert json.loads(files.pop("manifest.json"))
    assert files["constitution.md"] == b"Be kind." and files["spec.md"] == b"# The spec"
    assert b"\x89PNG" in files.values() and any(b"OAuth" in content for content in files.values())
    backend.SaveSpecForTask(task.id, "# The better spec", "ann")
    assert backend.NeedsMaterialization(task.id, target)
    backend.MaterializeContext(task.id, target)
    assert (target / "spec.md").read_text() == "# The better spec"
    backend.DeleteAttachment(task.id, "shot.png")
    assert backend.NeedsMaterialization(task.id, target)
    backend.MaterializeContext(task.id, target)
    assert b"\x89PNG" not in {each.read_bytes() for each in target.rglob("*") if each.is_file()}
    (target / "constitution.md").unlink()
    assert backend.NeedsMaterialization(task.id, target), "a removed file must be noticed"


def test_deleting_a_task_deletes_its_dependents(backend: Backend, task: record_pb2.Task, run: record_pb2.Run) -> None:
    backend.SaveState(task.id, status="running", gates=[{"phase": "spec", "approved": True}])
    backend.SaveTaskComment(task_id=task.id, body="…")
    backend.SaveAttachment(task.id, "a.txt", b"a", "text/plain")
    backend.SavePhaseOutput(run_id=run.id, task_id=task.id, phase="spec", content="…")
    backend.AddTranscript(task.id, role="prompt", content="…")
    backend.SaveEvent(task.id, type="phase")
    waiting = backend.SaveTask(record_pb2.Task(id=backend.GetNextTaskID(), title="Waits", blocked_by=[task.id]))
    with pytest.raises(holdfast.HasDependents):
        backend.store.tasks.delete(task.id)
    backend.DeleteTask(task.id)
    assert backend.LoadAllStates() == {}
    assert backend.QueryEvents() == []
    store = backend.store
    for left in (store.comments, store.gate_decisions, store.artifacts, store.phase_outputs, store.runs):
        assert left.count() == 0
    assert list(backend.LoadTask(waiting.id).blocked_by) == []
    assert [each.action for each in store.audit.of("run", run.id)] == ["insert", "delete"], "each change must be recorded"


def test_lifecycle(backend: Backend, task: record_pb2.Task) -> None:
    writer = backend.store.transcripts.writer(task.id, parent_kind="task")
    for number in range(50):
        writer.write(role="chunk", content=str(number))
    backend.Sync()
    assert writer.acknowledged == 50
    writer.close()
    assert backend.Cleanup().keys() >= {"blobs_deleted", "files_deleted"}
    backend.Close()
    with pytest.raises(holdfast.Closed):
        backend.LoadTask(task.id)
