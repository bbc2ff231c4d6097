"""What a hostile or careless caller of the newer calls can do: nothing to others, and nothing that verify calls damage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import holdfast
from holdfast.v1 import entry_pb2, store_service_pb2
from tests.conftest import DaemonProcess
from tests.support.api import Api


def problems(store: holdfast.Store) -> list[str]:
    return [f"{each.reason} {each.detail}" for frame in store.verify() for each in frame.problems]


def test_an_initiative_has_at_most_1000_tasks_of_its_own(store: holdfast.Store) -> None:
    with store.transaction() as transaction:
        tasks = [transaction.tasks.create(title="t") for _ in range(1_000)]
    ids = [each.id for each in tasks]
    store.initiatives.create(title="many", tasks=ids)
    with pytest.raises(holdfast.InvalidArgument, match="task_ids has 1,001 ids; the limit is 1,000"):
        store.initiatives.create(title="too many", tasks=[*ids, store.tasks.create(title="one more")])


@pytest.mark.parametrize(
    "make",
    [
        lambda store, id: store.tasks.create(id=id, title="t"),
        lambda store, id: store.load("task", [{"id": id, "title": "t"}]),
    ],
)
def test_a_sequence_steps_over_the_longest_ids(store: holdfast.Store, make: Callable[[holdfast.Store, str], Any]) -> None:
    make(store, f"TASK-{10**18 - 1}")
    make(store, f"TASK-{10**18}")
    assert store.tasks.create(title="next").id == f"TASK-{10**18 + 1}"
    assert store.tasks.next_id() == f"TASK-{10**18 + 2}"
    assert problems(store) == []


@pytest.mark.parametrize("fields", [{"version": 10**15}, {"workflow_version": 10**15}])
def test_loaded_numbers_leave_room_for_later_ones(store: holdfast.Store, fields: dict[str, Any]) -> None:
    item = {"workflow_id": "w", "workflow_version": 3, "name": "w", **fields}
    with pytest.raises(holdfast.InvalidArgument, match="less than 10"):
        store.load("workflow", [item])
    store.load("workflow", [{**item, **{name: value - 1 for name, value in fields.items()}}])
    assert store.workflows.store("w", phases=[{"name": "p"}]).workflow_version > 3
    assert problems(store) == []


@pytest.mark.parametrize("parent", [3, 4])
def test_a_load_names_no_version_as_its_own_ancestor(store: holdfast.Store, parent: int) -> None:
    with pytest.raises(holdfast.InvalidArgument, match=f"parent_version is {parent}; it must be less than"):
        store.load("workflow", [{"workflow_id": "w", "workflow_version": 3, "parent_version": parent, "name": "w"}])
    store.load("workflow", [{"workflow_id": "w", "workflow_version": 3, "parent_version": 2, "name": "w"}])


@pytest.mark.parametrize("action", ["delete ", "Insert", " UPDATE"])
def test_a_note_does_not_look_like_a_change(store: holdfast.Store, action: str) -> None:
    task = store.tasks.create(title="t")
    with pytest.raises(holdfast.InvalidArgument, match="the daemon's own"):
        store.audit.record("task", task.id, action=action)


def test_bytes_that_are_no_text_cost_only_their_own_entry(store: holdfast.Store, daemon: DaemonProcess) -> None:
    session, task = store.sessions.create(title="s").id, store.tasks.create(title="t").id
    store.transcripts.append(session, role="user", content="first")
    digest = store.blobs.put(b"\xff\xfe").digest
    with Api(daemon.socket_path, workspace=store.workspace) as api:
        entry = entry_pb2.Entry(transcript=entry_pb2.Transcript(role="user", content_digest=digest))
        api.commit(
            store_service_pb2.Mutation(append=store_service_pb2.Append(parent_kind="session", parent_id=session, entries=[entry]))
        )
        api.insert("phase_output", task_id=task, phase="p", content_digest=digest)
    store.transcripts.append(session, role="user", content="third")
    found = store.transcripts.list(parent_id=session)
    assert [each.content for each in found] == ["first", "third"]
    assert [each.id for each in found.unreadable] == ["2"]
    with pytest.raises(holdfast.DataLoss, match="no text"):
        store.phase_outputs.get(task_id=task, phase="p")
