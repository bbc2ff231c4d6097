"""Existing data keeps its ids, times, versions, numbers and actors: `store.load`, on a running daemon."""

from __future__ import annotations

import datetime
import gzip
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.contract.kinds import KINDS
from holdfast.errors import AlreadyExists, FailedPrecondition, InvalidArgument, ParentNotFound, TooLarge
from holdfast.values.fields import message_of
from tests.conftest import DaemonProcess
from tests.registry.world import World, changeable, complete
from tests.support.api import Api

Y2020 = "2020-01-02T03:04:05.123456789Z"
Y2021 = "2021-01-01T00:00:00Z"


@pytest.fixture
def other(daemon: DaemonProcess) -> Iterator[holdfast.Store]:
    """Another workspace."""
    with holdfast.connect(daemon.socket_path, workspace=f"test-{uuid.uuid4().hex}", actor="mover") as client:
        yield client


def sound(store: holdfast.Store) -> bool:
    return not [problem for frame in store.verify() for problem in frame.problems]


def task(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"TASK-{number:03d}", "title": f"task {number}", **fields}


def test_a_record_keeps_what_it_has(store: holdfast.Store) -> None:
    """Against the loss: an insert drops or refuses times and versions."""
    made = {"id": "TASK-017", "title": "old", "version": 5, "create_time": Y2020, "update_time": Y2021, "@actor": "ada"}
    report = store.load("task", [made, {"title": "new"}])
    assert (report.loaded, report.skipped, report.dry_run) == (2, 0, False)
    old = store.tasks.get("TASK-017")
    assert (old.version, old.create_time.isoformat()[:19], old.update_time.year) == (5, "2020-01-02T03:04:05", 2021)
    assert old.time_ns("create_time") % 10**9 == 123456789
    new = store.tasks.get("TASK-018")
    assert new.version == 1 and new.create_time > old.update_time
    assert store.tasks.next_id() == "TASK-019"
    assert store.tasks.update("TASK-017", title="newer").version == 6
    history = [(each.action, each.actor) for each in store.audit.of("task", "TASK-017")]
    assert sorted(history) == [("insert", "ada"), ("update", "tester")]
    assert all(each.peer_uid == os.getuid() for each in store.audit.of("task", "TASK-017"))
    assert sound(store)


@pytest.mark.parametrize("text", ["a \ud800 b", "\udc80\0", "\ufffd and \ud800", "x" * (2 << 20) + "\ud800", "\ufffd"])
def test_views_are_loaded_with_their_exact_texts(store: holdfast.Store, own_daemon: DaemonProcess, text: str) -> None:
    """Against the loss: the message of a view shows U+FFFD in place of each lone surrogate."""
    with holdfast.connect(own_daemon.socket_path) as old:
        _fill_with(old, text)
        for name in ("session", "task", "run", "transcript", "event", "phase_output"):
            given = {"transcript": old.transcripts.list, "event": old.events.query}.get(name) or old.collection(name).list
            assert store.load(name, given(), dry_run=True).loaded == store.load(name, given()).loaded == 1
    (entry,), (event,), (output,) = store.transcripts.list(), store.events.query(), store.phase_outputs.list()
    assert (entry.content, event.message, event.data, output.content) == (text, text, {"a": text}, text)
    assert sound(store)


def _fill_with(old: holdfast.Store, text: str) -> None:
    old.sessions.create(id="S", title="s")
    old.tasks.create(id="T", title="t")
    old.runs.create(id="R", task_id="T", status="running")
    old.transcripts.append("S", role="note", content=text)
    old.events.save("T", type="x", message=text, data={"a": text})
    old.phase_outputs.save(run_id="R", phase="a", content=text)


def test_a_workflow_version_may_name_a_parent_that_was_not_kept(store: holdfast.Store) -> None:
    assert store.load("workflow", [{"workflow_id": "w", "workflow_version": 3, "parent_version": 2, "name": "n"}]).loaded == 1
    assert sound(store)


def test_an_unset_time_is_as_the_other(store: holdfast.Store) -> None:
    store.load("task", [task(1, create_time=Y2020), task(2, update_time=datetime.datetime(2021, 5, 6, tzinfo=datetime.UTC))])
    assert store.tasks.get("TASK-001").update_time.year == 2020
    assert store.tasks.get("TASK-002").create_time.year == 2021


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"version": -1}, "version"),
        ({"version": 10**18}, "version"),
        ({"create_time": "1600-12-31T00:00:00Z"}, "create_time"),
        ({"create_time": "yesterday"}, "create_time"),
        ({"create_time": Y2021, "update_time": Y2020}, "update_time"),
        ({"title": None}, "title"),
        ({"titel": "x"}, "titel"),
        ({"title": 5}, None),
        ({"status": "nonsense"}, "status"),
    ],
)
def test_a_wrong_value_names_the_item(store: holdfast.Store, fields: dict[str, Any], field: str | None) -> None:
    with pytest.raises(InvalidArgument) as refused:
        store.load("task", [task(1), task(2) | fields, task(3)])
    assert refused.value.metadata["index"] == "1" and refused.value.metadata["loaded"] == "0"
    assert field is None or refused.value.metadata["field"] == field
    with pytest.raises(holdfast.errors.NotFound):
        store.tasks.get("TASK-001")


