"""A batch of transcript entries over several tasks: one commit, all or nothing, each entry found under its own task."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.v1 import entry_pb2


@pytest.fixture
def tasks(store: holdfast.Store) -> list[str]:
    return [store.tasks.create(title=title).id for title in "abc"]


def test_each_entry_goes_to_the_transcript_of_its_task(store: holdfast.Store, tasks: list[str]) -> None:
    one, other, _ = tasks
    before = store.revision
    batch = [
        {"task_id": one, "role": "prompt", "content": "1", "phase": "spec", "iteration": 2},
        entry_pb2.Transcript(task_id=other, role="prompt", content="2"),
        {"task_id": one, "role": "response", "content": "3\0" * 1_000_000},
    ]
    assert store.transcripts.append_batch(batch) == [1, 1, 2]
    assert store.revision == before + 1
    assert [each.content[:1] for each in store.transcripts.read(one, parent_kind="task")] == ["1", "3"]
    assert [each.content for each in store.transcripts.read(other, parent_kind="task")] == ["2"]
    assert [(each.parent_id, each.number) for each in store.transcripts.list(filter=f'task_id = "{one}"')] == [(one, 1), (one, 2)]


def test_it_is_all_or_nothing(store: holdfast.Store, tasks: list[str]) -> None:
    with pytest.raises(holdfast.ParentNotFound):
        store.transcripts.append_batch([{"task_id": each, "role": "chunk"} for each in (*tasks, "TASK-404")])
    with pytest.raises(holdfast.InvalidArgument, match="Entry 1 names no parent"):
        store.transcripts.append_batch([{"task_id": tasks[0], "role": "chunk"}, {"role": "chunk"}])
    assert list(store.transcripts.list()) == []


def test_an_empty_batch_does_nothing(store: holdfast.Store, tasks: list[str]) -> None:
    before = store.revision
    assert store.transcripts.append_batch(iter(())) == []
    assert store.revision == before


def test_in_a_transaction(store: holdfast.Store) -> None:
    with store.transaction() as tx:
        task = tx.tasks.create(title="new")
        made = tx.transcripts.append_batch([{"task_id": task.id, "role": "combined", "content": "x"}])
    assert [each.number for each in made] == [1]
    assert [each.content for each in store.transcripts.read(task.id, parent_kind="task")] == ["x"]
