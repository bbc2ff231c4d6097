"""Transactions over several collections: a step builds on earlier steps of the transaction, or on what it read."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest

import holdfast
from holdfast.v1 import record_pb2

Write = Callable[[holdfast.Store | holdfast.Transaction], object]


@pytest.fixture
def task(store: holdfast.Store) -> record_pb2.Task:
    return store.tasks.create(title="Fix the login")


@pytest.fixture
def shipped(store: holdfast.Store) -> record_pb2.Workflow:
    return store.workflows.store("ship", phases=[{"name": "plan"}], variables=[{"name": "GOAL"}])


def names(parts: object) -> list[str]:
    return [each.name for each in parts]  # type: ignore[attr-defined]


def test_versions_of_a_workflow_are_derived_from_each_other(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    with store.transaction() as tx:
        second = tx.workflows.set_phase("ship", "build", gate_type="human")
        assert (second.id, second.workflow_version, second.parent_version) == ("ship@2", 2, 1)
        assert tx.workflows.set_phase("ship", "build", gate_type="human") is second, "an equal phase must make no version"
        assert tx.workflows.store("ship", phases=[{"name": "plan"}], parent_version=2).id == "ship@3"
        tx.workflows.set_variable("ship", "BRANCH", required=True)
        tx.workflows.remove_phase("ship", "plan")
        last = tx.workflows.remove_variable("ship", "BRANCH", base_version=4)
        run = tx.runs.start("ship", last.workflow_version, inputs={"goal": "x"})
        tx.workflows.save(workflow_id="send", name="Another")
        with pytest.raises(holdfast.NotFound):
            tx.workflows.remove_phase("ship", "none")
        with pytest.raises(holdfast.NotFound):
            tx.workflows.set_phase("shop", "plan")
        with pytest.raises(holdfast.ParentNotFound):
            tx.workflows.store("ship", name="x", parent_version=7)
    assert store.workflows.get("ship", 2) == second and second.version == 1 and second.HasField("create_time")
    assert [each.parent_version for each in store.workflows.versions("ship")] == [0, 1, 2, 3, 4, 4]
    assert [names(each.phases) for each in store.workflows.versions("ship")][3:] == [["plan"], [], ["plan"]]
    assert store.runs.get(run.id) == run and (run.workflow, run.status) == ("ship@6", "running")
    assert names(store.workflows.latest("send").phases) == []


def test_numbers_go_on_after_deleted_versions_and_plain_inserts(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    store.workflows.store("ship", name="Second")
    store.workflows.delete("ship", 2)
    with store.transaction() as tx:
        made = tx.workflows.create(workflow_id="ship", name="Third", parent_version=1)
        assert made.id == "", "only the commit gives the number"
        fourth = tx.workflows.set_phase("ship", "test")
        assert (fourth.id, fourth.parent_version, fourth.name) == ("ship@4", 3, "Third")
        tx.workflows.delete("ship", 4)
        tx.workflows.delete("ship@1", cascade=True)
        assert tx.workflows.set_phase("ship", "last").parent_version == 3
        with pytest.raises(holdfast.NotFound, match="deletes workflow ship@1"):
            tx.workflows.set_phase("ship", "last", base_version=1)
    assert [(each.id, names(each.phases)) for each in store.workflows.versions("ship")] == [("ship@3", []), ("ship@5", ["last"])]
    assert made.id == "ship@3"


OVERTAKEN: dict[str, tuple[Write, Write, type[holdfast.HoldfastError]]] = {
    "set_phase": (
        lambda tx: tx.workflows.set_phase("ship", "mine"),
        lambda store: store.workflows.set_phase("ship", "theirs"),
        holdfast.AlreadyExists,
    ),
    "store": (
        lambda tx: tx.workflows.store("ship", name="mine"),
        lambda store: store.workflows.create(workflow_id="ship", name="theirs"),
        holdfast.AlreadyExists,
    ),
    "the first version": (
        lambda tx: tx.workflows.store("send", name="mine"),
        lambda store: store.workflows.store("send", name="theirs"),
        holdfast.AlreadyExists,
    ),
    "decide": (
        lambda tx: tx.initiatives.decide("INIT-001", decision="mine"),
        lambda store: store.initiatives.decide("INIT-001", decision="theirs"),
        holdfast.VersionMismatch,
    ),
    "attachments.delete": (
        lambda tx: tx.attachments.delete("TASK-001", "notes"),
        lambda store: store.attachments.save("TASK-001", "notes", b"theirs"),
        holdfast.VersionMismatch,
    ),
    "phase_outputs.delete": (
        lambda tx: tx.phase_outputs.delete(task_id="TASK-001", phase="plan"),
        lambda store: store.phase_outputs.save(task_id="TASK-001", phase="plan", content="theirs"),
        holdfast.VersionMismatch,
    ),
    "phase_outputs.save": (
        lambda tx: tx.phase_outputs.save(task_id="TASK-001", phase="other", variable="PLAN"),
        lambda store: store.phase_outputs.save(task_id="TASK-001", phase="plan", content="theirs"),
        holdfast.VersionMismatch,
    ),
}


@pytest.mark.parametrize(("mine", "theirs", "error"), OVERTAKEN.values(), ids=list(OVERTAKEN))
def test_a_transaction_that_lost_a_race_changes_nothing(
    store: holdfast.Store,
    task: record_pb2.Task,
    shipped: record_pb2.Workflow,
    mine: Write,
    theirs: Write,
    error: type[holdfast.HoldfastError],
) -> None:
    store.initiatives.create(title="Logins")
    store.attachments.save(task.id, "notes", b"first")
    store.phase_outputs.save(task_id=task.id, phase="plan", variable="PLAN", content="first")
    with pytest.raises(error), store.transaction() as tx:
        tx.tasks.create(title="as well")
        mine(tx)
        theirs(store)
        revision = store.revision
    assert list(store.watch(since=revision, replay_only=True)) == []
    with store.transaction() as tx:
        mine(tx)
    assert tx.revision == revision + 1


def test_logs_of_runs_of_the_same_transaction(store: holdfast.Store, shipped: record_pb2.Workflow) -> None:
    other = store.runs.start("ship", 1)
    detail = {"tokens": list(range(2000))}
    with store.transaction() as tx:
        run, free = tx.runs.start("ship", 1), tx.runs.create()
        log = tx.logs.store(run.id, status="completed", steps=[{"name": "plan"}], detail=detail)
        assert (log.id, log.workflow_id, log.workflow_version) == (run.id, "ship", 1)
        tx.logs.store(other.id, detail="text")
        tx.execution_logs.store(free.id, workflow_id="made elsewhere", workflow_version=4)
        with pytest.raises(holdfast.InvalidArgument, match="the run is of ship@1"):
            tx.logs.store(run.id, workflow_id="zzz", workflow_version=9)
    assert store.logs.get(run.id) == log and tx.logs is tx.execution_logs
    assert store.logs.detail(run.id) == detail and store.logs.detail(other.id) == "text"
    assert store.logs.get(other.id).workflow_id == "ship" and store.logs.get(free.id).workflow_version == 4
    with pytest.raises(holdfast.ParentNotFound), store.transaction() as tx:
        tx.logs.store("RUN-999", status="completed")


def test_decisions_of_one_transaction_follow_each_other(store: holdfast.Store) -> None:
    old = store.initiatives.create(title="Old")
    store.initiatives.decide(old.id, decision="a")
    with store.transaction() as tx:
        tx.initiatives.update(old.id, vision="clear")
        tx.initiatives.decide(old.id, decision="b", actor="kim")
        shown = tx.initiatives.decide(old.id, decision="c")
        new = tx.initiatives.create(title="New", decisions=[{"decision": "x"}])
        tx.initiatives.decide(new.id, decision="y")
        tx.initiatives.save(id=new.id, decisions=[{"decision": "z"}])
        tx.initiatives.decide(new.id, decision="end")
        with pytest.raises(holdfast.NotFound):
            tx.initiatives.decide("INIT-999", decision="x")
    assert store.initiatives.get(old.id) == shown and (shown.version, shown.vision) == (5, "clear")
    assert [(each.decision, each.actor) for each in shown.decisions] == [("a", "tester"), ("b", "kim"), ("c", "tester")]
    assert [each.decision for each in store.initiatives.get(new.id).decisions] == ["z", "end"]


def test_branches_attachments_outputs_and_the_constitution(store: holdfast.Store, task: record_pb2.Task) -> None:
    before = datetime.datetime.now(datetime.UTC)
    store.branches.save(name="fix/old")
    store.constitution.save(content="Be kind")
    run = store.runs.create(task_id=task.id)
    store.attachments.save(task.id, "old", b"old")
    for phase in ("plan", "build"):
        store.phase_outputs.save(run_id=run.id, phase=phase, content=phase)
        store.phase_outputs.save(task_id=task.id, phase=phase, variable=phase.upper(), content=phase)
    with store.transaction() as tx:
        tx.branches.create(name="fix/new")
        tx.branches.touch("fix/new")
        tx.branches.touch("fix/old")
        merged = tx.branches.set_status("fix/old", "merged")
        tx.constitution.delete()
        tx.attachments.delete(task.id, "old")
        tx.attachments.save(task.id, "new", b"new")
        tx.attachments.save(task.id, "not after all", b"")
        tx.attachments.delete(task.id, "not after all")
        with pytest.raises(holdfast.NotFound):
            tx.attachments.delete(task.id, "none")
        tx.phase_outputs.delete(run_id=run.id, phase="plan")
        tx.phase_outputs.save(run_id=run.id, phase="build", content="changed")
        tx.phase_outputs.delete(run_id=run.id, phase="build")
        tx.phase_outputs.save(task_id=task.id, phase="plan", content="changed")
        tx.phase_outputs.delete(task_id=task.id, phase="plan")
        tx.phase_outputs.save(task_id=task.id, variable="BUILD", content="named by its variable")
        tx.phase_outputs.save(task_id=task.id, phase="review", variable="FOUND", content="first")
        tx.phase_outputs.save(task_id=task.id, phase="test", variable="FOUND", content="in its place")
        with pytest.raises(TypeError, match="name the run_id"):
            tx.phase_outputs.delete(phase="plan")
        with pytest.raises(holdfast.NotFound):
            tx.phase_outputs.delete(run_id=run.id, phase="none")
    assert store.branches.get("fix/old") == merged and merged.status == "merged"
    assert all(holdfast.plain(each)["activity_time"] >= before for each in store.branches.list())
    assert not store.constitution.exists()
    assert names(store.attachments.list(task.id)) == ["new"]
    assert store.phase_outputs.as_map(run.id) == {}
    assert store.phase_outputs.as_map(task_id=task.id) == {"BUILD": "named by its variable", "FOUND": "in its place"}


def test_a_step_builds_on_a_record_as_earlier_steps_left_it(store: holdfast.Store, task: record_pb2.Task) -> None:
    store.attachments.save(task.id, "notes", b"old")
    gone, kept = store.initiatives.create(title="Gone"), store.initiatives.create(title="Kept")
    kept.vision = "whole"
    with store.transaction() as tx:
        tx.artifacts.update(store.attachments.get(task.id, "notes").id, metadata={"read": True})
        tx.attachments.delete(task.id, "notes")
        tx.initiatives.delete(gone.id)
        with pytest.raises(holdfast.NotFound, match="deletes initiative"):
            tx.initiatives.decide(gone.id, decision="too late")
        tx.initiatives.update(kept)
        tx.initiatives.update(kept.id, decisions=[{"decision": "a"}])
        decided = tx.initiatives.decide(kept.id, decision="b")
    assert names(store.attachments.list(task.id)) == [] and not store.initiatives.exists(gone.id)
    assert (decided.version, decided.vision, [each.decision for each in decided.decisions]) == (4, "whole", ["a", "b"])


def test_a_checkpoint_follows_the_one_before_it_in_the_transaction_only(store: holdfast.Store) -> None:
    session = store.sessions.create(title="s")
    first = store.checkpoints.save(session.id, context="one")
    store.checkpoints.save(session.id, context="two")
    store.checkpoints.load(first)
    with pytest.raises(holdfast.NotFound), store.transaction() as tx:
        third = tx.checkpoints.save(session.id, context="three")
        fourth = tx.checkpoints.save(session.id, context="four")
        tx.tasks.delete("TASK-404")
    assert (third.parent_id, fourth.parent_id) == (first.id, third.id)
    assert store.checkpoints.save(session.id, context="five").parent_id == first.id, "a failed save leaves no parent"
