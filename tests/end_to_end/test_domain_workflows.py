"""Versions of workflows, their runs, and the logs of the runs, over a real daemon."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

import holdfast
from holdfast.v1 import record_pb2
from holdfast.values import views
from tests.end_to_end.test_domain_work import at_once

PHASES = [{"name": "plan"}, {"name": "build", "settings": {"model": "large", "tries": 3}}]
VARIABLES = [{"name": "PLAN", "required": True}]


@pytest.fixture
def shipped(store: holdfast.Store) -> record_pb2.Workflow:
    return store.workflows.store("ship", name="Ship it", phases=PHASES, variables=VARIABLES, definition={"b": 1, "a": [1.0]})


def numbers(found: Any) -> list[int]:
    return [each.workflow_version for each in found]


def test_storing_what_the_latest_says_adds_nothing(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    assert (shipped.id, shipped.workflow_version, shipped.parent_version) == ("ship@1", 1, 0)
    same = {"name": "Ship it", "phases": PHASES, "variables": VARIABLES, "definition": {"a": [1.0], "b": 1}}
    before = store.revision
    assert store.workflows.store("ship", **same) == shipped == store.workflows.store("ship", shipped)
    assert store.revision == before
    other = store.workflows.store("ship", **{**same, "definition": {"a": [1], "b": True}})
    assert (other.workflow_version, other.parent_version) == (2, 1), "1, 1.0 and true are different JSON values"
    assert store.workflows.store("ship", name="Ship it").workflow_version == 3, "every field counts in the comparison"
    assert store.workflows.get("ship", 1) == store.workflows.get("ship@1") == shipped


def test_save_is_store(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    said = {"name": "Ship it", "phases": PHASES, "variables": VARIABLES, "definition": {"b": 1, "a": [1.0]}}
    assert store.workflows.save(workflow_id="ship", **said) == shipped == store.workflows.save(shipped)
    second = store.workflows.save(workflow_id="ship", name="Second")
    assert (second.id, second.parent_version) == ("ship@2", 1)
    again = store.workflows.save(shipped)
    assert (again.id, again.parent_version, again.name) == ("ship@3", 1, "Ship it"), "a message is stored under the next number"
    assert store.workflows.save(shipped, name="Aside", parent_version=1).parent_version == 1
    assert store.workflows.create(workflow_id="ship", name="Aside").workflow_version == 5, "create is a plain insert"
    with pytest.raises(TypeError, match="name the workflow"):
        store.workflows.save(name="Nameless")
    with pytest.raises(holdfast.AlreadyExists):
        store.workflows.create(shipped)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_the_parent_is_the_version_that_was_read(
    store: holdfast.Store, shipped: record_pb2.Workflow, in_transaction: bool
) -> None:
    second = store.workflows.store("ship", name="Second")
    third = store.workflows.store("ship", name="Third")
    second.description, third.description = "of the second", "of the third"
    with store.transaction() as tx:
        workflows = tx.workflows if in_transaction else store.workflows
        fourth = workflows.store("ship", second)
        fifth = workflows.store("ship", third.message)
        assert (fourth.workflow_version, fourth.parent_version, fifth.parent_version) == (4, 2, 3)
        fourth.description = "of the fourth"
        assert workflows.save(fourth).parent_version == 4
        assert workflows.store("ship", third, name="Aside", parent_version=1).parent_version == 1
        assert workflows.store("send", third).parent_version == 0, "versions of another workflow are no parents"
    latest = store.workflows.latest("ship")
    assert store.workflows.store("ship", latest) == latest, "nothing changed, so nothing is added"


def test_a_made_view_may_name_its_parent(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    store.workflows.store("ship", name="Second")
    made = views.Workflow(workflow_id="ship", name="Made", parent_version=1)
    assert store.workflows.save(made).parent_version == 1
    with pytest.raises(holdfast.ParentNotFound):
        store.workflows.save(record_pb2.Workflow(workflow_id="ship", name="Made", parent_version=99))


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_version_that_was_deleted_since_it_was_read_is_no_parent(
    store: holdfast.Store, shipped: record_pb2.Workflow, in_transaction: bool
) -> None:
    second, _ = store.workflows.store("ship", name="Second"), store.workflows.store("ship", name="Third", parent_version=1)
    with store.transaction() as tx:
        workflows = tx.workflows if in_transaction else store.workflows
        workflows.delete("ship", 2)
        assert workflows.store("ship", second, name="Fourth").parent_version == 3
    elsewhere = store.in_workspace(store.workspace + "-other")
    assert elsewhere.workflows.save(second).parent_version == 0, "the other workspace has no such version"


@pytest.mark.parametrize("field", ["id", "version", "create_time", "update_time", "workflow_version"])
def test_what_the_store_makes_is_refused_as_a_keyword(store: holdfast.Store, shipped: record_pb2.Workflow, field: str) -> None:
    value = getattr(shipped, field)
    for write in (store.workflows.store, store.transaction().workflows.store):
        with pytest.raises(holdfast.InvalidArgument, match=f"workflow.{field} is set by the store. Leave it out") as caught:
            write("ship", name="Second", **{field: value})
        assert (caught.value.reason, caught.value.metadata["field"]) == ("OUTPUT_ONLY", field)
    assert numbers(store.workflows.versions("ship")) == [1]


@pytest.mark.parametrize("parent", [2, 3, 99, -1], ids=["its own number", "the one after", "far off", "negative"])
def test_a_missing_parent_version_is_refused(store: holdfast.Store, shipped: record_pb2.Workflow, parent: int) -> None:
    with pytest.raises(holdfast.ParentNotFound, match=f"names version {parent} of workflow ship, which does not exist"):
        store.workflows.store("ship", name="Second", parent_version=parent)
    with pytest.raises(holdfast.ParentNotFound):
        store.workflows.create(workflow_id="ship", name="Second", parent_version=parent)
    with pytest.raises(holdfast.ParentNotFound), store.transaction() as tx:
        tx.workflows.create(workflow_id="ship", name="Second", parent_version=parent)
    assert numbers(store.workflows.versions("ship")) == [1]
    store.workflows.store("send", name="No parent", parent_version=0)
    assert store.workflows.store("ship", name="Second", parent_version=0).parent_version == 0


def test_a_deleted_version_is_no_parent(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    store.workflows.store("ship", name="Second")
    store.workflows.delete("ship", 2)
    with pytest.raises(holdfast.ParentNotFound):
        store.workflows.store("ship", name="Third", parent_version=2)


def test_versions_are_explicit(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    store.workflows.store("ship", name="Second")
    store.workflows.store("send", name="Another workflow")
    assert store.workflows.latest("ship").name == "Second"
    assert numbers(store.workflows.versions("ship")) == [1, 2]
    assert [each.id for each in store.workflows.list()] == ["ship@1", "ship@2", "send@1"]
    assert store.workflows.exists("ship", 2) and not store.workflows.exists("ship", 3)
    with pytest.raises(holdfast.NotFound):
        store.workflows.get("ship")
    with pytest.raises(holdfast.NotFound):
        store.workflows.latest("shop")
    with pytest.raises(holdfast.InvalidArgument):
        store.workflows.update(shipped.id, name="Changed after all")


def test_the_lineage_leads_to_the_first(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    store.workflows.store("ship", name="Second")
    store.workflows.store("ship", name="Third")
    branched = store.workflows.store("ship", name="Fourth", parent_version=2)
    assert numbers(store.workflows.lineage("ship", branched.workflow_version)) == [4, 2, 1]
    store.workflows.delete("ship", 2, cascade=True)
    assert numbers(store.workflows.lineage("ship", 4)) == [4]
    assert store.workflows.store("ship", name="Fifth").workflow_version == 5
    store.workflows.delete("ship", 5)
    assert store.workflows.store("ship", name="Sixth").workflow_version == 6, "a number must not be given twice"
    with pytest.raises(holdfast.NotFound):
        store.workflows.lineage("ship", 5)


def test_the_difference_of_two_versions(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    store.workflows.store(
        "ship",
        name="Ship it now",
        phases=[{"name": "build", "settings": {"model": "small", "tries": 3}}, {"name": "plan"}, {"name": "test"}],
        definition={"a": [1], "b": 1},
    )
    found = store.workflows.diff("ship", 1, 2)
    assert {name: (each.before, each.after) for name, each in found.fields.items()} == {
        "name": ("Ship it", "Ship it now"),
        "definition": ({"a": [1.0], "b": 1}, {"a": [1], "b": 1}),
    }
    assert list(found.phases.added) == ["test"] and found.phases.removed == {} and found.phases.reordered
    (change,) = found.phases.changed["build"].values()
    assert (change.before["model"], change.after["model"]) == ("large", "small") and list(found.phases.changed) == ["build"]
    assert list(found.variables.removed) == ["PLAN"] and found.variables.removed["PLAN"]["required"] is True
    assert found and not store.workflows.diff("ship", 2, 2)


def test_phases_and_variables_derive_the_next_version(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    changed = store.workflows.set_phase("ship", "build", gate_type="human")
    assert (changed.workflow_version, changed.parent_version) == (2, 1)
    assert [(each.name, each.gate_type) for each in store.workflows.phases("ship")] == [("plan", ""), ("build", "human")]
    assert holdfast.json_value(changed.phases[1].settings) == PHASES[1]["settings"]
    assert store.workflows.set_phase("ship", "build", gate_type="human") == changed, "an equal phase must make no version"
    assert [each.name for each in store.workflows.set_phase("ship", "test", max_iterations=3).phases] == ["plan", "build", "test"]
    assert [each.name for each in store.workflows.remove_phase("ship", "plan").phases] == ["build", "test"]
    store.workflows.set_variable("ship", "GOAL", type="text", default_value={"x": None})
    assert [each.name for each in store.workflows.remove_variable("ship", "PLAN").variables] == ["GOAL"]
    assert [each.name for each in store.workflows.variables("ship", 1)] == ["PLAN"]
    assert numbers(store.workflows.lineage("ship", 6)) == [6, 5, 4, 3, 2, 1]
    with pytest.raises(holdfast.NotFound, match="no phase 'none'"):
        store.workflows.remove_phase("ship", "none")
    with pytest.raises(TypeError, match="has no field 'colour'"):
        store.workflows.set_phase("ship", "build", colour="red")
    aside = store.workflows.set_variable("ship", "SIDE", base_version=1)
    assert (aside.workflow_version, aside.parent_version) == (7, 1)


def test_versions_stored_concurrently_are_all_kept(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    made = at_once(6, lambda number: store.workflows.store("ship", name=f"from {number}", parent_version=1))
    assert sorted(numbers(made)) == [2, 3, 4, 5, 6, 7]
    assert {each.name for each in store.workflows.versions("ship")} == {"Ship it", *(f"from {number}" for number in range(6))}
    for each in made:
        assert store.workflows.get("ship", each.workflow_version) == each
        assert numbers(store.workflows.lineage("ship", each.workflow_version)) == [each.workflow_version, 1]


def test_runs_start_from_a_version(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    task = store.tasks.create(title="t")
    run = store.runs.start("ship", 1, task_id=task.id, inputs={"goal": "x"})
    assert (run.id, run.workflow, run.status, run.task_id) == ("RUN-001", "ship@1", "running", task.id)
    assert holdfast.plain(run)["start_time"] is not None and store.runs.next_id() == "RUN-002"
    with pytest.raises(holdfast.ParentNotFound):
        store.runs.start("ship", 9)
    with pytest.raises(holdfast.HasDependents):
        store.workflows.delete("ship", 1, cascade=True)


@pytest.mark.parametrize("detail", [b"\0\xff" * 1000, "ünicode", {"a": [1, 2.5, None]}, ["x"], 7, None])
def test_a_log_keeps_its_detail_as_it_was(store: holdfast.Store, shipped: record_pb2.Workflow, detail: Any) -> None:
    run = store.runs.start("ship", 1)
    steps = [{"name": "plan", "status": "ok", "detail": {"tokens": 12}}, {"name": "build"}]
    log = store.logs.store(run.id, status="completed", steps=steps, detail=detail, summary="fine")
    assert store.logs.get(run.id) == log and store.logs is store.execution_logs
    assert (log.id, log.workflow_id, log.workflow_version) == (run.id, "ship", 1)
    assert [holdfast.json_value(each.detail) for each in log.steps] == [{"tokens": 12}, None]
    found = store.logs.detail(run.id)
    assert found == detail and type(found) is type(detail)


def test_a_log_must_name_the_workflow_of_its_run(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    run, free = store.runs.start("ship", 1), store.runs.create()
    for wrong in ({"workflow_id": "zzz", "workflow_version": 9}, {"workflow_id": "zzz"}, {"workflow_version": 2}):
        with pytest.raises(holdfast.InvalidArgument, match="but the run is of ship@1"):
            store.logs.store(run.id, **wrong)
    log = store.logs.store(run.id, workflow_id="ship", detail="x")
    assert (log.workflow_id, log.workflow_version) == ("ship", 1)
    other = store.logs.store(free.id, workflow_id="zzz", workflow_version=9)
    assert (other.workflow_id, other.workflow_version) == ("zzz", 9), "a run without a workflow allows any"


def test_logs_are_written_once(store: holdfast.Store) -> None:
    run = store.runs.create()
    store.logs.store(run.id, detail="first")
    with pytest.raises(holdfast.AlreadyExists):
        store.logs.store(run.id, detail="second")
    with pytest.raises(holdfast.InvalidArgument):
        store.logs.update(run.id, status="changed")
    assert store.logs.detail(run.id) == "first"
    with pytest.raises(holdfast.ParentNotFound):
        store.logs.store("RUN-999")
    store.logs.delete(run.id)
    assert not store.logs.exists(run.id)


def test_logs_are_queried(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    store.workflows.store("ship", name="Second")
    start = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    day = datetime.timedelta(days=1)
    for number in range(6):
        run = store.runs.start("ship", 1 + number % 2)
        store.logs.store(run.id, status="failed" if number == 3 else "completed", start_time=start + number * day)
    untimed = store.logs.store(store.runs.create().id, status="failed").id
    assert [each.id for each in store.logs.query(status="failed")] == ["RUN-004", untimed]
    assert [each.id for each in store.logs.query(since=start + day, until=start + 3 * day)] == ["RUN-002", "RUN-003"]
    assert [each.id for each in store.logs.query(workflow_id="ship", since=start + 4 * day)] == ["RUN-005", "RUN-006"]
    assert [each.id for each in store.logs.query(since=start + 5 * day)] == ["RUN-006", untimed]
    assert [each.id for each in store.logs.recent("ship", limit=2)] == ["RUN-006", "RUN-005"]
    assert [each.id for each in store.logs.recent("ship", 1)] == ["RUN-005", "RUN-003", "RUN-001"]
    assert list(store.logs.recent("shop")) == []


def test_the_first_write_of_a_workspace_may_be_a_workflow(store: holdfast.Store) -> None:
    assert store.workflows.store("ship").workflow_version == 1
    with pytest.raises(TypeError, match="name the workflow"):
        store.workflows.latest("")


# Lineages.


def test_a_version_that_others_come_from_is_not_deleted(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    second = store.workflows.store("ship", name="Second")
    store.workflows.store("ship", name="Third", parent_version=1)
    store.workflows.store("send", name="Of another workflow")
    with pytest.raises(
        holdfast.HasDependents, match=r"these depend on it: 2 workflow\. Use cascade to delete or unlink these too"
    ):
        store.workflows.delete("ship", 1)
    store.workflows.delete("ship", 1, cascade=True)
    assert [(each.workflow_version, each.parent_version, each.name) for each in store.workflows.versions("ship")] == [
        (2, 0, "Second"),
        (3, 0, "Third"),
    ]
    run = store.runs.start("ship", 2)
    store.workflows.store("ship", name="Fourth", parent_version=2)
    with pytest.raises(holdfast.HasDependents, match=r"1 run, 1 workflow\. Delete 1 run first\. Use cascade to .* the others"):
        store.workflows.delete("ship", 2)
    with pytest.raises(holdfast.HasDependents, match=r"these depend on it: 1 run\. Delete these first"):
        store.workflows.delete("ship", 2, cascade=True)
    assert store.workflows.get("ship", 2).name == second.name
    store.runs.delete(run.id)
    store.workflows.delete("ship", 2, cascade=True)


def test_the_daemon_holds_the_parent_of_a_version(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    """A delete of the parent that comes between the client's check and its commit."""
    with pytest.raises(holdfast.ParentNotFound, match="workflow_version 1 of ship"), store.transaction() as tx:
        tx.workflows.store("ship", name="Second")
        store.workflows.delete("ship", 1)


