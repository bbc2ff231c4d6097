"""Collections over a real daemon: every method, and the errors that callers see."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import holdfast
from holdfast.contract.kinds import KINDS
from holdfast.v1 import record_pb2, store_service_pb2
from holdfast.values.view_classes import view_class_of


def test_a_record_comes_back_as_it_was_made(store: holdfast.Store) -> None:
    began = datetime.datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=datetime.UTC)
    metadata = {"branch": "fix/login", "big": 2**70, "none": None, "half": 0.5, "deep": [{"ä": [True]}]}
    made = store.sessions.create(title="first try", tags=["a", "b"], metadata=metadata, start_time=began)
    assert made.id.startswith("ses_") and made.version == 1
    assert store.sessions.get(made.id) == made
    shown = holdfast.plain(made)
    assert shown["metadata"] == metadata
    assert shown["start_time"] == began
    assert shown["end_time"] is None
    assert shown["tags"] == ["a", "b"]
    assert holdfast.json_value(made.metadata) == metadata


def test_a_message_works_like_keywords(store: holdfast.Store) -> None:
    made = store.tasks.create(record_pb2.Task(title="from a message"), priority="high")
    made.status = "running"
    changed = store.tasks.update(made)
    assert (changed.version, changed.status, changed.priority) == (2, "running", "high")
    with pytest.raises(holdfast.VersionMismatch) as caught:
        store.tasks.update(made)
    assert caught.value.metadata["actual"] == "2"
    with pytest.raises(TypeError, match="tasks takes Task views or messages"):
        store.tasks.create(record_pb2.Session())  # type: ignore[arg-type]


def test_update_changes_what_is_named_and_none_clears(store: holdfast.Store) -> None:
    made = store.tasks.create(title="t", description="long", tags=["x"], metadata={"a": 1})
    changed = store.tasks.update(made.id, version=1, description=None, tags=["y"])
    assert (changed.title, changed.description, list(changed.tags), changed.version) == ("t", "", ["y"], 2)
    assert holdfast.json_value(changed.metadata) == {"a": 1}
    assert holdfast.json_value(store.tasks.update(made.id, metadata=None).metadata) is None
    assert store.tasks.update(made.id, metadata=holdfast.Json("null")).message.metadata == "null"


def test_save_makes_or_changes(store: holdfast.Store) -> None:
    assert store.tasks.save(id="TASK-900", title="saved").version == 1
    changed = store.tasks.save(id="TASK-900", status="running")
    assert (changed.version, changed.title, changed.status) == (2, "saved", "running")


def test_list_reads_all_pages_and_stops_where_told(store: holdfast.Store) -> None:
    with store.transaction() as tx:
        made = [tx.tasks.create(title=f"task {number}", tags=["odd"] if number % 2 else []) for number in range(25)]
    assert [each.id for each in store.tasks.list(page_size=4, order_by="id")] == [each.id for each in made]
    assert len(list(store.tasks.list(page_size=4, limit=10))) == 10
    assert list(store.tasks.list(limit=0)) == []
    assert len(list(store.tasks.list(filter='tags:"odd"', page_size=5))) == 12
    assert store.tasks.count('tags:"odd"') == 12 and store.tasks.count() == 25
    assert [each.id for each in store.tasks.list(filter=f"title = {holdfast.quoted('task 7')}")] == [made[7].id]


def test_batch_get_and_exists(store: holdfast.Store) -> None:
    one, two = store.tasks.create(title="one"), store.tasks.create(title="two")
    found = store.tasks.batch_get([two.id, "TASK-999", one.id, two.id])
    assert list(found) == [two.id, one.id] and found[one.id] == one
    assert store.tasks.exists(one.id) and not store.tasks.exists("TASK-999")
    assert not store.in_workspace("nobody-wrote-here").tasks.exists(one.id)


def test_ids_are_handed_out_once(store: holdfast.Store) -> None:
    assert [store.tasks.next_id(), store.tasks.create(title="t").id, store.tasks.next_id()] == [
        "TASK-001",
        "TASK-002",
        "TASK-003",
    ]
    ids = {store.sessions.next_id() for _ in range(1000)}
    assert len(ids) == 1000 and all(len(each) == 30 and each.startswith("ses_") for each in ids)


def test_delete_counts_the_dependents(store: holdfast.Store) -> None:
    parent = store.constructs.create(name="parent")
    child = store.sessions.create(construct_id=parent.id)
    with pytest.raises(holdfast.HasDependents) as caught:
        store.constructs.delete(parent.id)
    assert caught.value.metadata == {"session": "1"}
    with pytest.raises(holdfast.VersionMismatch):
        store.sessions.delete(child.id, version=5)
    store.constructs.delete(parent.id, version=1, cascade=True)
    assert not store.sessions.exists(child.id)


def test_history_has_every_version(store: holdfast.Store) -> None:
    made = store.tasks.create(title="one")
    store.tasks.update(made.id, title="two")
    store.tasks.create(title="another")
    store.tasks.delete(made.id)
    history = list(store.tasks.history(made.id))
    assert [each.record.task.title for each in history] == ["one", "two", "two"]
    assert [each.action for each in history] == [
        store_service_pb2.ACTION_INSERT,
        store_service_pb2.ACTION_UPDATE,
        store_service_pb2.ACTION_DELETE,
    ]
    assert {each.actor for each in history} == {"tester"}


def test_the_revision_is_the_highest_seen(store: holdfast.Store) -> None:
    before = store.revision
    store.tasks.create(title="t")
    assert store.revision > before
    assert store.revision == store.status().revision


REFUSED: list[tuple[Callable[[holdfast.Store], Any], type[Exception], str, str]] = [
    (lambda s: s.tasks.get("nope"), holdfast.NotFound, "RECORD_NOT_FOUND", "nope"),
    (lambda s: s.in_workspace("gone").tasks.get("x"), holdfast.WorkspaceNotFound, "WORKSPACE_NOT_FOUND", "gone"),
    (lambda s: s.tasks.create(title="\ud800"), holdfast.InvalidArgument, "VALUE_INVALID", r"task\.title"),
    (lambda s: s.tasks.create(title="a\0b"), holdfast.InvalidArgument, "VALUE_INVALID", "title"),
    (lambda s: s.tasks.create(status="idle", title="t"), holdfast.InvalidArgument, "VALUE_INVALID", "status"),
    (lambda s: s.tasks.create(), holdfast.InvalidArgument, "FIELD_REQUIRED", "title"),
    (lambda s: s.tasks.create(titel="x"), TypeError, "", r"task has no field 'titel'.*title"),
    (lambda s: s.tasks.create(title=3), TypeError, "", r"task\.title: expected str, not int"),
    (lambda s: s.tasks.create(title="t", tags="urgent"), TypeError, "", r"task\.tags: expected a list"),
    (lambda s: s.tasks.create(title="t", tags=[1]), TypeError, "", r"task\.tags"),
    (lambda s: s.tasks.create(title="t", metadata={1: 2}), TypeError, "", r"task\.metadata: The key 1"),
    (lambda s: s.tasks.create(title="t", metadata=float("inf")), holdfast.InvalidArgument, "VALUE_INVALID", r"task\.metadata"),
    (lambda s: s.tasks.create(title="t", metadata=holdfast.Json("{")), holdfast.InvalidArgument, "VALUE_INVALID", "metadata"),
    (
        lambda s: s.sessions.create(start_time=datetime.datetime(2026, 1, 1)),
        holdfast.InvalidArgument,
        "VALUE_INVALID",
        "no time zone",
    ),
    (lambda s: s.tasks.update("TASK-001"), TypeError, "", "name the fields"),
    (lambda s: s.tasks.update("TASK-404", title="t"), holdfast.NotFound, "RECORD_NOT_FOUND", "TASK-404"),
    (lambda s: list(s.tasks.list(filter="a =")), holdfast.InvalidArgument, "FILTER_INVALID", ""),
    (lambda s: list(s.tasks.list(filter='colour = "x"')), holdfast.InvalidArgument, "", "colour"),
    (lambda s: list(s.tasks.list(limit=-1)), holdfast.InvalidArgument, "VALUE_INVALID", "negative"),
    (lambda s: s.sessions.create(construct_id="cst_no"), holdfast.ParentNotFound, "PARENT_NOT_FOUND", "cst_no"),
    (lambda s: s.tasks.create(title="x" * (3 << 20)), holdfast.TooLarge, "TOO_LARGE", ""),
    (
        lambda s: s.tasks.create(title="x" * (20 << 20)),
        holdfast.TooLarge,
        "TOO_LARGE",
        r"The request has 20,971,\d{3} bytes; the limit is 16 MiB \(16,777,216 bytes\)\. Split it .* into a blob\.",
    ),
]


@pytest.mark.parametrize(("call", "error", "reason", "says"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_refusals_give_the_reason(
    store: holdfast.Store, call: Callable[[holdfast.Store], Any], error: type[Exception], reason: str, says: str
) -> None:
    store.constructs.create(name="creates the workspace")
    with pytest.raises(error, match=says or ".") as caught:
        call(store)
    assert type(caught.value) is error
    if reason:
        assert getattr(caught.value, "reason", None) == reason


def test_taken_ids_and_cycles(store: holdfast.Store) -> None:
    one = store.tasks.create(title="one")
    two = store.tasks.create(title="two", blocked_by=[one.id])
    with pytest.raises(holdfast.AlreadyExists):
        store.tasks.create(id=one.id, title="again")
    with pytest.raises(holdfast.FailedPrecondition) as caught:
        store.tasks.update(one.id, blocked_by=[two.id])
    assert caught.value.reason == "DEPENDENCY_CYCLE"


def test_every_kind_has_its_collection(store: holdfast.Store) -> None:
    """A new kind gets a collection without further code."""
    for kind in KINDS.values():
        collection = store.collection(kind.name)
        assert collection is getattr(store, kind.noun)
        assert list(store.in_workspace("default").collection(kind.name).list(limit=0)) == []
        assert kind.noun in repr(collection)


@pytest.mark.parametrize("of", [holdfast.Store, holdfast.Transaction])
def test_type_checkers_know_every_collection(of: type[object], store: holdfast.Store) -> None:
    """Every noun is annotated with the class of its collection; `make generate` writes the annotations."""
    annotated = get_type_hints(of)
    assert set(annotated) == {kind.noun for kind in KINDS.values()}
    of_this = store if of is holdfast.Store else store.transaction()
    for kind in KINDS.values():
        annotation = annotated[kind.noun]
        assert isinstance(getattr(of_this, kind.noun), get_origin(annotation) or annotation)
        assert get_args(annotation) in ((), (view_class_of(kind),))


def test_with_timeout_shares_the_client(store: holdfast.Store) -> None:
    session = store.sessions.create(title="s")
    first = store.checkpoints.save(session.id, context="one")
    store.checkpoints.save(session.id, context="two")
    store.checkpoints.load(first)
    branch = store.with_timeout(10).checkpoints.save(session.id, context="three")
    assert branch.parent_id == first.id, "both must know the checkpoint loaded last"
    assert store.checkpoints.save(session.id, context="four").parent_id == branch.id
    elsewhere = store.with_timeout(10).in_workspace("default")
    assert (elsewhere.workspace, elsewhere._connection.timeout_s) == ("default", 10)
    writer = store.with_timeout(10).transcripts.writer(session.id)
    writer.write(role="a")
    store.sync()
    assert writer.acknowledged == 1
    writer.close()


def test_closed_stores_say_so(daemon: Any) -> None:
    store = holdfast.connect(daemon.socket_path)
    store.close()
    store.close()
    with pytest.raises(holdfast.Closed):
        store.tasks.count()