def test_each_batch_is_all_or_nothing(store: holdfast.Store) -> None:
    store.tasks.create(id="TASK-005", title="mine")
    with pytest.raises(AlreadyExists) as refused:
        store.load("task", [task(number) for number in range(1, 8)], batch=3)
    assert (refused.value.metadata["index"], refused.value.metadata["loaded"]) == ("4", "3")
    assert [each.id for each in store.tasks.list(order_by="id")] == ["TASK-001", "TASK-002", "TASK-003", "TASK-005"]
    report = store.load("task", [task(number) for number in range(1, 8)], batch=3, skip_existing=True)
    assert (report.loaded, report.skipped) == (3, 4)
    assert store.tasks.get("TASK-005").title == "mine"
    with pytest.raises(InvalidArgument, match="needs its id"):
        store.load("task", [{"title": "nameless"}], skip_existing=True)


def test_lists_show_the_order_of_the_load(store: holdfast.Store) -> None:
    """Also where the actors alternate, so that the batch makes several commits."""
    store.tasks.create(id="T", title="t")
    items = [{"id": f"c{9 - n}", "task_id": "T", "body": "b", "create_time": Y2020, "@actor": "ab"[n % 2]} for n in range(6)]
    before = store.revision
    store.load("comment", items)
    assert [each.id for each in store.comments.list()] == ["c9", "c8", "c7", "c6", "c5", "c4"]
    changes = list(store.watch(since=before, replay_only=True))
    assert [(each.action, each.id, each.actor) for each in changes] == [(1, f"c{9 - n}", "ab"[n % 2]) for n in range(6)]


def test_the_daemons_numbers_go_on_after_the_loaded(store: holdfast.Store) -> None:
    store.sessions.create(id="s")
    base = {"session_id": "s", "context_digest": store.blobs.put(b"{}").digest}
    store.load("checkpoint", [{"id": "b", "number": 7, **base}, {"id": "a", "number": 3, **base}, {"id": "c", **base}])
    assert [(each.id, each.number) for each in store.checkpoints.list("s", order_by="number")] == [("a", 3), ("b", 7), ("c", 8)]
    assert store.checkpoints.save("s", context={}).number == 9
    with pytest.raises(AlreadyExists) as refused:
        store.load("checkpoint", [{"id": "d", "number": 3, **base}])
    assert refused.value.reason == "NUMBER_TAKEN"
    store.load("workflow", [{"workflow_id": "w", "workflow_version": 4, "create_time": Y2020}])
    assert store.workflows.get("w@4").create_time.year == 2020
    assert sound(store)


def test_references_are_checked_as_in_an_insert(store: holdfast.Store) -> None:
    with pytest.raises(ParentNotFound) as refused:
        store.load("comment", [{"id": "c", "task_id": "TASK-404", "body": "b"}])
    assert refused.value.metadata["index"] == "0"
    with pytest.raises(FailedPrecondition, match="Put it first"):
        store.load("artifact", [{"name": "a", "content_digest": f"sha256:{'0' * 64}"}])


def test_a_version_does_not_fall_behind_a_deleted_one(store: holdfast.Store) -> None:
    store.load("task", [task(1, version=5)])
    store.tasks.delete("TASK-001")
    with pytest.raises(FailedPrecondition) as refused:
        store.load("task", [task(1, version=5)])
    assert refused.value.reason == "VERSION_USED"
    store.load("task", [task(1)])
    assert store.tasks.get("TASK-001").version == 6
    with pytest.raises(AlreadyExists):  # it is not deleted
        store.load("task", [task(1, version=3)])


def entry(number: int, **fields: Any) -> dict[str, Any]:
    return {"number": number, "role": "prompt", "content": f"text {number}", "create_time": Y2020, **fields}