def test_a_workflow_is_deleted_whole(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    for number in range(2, 6):
        store.workflows.store("ship", name=str(number), parent_version=number // 2)
    store.workflows.store("send")
    run = store.runs.start("ship", 3)
    with pytest.raises(holdfast.HasDependents, match=r"ship@3 .*1 run"):
        store.workflows.delete_all("ship")
    assert numbers(store.workflows.versions("ship")) == [1, 2, 3, 4, 5]
    store.runs.delete(run.id)
    before = store.revision
    store.workflows.delete_all("ship")
    assert store.revision == before + 1 and [each.id for each in store.workflows.list()] == ["send@1"]
    with pytest.raises(holdfast.NotFound, match="has no version"):
        store.workflows.delete_all("ship")
    assert store.workflows.store("ship").workflow_version == 6
    with store.transaction() as tx:
        tx.workflows.store("ship", name="in the transaction")
        tx.workflows.delete_all("ship")
        assert tx.workflows.store("ship", name="anew").parent_version == 0
    assert [(each.workflow_version, each.name) for each in store.workflows.versions("ship")] == [(8, "anew")]


def test_a_workflow_is_deleted_whole_while_versions_are_added(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    def act(number: int) -> bool:
        if number == 0:
            store.workflows.delete_all("ship")
        else:
            store.workflows.store("ship", name=f"from {number}")
        return True

    at_once(6, act)
    left = list(store.workflows.versions("ship"))
    known = {0, *numbers(left)}
    assert all(each.parent_version in known for each in left)


def test_the_latest_version_of_each_workflow(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    assert store.in_workspace("nobody-wrote-here").workflows.list_latest() == {}
    second = store.workflows.store("ship", name="Second")
    send = store.workflows.store("send", name="Send")
    assert dict(store.workflows.list_latest()) == {"ship": second, "send": send}
    assert list(store.workflows.list_latest(filter='name = "Ship it"')) == [], "the latest does not match"
    assert [each.id for each in store.workflows.list(filter="NOT latest = true")] == ["ship@1"]
    store.workflows.delete("ship", 2)
    found = store.workflows.list_latest()
    assert found["ship"] == shipped and found.unreadable == []
