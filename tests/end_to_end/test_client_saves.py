"""`save` and `create` with messages that were read: no change of another writer is lost, and unset is not empty."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.v1 import record_pb2
from tests.conftest import DaemonProcess


def test_a_stale_save_is_refused(store: holdfast.Store) -> None:
    mine = store.tasks.get(store.tasks.create(title="a").id)
    store.tasks.update(mine.id, status="running")
    mine.title = "mine"
    with pytest.raises(holdfast.VersionMismatch):
        store.tasks.save(mine)
    assert (store.tasks.get(mine.id).title, store.tasks.get(mine.id).status) == ("a", "running")
    again = store.tasks.get(mine.id)
    again.title = "mine"
    assert (store.tasks.save(again).version, store.tasks.get(mine.id).status) == (3, "running")
    assert store.tasks.save(mine, version=0).version == 4  # the last writer wins
    store.tasks.delete(mine.id)
    with pytest.raises(holdfast.NotFound):
        store.tasks.save(again)
    assert store.tasks.save(mine, version=0).version == 5


def test_fields_are_saved_with_a_version(store: holdfast.Store) -> None:
    made = store.tasks.save(id="T", title="a")
    assert store.tasks.save(id="T", title="b").version == 2  # without a version the last writer wins
    with pytest.raises(holdfast.VersionMismatch):
        store.tasks.save(id="T", title="c", version=made.version)
    with pytest.raises(holdfast.NotFound):
        store.tasks.save(id="nobody", title="c", version=1)
    run = store.runs.create()
    output = store.phase_outputs.save(run_id=run.id, phase="spec", content="1")
    assert store.phase_outputs.save(run_id=run.id, phase="spec", content="2", version=1).version == 2
    output.content = "3"
    for stale in ({"run_id": run.id, "phase": "spec", "content": "3", "version": 1}, {}):
        with pytest.raises(holdfast.VersionMismatch):
            store.phase_outputs.save(*([] if stale else [output]), **stale)
    store.constitution.save(content="a")
    with pytest.raises(holdfast.VersionMismatch):
        store.constitution.save(content="b", version=7)
    store.specs.save("T", "s")
    with pytest.raises(holdfast.VersionMismatch):
        store.specs.save("T", "t", version=5)
    store.attachments.save("T", "a.txt", b"1")
    with pytest.raises(holdfast.VersionMismatch):
        store.attachments.save("T", "a.txt", b"2", version=5)


def test_a_transaction_saves_a_message_twice(store: holdfast.Store) -> None:
    task = store.tasks.create(title="a")
    with store.transaction() as tx:
        task.title = "b"
        tx.tasks.save(task)
        task.priority = "high"
        tx.tasks.save(task)
    found = store.tasks.get(task.id)
    assert (found.title, found.priority, found.version) == ("b", "high", 3)
    with pytest.raises(holdfast.VersionMismatch), store.transaction() as tx:
        tx.tasks.save(task)


def test_a_copy_of_a_message_that_was_read_is_a_new_record(store: holdfast.Store) -> None:
    first = store.tasks.create(title="a")
    first.id = ""
    copy = store.tasks.create(first)
    assert (copy.title, copy.version) == ("a", 1) and copy.create_time != first.create_time
    made = record_pb2.Task(title="old")
    made.create_time.FromJsonString("2020-01-01T00:00:00Z")
    with pytest.raises(holdfast.InvalidArgument) as caught:
        store.tasks.create(made)
    assert caught.value.reason == "OUTPUT_ONLY"


def test_none_is_not_empty(store: holdfast.Store) -> None:
    task = store.tasks.create(title="t")
    for id, fields in {"none": {}, "empty": {"proposed_fix": ""}, "some": {"proposed_fix": "f", "task_id": task.id}}.items():
        store.bugs.create(id=id, title="b", **fields)
    rows = {each.id: holdfast.plain(each) for each in store.bugs.list()}
    assert [(rows[id]["proposed_fix"], rows[id]["task_id"]) for id in rows] == [(None, None), ("", None), ("f", task.id)]
    assert store.bugs.update("some", proposed_fix=None).HasField("proposed_fix") is False
    state = store.states.save(task.id, gates=[{"phase": "a"}, {"phase": "b", "approved": False}])
    assert [holdfast.plain(each)["approved"] for each in state.gates] == [None, False]


def test_gates_are_in_the_order_given(store: holdfast.Store) -> None:
    task = store.tasks.create(title="t")
    phases = [str(number) for number in range(20)]
    assert [each.phase for each in store.states.save(task.id, gates=[{"phase": each} for each in phases]).gates] == phases
    with store.transaction() as tx:
        for each in phases:
            tx.comments.create(task_id=task.id, body=each)
    assert [each.body for each in store.comments.list()] == phases


def test_the_order_and_the_versions_survive_a_restart(own_daemon: DaemonProcess) -> None:
    ids = ["m", "a", "z", "k"]
    with holdfast.connect(own_daemon.socket_path) as store:
        with store.transaction() as tx:
            for each in ids:
                tx.tasks.create(id=each, title="t")
        store.tasks.delete("k")
    own_daemon.stop()
    own_daemon.start()
    with holdfast.connect(own_daemon.socket_path) as store:
        assert store.tasks.create(id="k", title="t").version == 2
        assert [each.id for each in store.tasks.list()] == ids
        assert [problem for frame in store.verify() for problem in frame.problems] == []
