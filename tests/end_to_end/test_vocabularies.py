"""The statuses of a workspace are those of its vocabulary; each has a meaning, which `ready` reads; a value in use stays."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import holdfast
from holdfast.cli.lineage import nodes_of
from holdfast.contract.kinds import KINDS
from holdfast.errors import FailedPrecondition, InvalidArgument
from holdfast.v1 import store_service_pb2 as pb
from holdfast.wire.connection import Connection
from holdfastd import errors as daemon_errors
from holdfastd.model.call import Call
from tests.support.engine import Engine

TRACKER = [("todo", "open"), ("doing", "active"), ("done", "done"), ("dropped", "failed")]


def terms(*pairs: tuple[str, str]) -> list[dict[str, object]]:
    return [{"value": value, "meaning": meaning} for value, meaning in pairs]


def use(store: holdfast.Store, *pairs: tuple[str, str], kind: str = "task") -> None:
    store.vocabularies.save(record_kind=kind, field="status", terms=terms(*pairs))


def test_a_workspace_without_a_vocabulary_has_the_values_of_the_contract(store: holdfast.Store) -> None:
    assert store.tasks.create(title="t").status == "created"
    with pytest.raises(InvalidArgument, match="'todo' is not one of: created, classifying"):
        store.tasks.create(title="t", status="todo")


def test_a_workspace_has_statuses_of_its_own(store: holdfast.Store) -> None:
    use(store, *TRACKER)
    task = store.tasks.create(title="t")
    assert task.status == "todo"
    assert store.tasks.update(task.id, status="doing").status == "doing"
    assert [each.id for each in store.tasks.list(filter='status = "doing"')] == [task.id]
    with pytest.raises(InvalidArgument, match="'classifying' is not one of: todo, doing, done, dropped"):
        store.tasks.update(task.id, status="classifying")
    other = store.in_workspace(store.workspace + "-other")
    assert other.tasks.create(title="t", status="classifying").status == "classifying"


def test_an_update_that_clears_the_status_sets_the_first_value(store: holdfast.Store) -> None:
    use(store, *TRACKER)
    task = store.tasks.create(title="t", status="doing")
    assert store.tasks.update(task.id, status="").status == "todo"


def test_ready_reads_the_meaning(store: holdfast.Store) -> None:
    use(store, *TRACKER)
    first = store.tasks.create(title="first")
    second = store.tasks.create(title="second", blocked_by=[first.id])
    assert [each.id for each in store.tasks.list(filter="ready = true")] == [first.id]
    for status in ("doing", "dropped"):
        store.tasks.update(first.id, status=status)
        assert [each.id for each in store.tasks.list(filter="ready = true")] == [first.id]
    store.tasks.update(first.id, status="done")
    assert [each.id for each in store.tasks.list(filter="ready = true")] == [first.id, second.id]


def test_a_value_in_use_cannot_go(store: holdfast.Store) -> None:
    task = store.tasks.create(title="t", status="planned")
    with pytest.raises(FailedPrecondition, match=f"task {task.id} has the status 'planned'"):
        use(store, *TRACKER)
    use(store, *TRACKER, ("planned", "open"))
    store.tasks.update(task.id, status="todo")
    use(store, *TRACKER)
    with pytest.raises(FailedPrecondition, match="has the status 'todo'"):
        store.vocabularies.delete("task.status")
    store.tasks.delete(task.id)
    store.vocabularies.delete("task.status")
    assert store.tasks.create(title="t").status == "created"


def test_a_vocabulary_and_its_records_change_in_one_commit(store: holdfast.Store) -> None:
    with store.transaction() as both:
        both.vocabularies.save(record_kind="task", field="status", terms=terms(*TRACKER))
        task = both.tasks.create(title="t", status="doing")
    assert store.tasks.get(task.id).status == "doing"
    with pytest.raises(InvalidArgument), store.transaction() as refused:
        refused.vocabularies.save(record_kind="task", field="status", terms=terms(*TRACKER, ("later", "open")))
        refused.tasks.create(title="t", status="nonsense")
    with pytest.raises(InvalidArgument, match="'later' is not one of"):
        store.tasks.create(title="t", status="later")


@pytest.mark.parametrize(
    ("record_kind", "field", "pairs", "message"),
    [
        ("task", "priority", TRACKER, "field 'priority' is not one of: status"),
        ("nothing", "status", TRACKER, "'nothing' is not one of: task, initiative, task_state"),
        ("task", "status", [], "1 to 200 terms"),
        ("task", "status", [("a", "open"), ("a", "done")], "Two terms have the value 'a'"),
        ("task", "status", [("a", "odd")], "meaning 'odd' is not one of: open, active, done, failed"),
    ],
)
def test_a_wrong_vocabulary_is_refused(
    store: holdfast.Store, record_kind: str, field: str, pairs: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        store.vocabularies.save(record_kind=record_kind, field=field, terms=terms(*pairs))


@pytest.mark.parametrize("kind", ["initiative", "task_state"])
def test_other_kinds_have_vocabularies_too(store: holdfast.Store, kind: str) -> None:
    use(store, ("idea", "open"), ("shipped", "done"), kind=kind)
    task = store.tasks.create(title="t")
    given = {"title": "t"} if kind == "initiative" else {"task_id": task.id}
    assert store.collection(kind).create(**given).status == "idea"


def test_a_vocabulary_can_be_made_for_each_field_that_can_have_one() -> None:
    vocabulary = KINDS["vocabulary"].by_name
    possible = {(kind.name, field.name) for kind in KINDS.values() for field in kind.vocabularies}
    made = itertools.product(vocabulary["record_kind"].values, vocabulary["field"].values)
    assert possible == set(made)


def test_the_phases_of_a_workflow_have_different_names(store: holdfast.Store) -> None:
    with pytest.raises(InvalidArgument, match="Two phases have the name 'build'"):
        store.workflows.save(workflow_id="w", phases=[{"name": "build"}, {"name": "build"}])


def test_the_values_that_the_contract_calls_done_make_a_record_ready() -> None:
    for kind in KINDS.values():
        if kind.readiness is not None:
            field = kind.by_name[kind.readiness.status_field]
            assert kind.readiness.done_values == tuple(each for each, means in field.vocabulary.items() if means == "done")


@pytest.mark.parametrize("filter", ['status = "doen"', 'status != "doen"', 'title = "x" AND NOT (status = "doen" OR id = "y")'])
def test_a_filter_on_a_status_that_no_record_can_have_is_refused(store: holdfast.Store, filter: str) -> None:
    use(store, *TRACKER)
    store.tasks.create(title="t", status="done")
    for read in (lambda: list(store.tasks.list(filter=filter)), lambda: store.tasks.count(filter)):
        with pytest.raises(
            InvalidArgument, match=r"status is never 'doen'\. Its values in workspace .*: todo, doing, done, dropped"
        ):
            read()
    other = store.in_workspace(store.workspace + "-other")
    other.tasks.create(title="t")
    with pytest.raises(InvalidArgument, match="are: created, classifying"):
        other.tasks.count(filter)


def test_a_filter_takes_the_statuses_of_the_workspace(store: holdfast.Store) -> None:
    use(store, ("todo", "open"), ("over", "done"))
    store.tasks.create(id="T-1", title="t")
    assert store.tasks.count('status = "todo"') == store.tasks.count('status != "over"') == store.tasks.count('status:"tod"') == 1
    assert store.tasks.count('status = ""') == 0
    assert [each.id for each in store.tasks.ready()] == ["T-1"]
    with pytest.raises(InvalidArgument, match="status is never 'created'"):
        store.tasks.count('status = "created"')


def test_a_filter_of_an_older_client_matches_nothing_instead(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    try:
        request = pb.StoreServiceCountRequest(kind="task", filter='status = "doen"')
        assert engine.records.count(request, Call(api_version=3)).count == 0
        with pytest.raises(daemon_errors.InvalidArgument, match="status is never 'doen'"):
            engine.records.count(request, Call())
        lists = [pb.ScanList(kind="task", filter='status != "doen"')]
        with pytest.raises(daemon_errors.InvalidArgument, match="status is never 'doen'"):
            list(engine.records.scan(pb.StoreServiceScanRequest(lists=lists), Call()))
    finally:
        engine.close()


@pytest.mark.parametrize("kind", ["task", "initiative"])
def test_a_record_whose_status_means_done_is_neither_ready_nor_blocked(store: holdfast.Store, kind: str) -> None:
    use(store, *TRACKER, ("completed", "active"), kind=kind)
    records = store.tasks if kind == "task" else store.initiatives
    for status, _ in (*TRACKER, ("completed", "active")):
        records.create(id=status, title=status, status=status)
        records.create(id=f"{status}-waits", title="w", status=status, blocked_by=["todo"])
    assert {each.id for each in records.ready()} == {"todo", "doing", "dropped", "completed"}
    assert {each.id for each in records.blocked()} == {"todo-waits", "doing-waits", "dropped-waits", "completed-waits"}
    assert {each.id for each in records.list(filter="done = true")} == {"done", "done-waits"}
    assert records.count("done = false") == records.count("NOT done = true") == records.count("done != true") == 8


def test_ready_records_without_a_vocabulary_are_those_that_the_contract_does_not_call_done(store: holdfast.Store) -> None:
    for status in KINDS["task"].by_name["status"].vocabulary:
        store.tasks.create(id=status, title=status, status=status)
    left = {each.id for each in store.tasks.ready()}
    assert left == set(KINDS["task"].by_name["status"].vocabulary) - {"completed", "finished"}


def test_the_graph_marks_what_the_vocabulary_calls_done(store: holdfast.Store) -> None:
    use(store, *TRACKER)
    store.tasks.create(id="T-1", title="t", status="done")
    store.tasks.create(id="T-2", title="t", blocked_by=["T-1"])
    nodes = nodes_of(store, KINDS["task"], "", "")
    assert [(each.id, each.done, each.ready) for each in nodes.values()] == [("T-1", True, False), ("T-2", False, True)]


def test_a_daemon_without_the_filter_gets_the_values_of_the_contract(
    store: holdfast.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "supports", lambda self, version: version < 4)
    asked = store.tasks._open("true")
    assert asked == 'NOT (status = "completed" OR status = "finished") AND ready = true'
