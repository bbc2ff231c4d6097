"""Watches of transcripts and events yield the entries themselves: across parents, in order, each once."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

import holdfast
from holdfast.v1.store_service_pb2 import Change
from tests.conftest import DaemonProcess


def sessions(store: holdfast.Store, count: int) -> list[str]:
    return [store.sessions.create(title="s").id for _ in range(count)]


def said(watch: holdfast.EntryWatch) -> list[str]:
    return [each.transcript.content for each in watch]


def write_interleaved(store: holdfast.Store, ids: list[str], rounds: int) -> list[str]:
    """Appends in turn to all parents, now and then to several in one commit, and returns the contents in order."""
    for number in range(rounds):
        with store.transaction() as tx:
            tx.transcripts.append(ids[number % len(ids)], role="note", content=f"{number}a")
            tx.transcripts.append_many(ids[-1], [{"role": "note", "content": f"{number}{each}"} for each in "bc"])
            tx.transcripts.append(ids[number % len(ids)], role="note", content=f"{number}d")
    return [f"{number}{each}" for number in range(rounds) for each in "abcd"]


def test_entries_of_many_parents_come_in_the_order_of_commits(store: holdfast.Store) -> None:
    ids = sessions(store, 40)
    expected = write_interleaved(store, ids, 100)
    entries = list(store.transcripts.watch(since=0, replay_only=True))
    assert [each.transcript.content for each in entries] == expected
    assert {(each.parent_kind, each.parent_id) for each in entries} == {("session", id) for id in ids}
    assert said(store.transcripts.watch(ids=[ids[1]], since=0, replay_only=True)) == ["1a", "1d", "41a", "41d", "81a", "81d"]


def test_a_watch_goes_on_after_each_entry(store: holdfast.Store) -> None:
    expected = write_interleaved(store, sessions(store, 3), 4)
    cursor, found = "", []
    while True:
        how = {"cursor": cursor} if cursor else {"since": 0}
        with store.transcripts.watch(**how, replay_only=True) as watch:  # type: ignore[arg-type]
            taken = list(itertools.islice(watch, 3 if len(found) % 2 else 1))
            found += [each.transcript.content for each in taken]
            cursor = watch.cursor
        if not taken:
            break
    assert found == expected


def test_new_events_come_as_they_are_saved(store: holdfast.Store) -> None:
    task, other = store.tasks.create(title="t"), store.tasks.create(title="u")
    store.events.save(task.id, type="before")
    found: list[tuple[str, str]] = []
    watch = store.events.watch()
    thread = threading.Thread(target=lambda: found.extend((each.parent_id, each.event.type) for each in watch))
    thread.start()
    store.events.save(task.id, type="one")
    store.events.save_many([{"type": "two", "task_id": other.id}, {"type": "three", "task_id": task.id}])
    deadline = time.monotonic() + 15
    while len(found) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    watch.close()
    thread.join(10)
    assert not thread.is_alive()
    assert found == [(task.id, "one"), (other.id, "two"), (task.id, "three")]


def test_a_parent_deleted_meanwhile_is_skipped_and_said(store: holdfast.Store, caplog: pytest.LogCaptureFixture) -> None:
    kept, gone = sessions(store, 2)
    store.transcripts.append_many(gone, [{"role": "note", "content": each} for each in "xyz"])
    store.transcripts.append(kept, role="note", content="kept")
    store.sessions.delete(gone, cascade=True)
    skipped: list[tuple[str, int]] = []

    def skip(change: Change, count: int) -> None:
        skipped.append((change.id, count))

    assert said(store.transcripts.watch(since=0, replay_only=True, on_skipped=skip)) == ["kept"]
    assert skipped == [(gone, 3)] and caplog.records == []
    store.sessions.create(id=gone, title="made anew")
    store.transcripts.append(gone, role="note", content="new")
    assert said(store.transcripts.watch(since=0, replay_only=True)) == ["kept", "new"]
    assert caplog.text.count("are gone or damaged") == 1


def test_an_outage_repeats_and_misses_nothing(own_daemon: DaemonProcess) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        ids = sessions(store, 3)
        expected = write_interleaved(store, ids, 30)
        watch = store.transcripts.watch(since=0)
        found = [next(watch).transcript.content for _ in range(7)]
        own_daemon.kill()
        own_daemon.start()
        store.transcripts.append(ids[0], role="note", content="after")
        found += [next(watch).transcript.content for _ in range(len(expected) - 6)]
        assert found == [*expected, "after"]
        watch.close()


def test_large_appends(store: holdfast.Store) -> None:
    (id,) = sessions(store, 1)
    with store.transcripts.writer(id) as writer:
        for number in range(20_000):
            writer.write(role="note", content=str(number))
    assert said(store.transcripts.watch(since=0, replay_only=True)) == [str(number) for number in range(20_000)]


@pytest.mark.parametrize("cursor", ["x", "1.2", "-1", "1.2.3.4", "²", "9" * 30])
def test_a_cursor_that_is_none_is_refused(store: holdfast.Store, cursor: str) -> None:
    with pytest.raises(holdfast.InvalidArgument, match="not the cursor"):
        store.transcripts.watch(cursor=cursor)