def test_entries_keep_numbers_and_times(store: holdfast.Store) -> None:
    store.sessions.create(id="s")
    store.load("transcript", [entry(number) for number in (41, 42, 43)], parent=("session", "s"))
    found = list(store.transcripts.read("s"))
    assert [(each.number, each.create_time.year, each.content) for each in found] == [
        (n, 2020, f"text {n}") for n in (41, 42, 43)
    ]
    assert store.transcripts.append("s", role="x") == 44
    assert [each.number for each in store.transcripts.list(parent_kind="session", parent_id="s")] == [41, 42, 43, 44]
    with pytest.raises(FailedPrecondition) as refused:
        store.load("transcript", [entry(45), entry(47)], parent=("session", "s"))
    assert (refused.value.reason, refused.value.metadata["index"]) == ("ENTRY_GAP", "1")
    with pytest.raises(AlreadyExists) as taken:
        store.load("transcript", [entry(43)], parent=("session", "s"))
    assert taken.value.reason == "ENTRY_EXISTS"
    assert sound(store)
    store.sessions.delete("s", cascade=True)
    assert sound(store)


def test_entries_that_are_there_are_skipped_if_they_are_the_same(store: holdfast.Store) -> None:
    store.sessions.create(id="s")
    large = "x" * (2 << 20)
    items = [entry(1), entry(2, content=large, metadata={"b": 1, "a": 2}), entry(3)]
    store.load("transcript", items[:2], parent=("session", "s"))
    report = store.load("transcript", items, parent=("session", "s"), skip_existing=True)
    assert (report.loaded, report.skipped) == (1, 2)
    assert [len(each.content) for each in store.transcripts.read("s")] == [6, len(large), 6]
    with pytest.raises(FailedPrecondition) as refused:
        store.load("transcript", [entry(1), entry(2, content="other")], parent=("session", "s"), skip_existing=True)
    assert (refused.value.reason, refused.value.metadata["number"], refused.value.metadata["index"]) == (
        "ENTRY_DIFFERS",
        "2",
        "1",
    )
    with pytest.raises(InvalidArgument, match="needs its number"):
        store.load("transcript", [{"role": "x"}], parent=("session", "s"), skip_existing=True)


def test_a_watch_and_events_of_many_parents(store: holdfast.Store) -> None:
    for id in ("TASK-001", "TASK-002"):
        store.tasks.create(id=id, title=id)
    events = [{"parent_kind": "task", "parent_id": f"TASK-00{1 + n % 2}", "type": f"t{n}", "@actor": "ann"} for n in range(4)]
    before = store.revision
    store.load("event", events)
    assert [(each.parent_id, each.type, each.number) for each in store.events.watch(since=before, replay_only=True)] == [
        ("TASK-001", "t0", 1),
        ("TASK-002", "t1", 1),
        ("TASK-001", "t2", 2),
        ("TASK-002", "t3", 2),
    ]
    with pytest.raises(InvalidArgument, match="names no parent"):
        store.load("event", [{"type": "x"}])


def test_a_dry_run_checks_all_and_changes_nothing(store: holdfast.Store) -> None:
    store.sessions.create(id="s")
    before, blobs = store.revision, store.status().blob_count
    many = [task(number, blocked_by=[f"TASK-{number - 1:03d}"] if number > 1 else []) for number in range(1, 8)]
    report = store.load("task", many, dry_run=True, batch=3)
    assert (report.loaded, report.unchecked, report.dry_run) == (3, 4, True)
    report = store.load("task", many, dry_run=True)
    assert (report.loaded, report.unchecked) == (7, 0)
    entries = [entry(number, content=f"{number} {store.workspace}" + "x" * (2 << 20)) for number in range(1, 8)]
    assert store.load("transcript", entries, parent=("session", "s"), dry_run=True, batch=2).loaded == 7
    with pytest.raises(FailedPrecondition) as refused:
        store.load("transcript", [*entries, entry(9)], parent=("session", "s"), dry_run=True, batch=2)
    assert refused.value.metadata["index"] == "7"
    with pytest.raises(AlreadyExists):
        store.load("task", [*many, many[0]], dry_run=True, batch=3)
    assert store.load("task", [{"title": "no id"}] * 4, dry_run=True, batch=1).loaded == 4
    with pytest.raises(ParentNotFound):
        store.load("comment", [{"id": "c", "task_id": "TASK-001", "body": "b"}], dry_run=True)
    assert (store.status().revision, store.status().blob_count) == (before, blobs)
    assert store.tasks.next_id() == "TASK-001"


