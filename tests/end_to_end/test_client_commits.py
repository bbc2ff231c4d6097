"""Transactions and watches over a real daemon."""

from __future__ import annotations

import threading

import pytest

import holdfast
from holdfast.v1 import store_service_pb2


def test_a_transaction_is_one_commit(store: holdfast.Store) -> None:
    task = store.tasks.create(title="t")
    with store.transaction() as tx:
        construct = tx.constructs.create(name="c")
        session = tx.sessions.create(construct_id=construct.id)
        moved = tx.tasks.update(task.id, status="running", version=1)
        entry = tx.transcripts.append(session.id, role="prompt", content="…")
        more = tx.transcripts.append_many(session.id, [{"role": "response"}, {"role": "response"}])
        one = tx.checkpoints.save(session.id, context={"a": 1}, tags=["x"])
        two = tx.checkpoints.save(session.id, context={"a": 2})
        artifact = tx.artifacts.put(construct_id=construct.id, source=b"abc", name="a.txt")
        saved = tx.tasks.save(id="TASK-500", title="saved")
        link = tx.links.create(type="made", from_kind="session", from_id=session.id, to_kind="artifact", to_id=artifact.id)
        assert construct.version == 0 and entry.number == 0
    assert tx.revision == store.revision
    assert (construct.version, moved.version, moved.title, saved.version, link.version) == (1, 2, "t", 1, 1)
    assert [entry.number, *(each.number for each in more)] == [1, 2, 3] and entry.revision == tx.revision
    assert (one.number, two.number, two.parent_id) == (1, 2, one.id)
    assert store.constructs.get(construct.id) == construct
    assert store.checkpoints.latest(session.id).load() == {"a": 2}
    assert store.checkpoints.save(session.id, context={"a": 3}).parent_id == two.id
    with store.artifacts.open(artifact) as file:
        assert file.read() == b"abc"
    changes = list(store.watch(since=tx.revision - 1, replay_only=True))
    assert {each.revision for each in changes if each.revision <= tx.revision} == {tx.revision}


def test_nothing_happens_when_it_fails(store: holdfast.Store) -> None:
    task = store.tasks.create(title="t")
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.tasks.update(task.id, title="never")
        _ = 1 // 0
    with pytest.raises(holdfast.VersionMismatch), store.transaction() as tx:
        tx.constructs.create(id="cst_never", name="never")
        tx.tasks.update(task.id, title="never", version=7)
    assert store.tasks.get(task.id) == task
    assert not store.constructs.exists("cst_never")


def test_an_empty_transaction_does_nothing(store: holdfast.Store) -> None:
    store.tasks.create(title="t")
    revision = store.revision
    with store.transaction() as tx:
        pass
    assert tx.revision == revision == store.status().revision
    with pytest.raises(holdfast.Closed):
        tx.tasks.create(title="too late")


def test_delete_in_a_transaction(store: holdfast.Store) -> None:
    one, two = store.tasks.create(title="1"), store.tasks.create(title="2")
    with store.transaction() as tx:
        tx.tasks.delete(one.id, version=1)
        tx.tasks.delete(two.id)
    assert store.tasks.count() == 0


def test_watch_from_now_and_from_a_revision(store: holdfast.Store) -> None:
    before = store.tasks.create(title="before")
    revision = store.revision
    watch = store.watch(kinds=["task"])
    after = store.tasks.create(title="after")
    store.sessions.create(title="another kind")
    change = next(watch)
    assert (change.id, change.record.task.title, change.actor) == (after.id, "after", "tester")
    watch.close()
    with store.tasks.watch(since=0, ids=[after.id]) as one:
        assert next(one).record.task.title == "after"
    replayed = list(store.watch(since=0, replay_only=True, kinds=["task"]))
    assert [each.id for each in replayed] == [before.id, after.id]
    assert [each.id for each in store.watch(since=revision, replay_only=True, ids=[after.id])] == [after.id]


def test_a_cursor_goes_on_where_the_watch_stood(store: holdfast.Store) -> None:
    for number in range(10):
        store.tasks.create(title=str(number))
    first = store.watch(since=0, replay_only=True)
    assert len(list(first)) == 10 and first.cursor
    store.tasks.create(title="10")
    second = store.watch(cursor=first.cursor)
    assert next(second).record.task.title == "10"
    second.close()
    assert list(second) == []


def test_closing_a_watch_ends_another_threads_wait(store: holdfast.Store) -> None:
    watch = store.watch()
    seen: list[store_service_pb2.Change] = []
    thread = threading.Thread(target=lambda: seen.extend(watch))
    thread.start()
    store.tasks.create(title="t")
    while not seen:
        thread.join(0.01)
    watch.close()
    thread.join(10)
    assert not thread.is_alive() and len(seen) == 1


def test_a_revision_yet_to_come_is_out_of_range(store: holdfast.Store) -> None:
    store.tasks.create(title="t")
    with pytest.raises(holdfast.OutOfRange) as caught:
        next(store.watch(since=store.revision + 1000))
    assert caught.value.reason == "REVISION_IN_FUTURE"


def test_jobs_and_verify(store: holdfast.Store) -> None:
    assert list(store.run_job("sweep", dry_run=True))[-1].finished
    frames = list(store.verify(read_blobs=True))
    assert frames[-1].finished and not [problem for frame in frames for problem in frame.problems]
    with pytest.raises(holdfast.NotFound) as caught:
        list(store.run_job("dance"))
    assert caught.value.reason == "JOB_NOT_FOUND"
