"""Fixtures of the scenarios: daemons in a directory of the test, and a check of the whole store."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import holdfast
from tests.end_to_end.conftest import directory as directory
from tests.scenarios import orchestrator_model as model
from tests.scenarios.orchestrator import Backend


@pytest.fixture
def sound() -> Callable[[holdfast.Store], None]:
    """Checks that a store's rows and files agree, reading all contents."""

    def check(store: holdfast.Store) -> None:
        frames = list(store.verify(read_blobs=True))
        assert [problem.reason for frame in frames for problem in frame.problems] == []
        assert frames[-1].finished

    return check


@pytest.fixture
def backend(store: holdfast.Store) -> Backend:
    return Backend(store)


@pytest.fixture
def task(backend: Backend) -> model.Task:
    """A task of the orchestrator, as it is stored."""
    task = model.Task(id=backend.GetNextTaskID(), title="Fix the login")
    backend.SaveTask(task)
    return backend.LoadTask(task.id)


@pytest.fixture
def run(backend: Backend, task: model.Task) -> model.WorkflowRun:
    """A run of that task."""
    phases = [model.WorkflowPhase("spec"), model.WorkflowPhase("implement")]
    backend.SaveWorkflow(model.Workflow("implement", phases=phases))
    run = model.WorkflowRun(backend.GetNextWorkflowRunID(), "implement", task.id)
    backend.SaveWorkflowRun(run)
    return run