def test_files_fill_blobs_and_texts(store: holdfast.Store, tmp_path: Path) -> None:
    store.sessions.create(id="s")
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(b'{"a": 1}'))
    (tmp_path / "long.txt").write_bytes("ä".encode() * (1 << 20))
    (tmp_path / "meta.json").write_text('{"m": 1}')
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"x" * 10_000)[:-20])
    store.load("checkpoint", [{"id": "k", "session_id": "s", "context_digest": tmp_path / "c.json.gz"}])
    assert store.checkpoints.load(store.checkpoints.get("k")) == {"a": 1}
    assert store.checkpoints.get("k").context_type == "application/json"
    item = {"role": "x", "content": tmp_path / "long.txt", "metadata": tmp_path / "meta.json"}
    store.load("transcript", [item], parent=("session", "s"))
    (stored,) = store.transcripts.read("s")
    assert stored.content == "ä" * (1 << 20) and stored.metadata == {"m": 1} and stored.transcript.content_digest
    for name in ("binary", "torn.gz", "missing"):
        with pytest.raises(InvalidArgument) as refused:
            store.load("transcript", [{"role": "x", "content": tmp_path / name}], parent=("session", "s"))
        assert name in refused.value.message


def test_a_text_too_long_for_its_field_is_refused_with_the_limit(store: holdfast.Store) -> None:
    with pytest.raises(TooLarge):
        store.load("task", [task(1, title="x" * (20 << 20))])
    store.sessions.create(id="s")
    store.load("transcript", [entry(1, content="\0\ud800" + "x" * (20 << 20))], parent=("session", "s"))
    (stored,) = store.transcripts.read("s")
    assert store.transcripts.text(stored.message) == "\0\ud800" + "x" * (20 << 20)


def test_views_of_another_workspace_are_loaded_as_they_are(store: holdfast.Store, other: holdfast.Store) -> None:
    store.tasks.create(id="A", title="a", metadata={"x": [1]})
    store.tasks.update("A", title="b")
    store.transcripts.append("A", parent_kind="task", role="r", content="y" * (2 << 20))
    other.load("task", store.tasks.list())
    other.load("transcript", store.transcripts.list(parent_kind="task", parent_id="A"))
    assert message_of(other.tasks.get("A")) == message_of(store.tasks.get("A"))
    (copied,), (original,) = other.transcripts.list(), store.transcripts.list()
    assert (copied.content, copied.create_time) == (original.content, original.create_time)


def test_every_kind_can_be_moved(daemon: DaemonProcess, other: holdfast.Store) -> None:
    """A record of each kind, with values of every type, is the same in the other workspace, but for sizes of blobs it shares."""
    with Api(daemon.socket_path) as api, holdfast.connect(daemon.socket_path, workspace=api.workspace) as store:
        world = World(api)
        for kind in KINDS.values():
            message = world.minimal(kind)
            for field in changeable(kind):
                if not getattr(message, field.name):
                    world.fill(message, field)
            world.add(kind, complete(message))
        waiting = list(KINDS.values())
        while waiting:
            kind = waiting.pop(0)
            try:
                other.load(kind.name, store.collection(kind.name).list())
            except ParentNotFound:  # of a kind that comes later
                waiting.append(kind)
                continue
            before, after = ([message_of(each) for each in one.collection(kind.name).list()] for one in (store, other))
            assert before and before == after, kind.name


def test_two_loads_at_once_and_other_writers(store: holdfast.Store) -> None:
    items = [task(number) for number in range(1, 301)]
    reports, stop = [], threading.Event()

    def write() -> None:
        while not stop.is_set():
            store.bugs.create(title="b")

    def one() -> None:
        reports.append(store.load("task", items, batch=7, skip_existing=True))

    writer = threading.Thread(target=write)
    loads = [threading.Thread(target=one) for _ in range(2)]
    for thread in (writer, *loads):
        thread.start()
    for thread in loads:
        thread.join()
    stop.set()
    writer.join()
    assert [each.loaded + each.skipped for each in reports] == [300, 300]
    assert sum(each.loaded for each in reports) == 300 and store.tasks.count() == 300
    assert sound(store)


def test_a_load_survives_kills_of_the_daemon(own_daemon: DaemonProcess) -> None:
    with holdfast.connect(own_daemon.socket_path, workspace="w", timeout_s=60) as store:
        store.sessions.create(id="s")
        items = [entry(number) for number in range(1, 2001)]
        done = threading.Event()

        def kill() -> None:
            while not done.wait(0.15):
                own_daemon.kill()
                own_daemon.start()

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            report = store.load("transcript", items, parent=("session", "s"), batch=20)
        finally:
            done.set()
            killer.join()
        assert (report.loaded, report.skipped) == (2000, 0)
        assert [each.number for each in store.transcripts.read("s")] == list(range(1, 2001))
        again = store.load("transcript", items, parent=("session", "s"), skip_existing=True)
        assert (again.loaded, again.skipped) == (0, 2000)
        assert sound(store)
