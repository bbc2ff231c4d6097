# Generated from tests/end_to_end/test_client_records.py by `make generate-async`. Do not edit.
"""Collections over a real daemon: every method, and the errors that callers see."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import holdfast
from tests.async_client.store import AsyncStore, collect
from holdfast.contract.kinds import KINDS
from holdfast.v1 import record_pb2, store_service_pb2
from holdfast.values.view_classes import view_class_of


async def test_a_record_comes_back_as_it_was_made(store: AsyncStore) -> None:
    began = datetime.datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=datetime.UTC)
    metadata = {"branch": "fix/login", "big": 2**70, "none": None, "half": 0.5, "deep": [{"ä": [True]}]}
    made = await store.sessions.create(title="first try", tags=["a", "b"], metadata=metadata, start_time=began)
    assert made.id.startswith("ses_") and made.version == 1
    assert await store.sessions.get(made.id) == made
    shown = holdfast.plain(made)
    assert shown["metadata"] == metadata
    assert shown["start_time"] == began
    assert shown["end_time"] is None
    assert shown["tags"] == ["a", "b"]
    assert holdfast.json_value(made.metadata) == metadata


async def test_a_message_works_like_keywords(store: AsyncStore) -> None:
    made = await store.tasks.create(record_pb2.Task(title="from a message"), priority="high")
    made.status = "running"
    changed = await store.tasks.update(made)
    assert (changed.version, changed.status, changed.priority) == (2, "running", "high")
    with pytest.raises(holdfast.VersionMismatch) as caught:
        await store.tasks.update(made)
    assert caught.value.metadata["actual"] == "2"
    with pytest.raises(TypeError, match="tasks takes Task views or messages"):
        await store.tasks.create(record_pb2.Session())  # type: ignore[arg-type]


async def test_update_changes_what_is_named_and_none_clears(store: AsyncStore) -> None:
    made = await store.tasks.create(title="t", description="long", tags=["x"], metadata={"a": 1})
    changed = await store.tasks.update(made.id, version=1, description=None, tags=["y"])
    assert (changed.title, changed.description, list(changed.tags), changed.version) == ("t", "", ["y"], 2)
    assert holdfast.json_value(changed.metadata) == {"a": 1}
    assert holdfast.json_value((await store.tasks.update(made.id, metadata=None)).metadata) is None
    assert (await store.tasks.update(made.id, metadata=holdfast.Json("null"))).message.metadata == "null"


async def test_save_makes_or_changes(store: AsyncStore) -> None:
    assert (await store.tasks.save(id="TASK-900", title="saved")).version == 1
    changed = await store.tasks.save(id="TASK-900", status="running")
    assert (changed.version, changed.title, changed.status) == (2, "saved", "running")


async def test_list_reads_all_pages_and_stops_where_told(store: AsyncStore) -> None:
    async with store.transaction() as tx:
        made = [await tx.tasks.create(title=f"task {number}", tags=["odd"] if number % 2 else []) for number in range(25)]
    assert [each.id async for each in store.tasks.list(page_size=4, order_by="id")] == [each.id for each in made]
    assert len(await collect(store.tasks.list(page_size=4, limit=10))) == 10
    assert await collect(store.tasks.list(limit=0)) == []
    assert len(await collect(store.tasks.list(filter='tags:"odd"', page_size=5))) == 12
    assert await store.tasks.count('tags:"odd"') == 12 and await store.tasks.count() == 25
    assert [each.id async for each in store.tasks.list(filter=f"title = {holdfast.quoted('task 7')}")] == [made[7].id]


async def test_batch_get_and_exists(store: AsyncStore) -> None:
    one, two = await store.tasks.create(title="one"), await store.tasks.create(title="two")
    found = await store.tasks.batch_get([two.id, "TASK-999", one.id, two.id])
    assert list(found) == [two.id, one.id] and found[one.id] == one
    assert await store.tasks.exists(one.id) and not await store.tasks.exists("TASK-999")
    assert not await store.in_workspace("nobody-wrote-here").tasks.exists(one.id)


async def test_ids_are_handed_out_once(store: AsyncStore) -> None:
    assert [await store.tasks.next_id(), (await store.tasks.create(title="t")).id, await store.tasks.next_id()] == [
        "TASK-001",
        "TASK-002",
        "TASK-003",
    ]
    ids = {await store.sessions.next_id() for _ in range(1000)}
    assert len(ids) == 1000 and all(len(each) == 30 and each.startswith("ses_") for each in ids)


async def test_delete_counts_the_dependents(store: AsyncStore) -> None:
    parent = await store.constructs.create(name="parent")
    child = await store.sessions.create(construct_id=parent.id)
    with pytest.raises(holdfast.HasDependents) as caught:
        await store.constructs.delete(parent.id)
    assert caught.value.metadata == {"session": "1"}
    with pytest.raises(holdfast.VersionMismatch):
        await store.sessions.delete(child.id, version=5)
    await store.constructs.delete(parent.id, version=1, cascade=True)
    assert not await store.sessions.exists(child.id)


async def test_history_has_every_version(store: AsyncStore) -> None:
    made = await store.tasks.create(title="one")
    await store.tasks.update(made.id, title="two")
    await store.tasks.create(title="another")
    await store.tasks.delete(made.id)
    history = await collect(store.tasks.history(made.id))
    assert [each.record.task.title for each in history] == ["one", "two", "two"]
    assert [each.action for each in history] == [
        store_service_pb2.ACTION_INSERT,
        store_service_pb2.ACTION_UPDATE,
        store_service_pb2.ACTION_DELETE,
    ]
    assert {each.actor for each in history} == {"tester"}


async def test_the_revision_is_the_highest_seen(store: AsyncStore) -> None:
    before = store.revision
    await store.tasks.create(title="t")
    assert store.revision > before
    assert store.revision == (await store.status()).revision


REFUSED: list[tuple[Callable[[AsyncStore], Any], type[Exception], str, str]] = [
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
    (lambda s: collect(s.tasks.list(filter="a =")), holdfast.InvalidArgument, "FILTER_INVALID", ""),
    (lambda s: collect(s.tasks.list(filter='colour = "x"')), holdfast.InvalidArgument, "", "colour"),
    (lambda s: collect(s.tasks.list(limit=-1)), holdfast.InvalidArgument, "VALUE_INVALID", "negative"),
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
async def test_refusals_give_the_reason(
    store: AsyncStore, call: Callable[[AsyncStore], Any], error: type[Exception], reason: str, says: str
) -> None:
    await store.constructs.create(name="creates the workspace")
    with pytest.raises(error, match=says or ".") as caught:
        await call(store)
    assert type(caught.value) is error
    if reason:
        assert getattr(caught.value, "reason", None) == reason


async def test_taken_ids_and_cycles(store: AsyncStore) -> None:
    one = await store.tasks.create(title="one")
    two = await store.tasks.create(title="two", blocked_by=[one.id])
    with pytest.raises(holdfast.AlreadyExists):
        await store.tasks.create(id=one.id, title="again")
    with pytest.raises(holdfast.FailedPrecondition) as caught:
        await store.tasks.update(one.id, blocked_by=[two.id])
    assert caught.value.reason == "DEPENDENCY_CYCLE"


async def test_every_kind_has_its_collection(store: AsyncStore) -> None:
    """A new kind gets a collection without further code."""
    for kind in KINDS.values():
        collection = store.collection(kind.name)
        assert collection is getattr(store, kind.noun)
        assert await collect(store.in_workspace("default").collection(kind.name).list(limit=0)) == []
        assert kind.noun in repr(collection)
