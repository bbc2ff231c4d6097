"""The orchestrator of the fourth seed, continued: initiatives, phase templates, workflows and their runs."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

import holdfast
from tests.scenarios.orchestrator import Backend
from tests.scenarios.orchestrator_model import (
    Decision,
    Initiative,
    PhaseTemplate,
    Task,
    TaskRef,
    Workflow,
    WorkflowPhase,
    WorkflowRun,
    WorkflowVariable,
)
from tests.scenarios.test_orchestrator import BEGAN, NESTED, saved_task


def test_an_initiative_comes_back_with_decisions_tasks_and_dependencies(backend: Backend) -> None:
    assert [backend.GetNextInitiativeID() for _ in range(2)] == ["INIT-001", "INIT-002"]
    refs = [TaskRef(each.id, each.title, each.status) for each in (saved_task(backend, title) for title in "cab")]
    ground = Initiative("INIT-001", "Ground work", status="active", tasks=refs[:1])
    login = Initiative(
        "INIT-002",
        "Ein Login",
        vision="überall\n",
        owner="ann",
        decisions=[Decision("OAuth", "everybody has it", "ann", BEGAN), Decision("and passkeys")],
        tasks=refs[::-1],
        blocked_by=["INIT-001"],
        metadata=NESTED,
    )
    for initiative in (ground, login, login):
        backend.SaveInitiative(initiative)
    assert backend.LoadAllInitiatives() == [ground, login], "the first task is in both"
    backend.SaveInitiative(backend.LoadInitiative("INIT-002"))
    assert backend.LoadInitiative("INIT-002") == login
    for torn in ({"tasks": [TaskRef("TASK-404", "")]}, {"blocked_by": ["INIT-404"]}, {"decisions": [Decision("")]}):
        with pytest.raises(holdfast.HoldfastError):
            backend.SaveInitiative(dataclasses.replace(login, title="Torn", **torn))  # type: ignore[arg-type]
    assert backend.LoadInitiative("INIT-002") == login, "a refused save must change none of its tables"
    backend.DeleteTask(refs[0].id)
    assert backend.LoadAllInitiatives() == [
        dataclasses.replace(ground, tasks=[]),
        dataclasses.replace(login, tasks=refs[:0:-1]),
    ]
    backend.DeleteInitiative("INIT-001")
    assert backend.InitiativeExists("INIT-002") and not backend.InitiativeExists("INIT-001")
    assert backend.LoadInitiative("INIT-002").blocked_by == [] and backend.TaskExists(refs[1].id)
    with pytest.raises(holdfast.NotFound):
        backend.LoadInitiative("INIT-001")


def test_a_task_names_its_initiative(backend: Backend) -> None:
    backend.SaveInitiative(Initiative("INIT-001", "One login"))
    task = saved_task(backend, "Step", initiative_id="INIT-001")
    assert backend.LoadInitiative("INIT-001").tasks == [TaskRef(task.id, "Step")]
    assert [each.id for each in backend.store.initiatives.tasks("INIT-001")] == [task.id]
    backend.store.initiatives.decide("INIT-001", decision="OAuth", time=BEGAN, actor="ann")
    assert backend.LoadInitiative("INIT-001").decisions == [Decision("OAuth", "", "ann", BEGAN)]
    backend.DeleteInitiative("INIT-001")
    assert backend.LoadTask(task.id) == dataclasses.replace(task, initiative_id="")


def test_an_initiative_and_its_tasks_are_one_transaction(backend: Backend) -> None:
    with backend.store.transaction() as step:
        initiative = step.initiatives.create(title="One login", decisions=[{"decision": "OAuth"}])
        step.tasks.create(title="First", initiative_id=initiative.id)
        step.tasks.create(title="Second", initiative_id=initiative.id)
    with pytest.raises(holdfast.ParentNotFound), backend.store.transaction() as step:
        torn = step.initiatives.create(title="Torn")
        step.tasks.create(title="Third", initiative_id=torn.id, blocked_by=["TASK-404"])
    (loaded,) = backend.LoadAllInitiatives()
    assert (loaded.title, [each.title for each in loaded.tasks]) == ("One login", ["First", "Second"])


def test_phase_templates(backend: Backend) -> None:
    implement = PhaseTemplate("implement", "Implement it", "d", "Write {{SPEC}}\n", "coder", "human", 3, NESTED)
    review = PhaseTemplate("review", "Review")
    for template in (implement, review, implement):
        backend.SavePhaseTemplate(template)
    assert backend.ListPhaseTemplates() == [implement, review]
    backend.SavePhaseTemplate(backend.GetPhaseTemplate("implement"))
    assert backend.GetPhaseTemplate("implement") == implement
    backend.DeletePhaseTemplate("review")
    assert backend.ListPhaseTemplates() == [implement]
    with pytest.raises(holdfast.NotFound):
        backend.GetPhaseTemplate("review")


def test_a_workflow_comes_back_with_phases_and_variables(backend: Backend) -> None:
    ship = Workflow(
        "ship",
        "Schiff",
        "d",
        phases=[WorkflowPhase("a spec", "spec", "human", 2, NESTED), WorkflowPhase("build")],
        variables=[
            WorkflowVariable("BRANCH", "of the code", "string", True, "main"),
            WorkflowVariable("LIMITS", default_value=NESTED),
        ],
        metadata=NESTED,
    )
    other = Workflow("other")
    for workflow in (ship, other, ship):
        backend.SaveWorkflow(workflow)
    assert backend.ListWorkflows() == [ship, other]
    backend.SaveWorkflow(backend.GetWorkflow("ship"))
    assert backend.GetWorkflow("ship") == ship
    assert len(list(backend.store.workflows.versions("ship"))) == 1, "what is saved again must not make a version"
    changed = dataclasses.replace(ship, name="Ship", phases=ship.phases[:1])
    backend.SaveWorkflow(changed)
    assert backend.GetWorkflow("ship") == changed
    backend.DeleteWorkflow("ship")
    assert backend.ListWorkflows() == [other]
    for missing in (backend.GetWorkflow, backend.DeleteWorkflow):
        with pytest.raises(holdfast.NotFound):
            missing("ship")


def test_phases_and_variables_of_a_workflow_are_saved_one_by_one(backend: Backend) -> None:
    backend.SaveWorkflow(Workflow("ship", phases=[WorkflowPhase("spec")], variables=[WorkflowVariable("BRANCH")]))
    build, limits = WorkflowPhase("build it", "build", "ai", 5, NESTED), WorkflowVariable("LIMITS", default_value=[1, None])
    for _ in range(2):
        backend.SaveWorkflowPhase("ship", build)
        backend.SaveWorkflowVariable("ship", limits)
    assert backend.ListWorkflowPhases("ship") == [WorkflowPhase("spec"), build]
    assert backend.ListWorkflowVariables("ship") == [WorkflowVariable("BRANCH"), limits]
    backend.SaveWorkflowPhase("ship", dataclasses.replace(build, settings=None))
    backend.DeleteWorkflowPhase("ship", "spec")
    backend.DeleteWorkflowVariable("ship", "BRANCH")
    assert backend.GetWorkflow("ship") == Workflow("ship", phases=[dataclasses.replace(build, settings=None)], variables=[limits])
    with pytest.raises(holdfast.NotFound):
        backend.DeleteWorkflowPhase("ship", "spec")


def test_workflow_runs(backend: Backend, task: Task) -> None:
    backend.SaveWorkflow(Workflow("ship", phases=[WorkflowPhase("spec")]))
    assert backend.GetNextWorkflowRunID() == "RUN-001"
    run = WorkflowRun("RUN-001", "ship", task.id, "running", "spec", inputs=NESTED, started_at=BEGAN)
    bare = WorkflowRun("RUN-002", "ship")
    for each in (run, bare, run):
        backend.SaveWorkflowRun(each)
    assert backend.ListWorkflowRuns() == [run, bare]
    backend.SaveWorkflowPhase("ship", WorkflowPhase("build"))  # the runs go on with the definition that they began with
    done = dataclasses.replace(run, status="completed", outputs=[1, "ü"], completed_at=BEGAN + datetime.timedelta(days=1))
    backend.SaveWorkflowRun(done)
    backend.SaveWorkflowRun(backend.GetWorkflowRun("RUN-001"))
    assert backend.GetWorkflowRun("RUN-001") == done
    with pytest.raises(holdfast.HasDependents):
        backend.DeleteWorkflow("ship")
    backend.DeleteWorkflowRun("RUN-001")
    assert backend.ListWorkflowRuns() == [bare]
    with pytest.raises(holdfast.NotFound):
        backend.GetWorkflowRun("RUN-001")
