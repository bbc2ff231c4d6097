"""Actions of the callers' own in the audit: in order with the changes, watched, kept after a delete, and no part of a record."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import holdfast
from holdfast.v1 import store_service_pb2
from tests.conftest import DaemonProcess
from tests.end_to_end.command_line import Run


@pytest.fixture
def task_id(store: holdfast.Store) -> str:
    return store.tasks.create(title="t").id


def actions(store: holdfast.Store, task_id: str, **asked: object) -> list[str]:
    return [each.action for each in store.audit.of("task", task_id, **asked)]  # type: ignore[arg-type]


def test_an_action_of_the_caller_is_in_order_with_the_changes(store: holdfast.Store, task_id: str) -> None:
    store.audit.record("task", task_id, action="approved", diff={"by": ["ann"], "n": 1})
    store.tasks.update(task_id, status="running")
    store.audit.record(store.tasks.get(task_id), action="sent to CI")
    assert actions(store, task_id) == ["insert", "approved", "update", "sent to CI"]
    insert, approved, update, sent = store.audit.of("task", task_id)
    assert (approved.actor, approved.kind, approved.id, approved.version) == ("tester", "task", task_id, 1)
    assert approved.diff == {"by": ["ann"], "n": 1} and sent.diff is None and approved.parent_kind in ("task", "")
    assert update.diff["status"] == {"before": "created", "after": "running"} and set(update.diff) == {"status"}
    assert insert.revision < approved.revision < update.revision < sent.revision
    assert sent.version == 2 == store.tasks.get(task_id).version


def test_the_audit_reads_both_ways_and_an_entry_has_a_key(store: holdfast.Store, task_id: str) -> None:
    with store.transaction() as tx:
        tx.tasks.update(task_id, title="u")
        tx.audit.record("task", task_id, action="reviewed")
        tx.tasks.update(task_id, title="v")
    found = list(store.audit.of("task", task_id))
    assert [each.action for each in found] == ["insert", "update", "reviewed", "update"]
    assert [each.key for each in store.audit.of("task", task_id, descending=True, page_size=1)] == [
        each.key for each in found[::-1]
    ]
    assert found[2].key == f"{found[2].revision}.{found[2].number}" and "reviewed" in repr(found[2])
    assert [store.audit.get(each.key) for each in found] == found
    with pytest.raises(holdfast.NotFound):
        store.audit.get(f"{found[2].revision}.9")
    with pytest.raises(holdfast.InvalidArgument):
        store.audit.get("second")


def test_filters_find_it(store: holdfast.Store, task_id: str) -> None:
    store.audit.record("task", task_id, action="approved")
    assert [each.id for each in store.audit.query(action="approved", kind="task", actor="tester")] == [task_id]
    assert [each.action for each in store.audit.query(filter='action != "insert"')] == ["approved"]
    assert list(store.audit.query(action="refused")) == []


def test_it_stays_when_the_record_is_deleted_and_can_follow_the_delete(store: holdfast.Store, task_id: str) -> None:
    store.audit.record("task", task_id, action="approved")
    store.tasks.delete(task_id)
    store.audit.record("task", task_id, action="archived")
    assert actions(store, task_id) == ["insert", "approved", "delete", "archived"]
    again = store.tasks.create(id=task_id, title="anew")
    assert again.version == 2, "versions of an id rise over its life before"
    with store.transaction() as tx:
        gone = tx.tasks.create(title="x")
        tx.tasks.delete(gone.id)
        tx.audit.record("task", gone.id, action="vanished")
    assert actions(store, gone.id) == ["insert", "delete", "vanished"]


def test_watches_deliver_it_and_the_history_of_a_record_is_without_it(store: holdfast.Store, task_id: str) -> None:
    store.audit.record("task", task_id, action="approved", diff=[1])
    store.tasks.update(task_id, title="u")
    changes = list(store.watch(kinds=["task"], ids=[task_id], since=0, replay_only=True))
    assert [each.action for each in changes] == [1, store_service_pb2.ACTION_NOTE, 2]
    note = changes[1].message
    assert (note.note.action, note.note.diff, note.parent_kind, note.HasField("record")) == ("approved", "[1]", "", False)
    assert [each.action for each in store.tasks.history(task_id)] == [1, 2]


@pytest.mark.parametrize("action", ["insert", "update", "delete", "append", "drop", "", "a" * 201, "a\nb"])
def test_names_that_are_the_daemons_own_or_no_names_are_refused(store: holdfast.Store, task_id: str, action: str) -> None:
    with pytest.raises(holdfast.InvalidArgument):
        store.audit.record("task", task_id, action=action)
    assert actions(store, task_id) == ["insert"]


def test_what_never_was_and_what_is_too_large_is_refused(store: holdfast.Store, task_id: str) -> None:
    with pytest.raises(holdfast.NotFound):
        store.audit.record("task", "TASK-404", action="approved")
    with pytest.raises(holdfast.InvalidArgument):
        store.audit.record("nothing", task_id, action="approved")
    with pytest.raises(holdfast.TooLarge):
        store.audit.record("task", task_id, action="approved", diff="x" * (1 << 20))
    store.audit.record("task", task_id, action="approved", diff="x" * 1_000_000)
    assert [len(each.diff) for each in store.audit.query(action="approved")] == [1_000_000]


@pytest.mark.parametrize("end", [DaemonProcess.stop, DaemonProcess.kill], ids=["stopped", "killed"])
def test_it_is_durable_and_verify_and_the_next_change_accept_it(
    own_daemon: DaemonProcess, end: Callable[[DaemonProcess], object]
) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        kept, gone = (store.tasks.create(title=title).id for title in "ab")
        for task_id in (kept, gone):
            store.audit.record("task", task_id, action="approved", diff={"n": 1})
        store.tasks.delete(gone)
        store.audit.record("task", gone, action="buried")
    end(own_daemon)
    own_daemon.start()
    with holdfast.connect(own_daemon.socket_path) as store:
        assert [str(problem) for frame in store.verify(read_blobs=True) for problem in frame.problems] == []
        store.tasks.update(kept, title="changed")
        store.tasks.delete(kept)
        assert actions(store, kept) == ["insert", "approved", "update", "delete"]
        assert actions(store, gone, descending=True) == ["buried", "delete", "approved", "insert"]
        assert [str(problem) for frame in store.verify(read_blobs=True) for problem in frame.problems] == []


def test_the_command_line_shows_it(run: Run, store: holdfast.Store, task_id: str) -> None:
    store.audit.record("task", task_id, action="approved", diff={"by": "ann"})
    assert "approved task " + task_id in run("log", "task", task_id).out
    assert '"ann"' in run("log", "task", task_id).out
    assert "approved" in run("watch", "--kind", "task", "--since", "0", "--replay").out
    assert '"approved"' in run("watch", "--kind", "task", "--since", "0", "--replay", "--json").out
