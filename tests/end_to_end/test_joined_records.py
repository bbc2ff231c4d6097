"""What `states.load` and `initiatives.load` return is read like the view of the record; a state is found for every task."""

from __future__ import annotations

import copy
import json
import pickle
from typing import get_type_hints

import pytest

import holdfast
from holdfast.contract.kinds import KINDS
from holdfast.domain.joined import InitiativeFields, TaskStateFields
from holdfast.errors import NotFound
from holdfast.values import views


@pytest.fixture
def task(store: holdfast.Store) -> views.Task:
    return store.tasks.create(title="Fix the login")


def test_a_state_is_read_like_its_view(store: holdfast.Store, task: views.Task) -> None:
    store.states.save(task.id, status="running", phases=[{"phase": "spec"}], metadata={"a": [1]}, gates=[{"phase": "spec"}])
    for state in (store.states.load(task.id), store.states.load_all()[task.id]):
        assert (state.status, state.version, state.task_id, state.metadata) == ("running", 1, task.id, {"a": [1]})
        assert [each.phase for each in state.phases] == ["spec"] and state.phases is state.message.phases
        shown = holdfast.plain(state)
        assert shown == dict(state) == {**holdfast.plain(state.message), "gates": [holdfast.plain(each) for each in state.gates]}
        assert state["status"] == "running" and state["gates"][0]["phase"] == "spec"
        html = state._repr_html_()
        assert "<caption>State</caption>" in html and "running" in html and "GateDecision" in html
        assert state.time_ns("create_time") == state.message.time_ns("create_time")
        with pytest.raises(AttributeError, match=r"has no field 'stats'\. Did you mean status"):
            state.stats  # type: ignore[attr-defined]  # noqa: B018
        with pytest.raises(KeyError):
            state["stats"]


def test_an_initiative_with_tasks_is_read_like_its_view(store: holdfast.Store, task: views.Task) -> None:
    made = store.initiatives.create(title="Larger", owner="ann", tasks=[task])
    found = store.initiatives.load(made.id)
    assert (found.id, found.title, found.owner, found.task_ids) == (made.id, "Larger", "ann", [task.id])
    assert holdfast.plain(found) == {**holdfast.plain(made), "tasks": [holdfast.plain(task)]}
    assert "Larger" in found._repr_html_() and json.dumps(holdfast.plain(found), default=str)


def test_a_state_is_copied_and_pickled(store: holdfast.Store, task: views.Task) -> None:
    state = store.states.save(task.id, status="running", gates=[{"phase": "spec"}])
    for again in (copy.copy(state), copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert again == state and again.status == "running"


def test_a_state_is_saved_from_its_view(store: holdfast.Store, task: views.Task) -> None:
    first = store.states.save(task.id, status="running", gates=[{"phase": "spec"}])
    view = store.task_states.get(task.id)
    view.status = "completed"
    saved = store.states.save(view)
    assert (saved.status, saved.version, saved.gates) == ("completed", 2, first.gates)
    with pytest.raises(holdfast.VersionMismatch):
        store.states.save(view)
    with store.transaction() as tx:
        assert tx.states.save(saved.message, error="late").error == "late"
    made = store.tasks.create(title="another")
    assert store.states.save(views.TaskState(task_id=made.id, status="paused")).status == "paused"


@pytest.mark.parametrize(("fields", "kind"), [(TaskStateFields, "task_state"), (InitiativeFields, "initiative")])
def test_type_checkers_know_every_field(fields: type, kind: str) -> None:
    assert set(fields.__annotations__) == {each.name for each in KINDS[kind].fields}
    assert get_type_hints(fields)["version"] is int


def test_a_task_without_a_stored_state_has_one_if_asked(store: holdfast.Store, task: views.Task) -> None:
    store.gate_decisions.create(task_id=task.id, phase="spec")
    with pytest.raises(NotFound):
        store.states.load(task.id)
    found = store.states.load(task.id, every_task=True)
    assert found == store.states.load_all(every_task=True)[task.id]
    assert (found.status, found.version, [each.phase for each in found.gates]) == ("pending", 0, ["spec"])
    found.message.status = "running"
    assert store.states.save(found) == store.states.load(task.id) == store.states.load(task.id, every_task=True)
    with pytest.raises(NotFound):
        store.states.load("TASK-999", every_task=True)
