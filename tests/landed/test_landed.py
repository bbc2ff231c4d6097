"""The latest landed version's store, daemon and client, each with this tree's counterparts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import holdfast
from holdfast.contract.versions import API_VERSION
from holdfast.v1 import journal_service_pb2
from holdfast.wire.channel import close_channel, open_channel
from tests.conftest import DaemonProcess
from tests.landed import session
from tests.landed.trees import Tree

DONE = {
    "listed": ["Work"],
    "refused": "1",
    "followed": ["one", "two", "three"],
    "watched": ["session", True, "done"],
    "loaded": True,
    "newest": ["three"],
}


def start(daemon: DaemonProcess, tree: Tree | None) -> None:
    """Starts the daemon of a landed version, or (None) of this tree."""
    daemon.environment = tree.environment if tree is not None else None
    daemon.start()


# Fields that this tree's client tells from empty ones; the landed one cannot.
PRESENCE = ("task_id", "proposed_fix", "superseded_by", "approved", "variable", "duration_ms")


# Fields of this tree's contract that the landed one does not have, and that the landed client leaves empty.
ADDED = ("task_ids",)


def in_landed_terms(found: Any) -> Any:
    """What a client dumped, without the difference between an unset field and an empty one, and without new empty fields."""
    if isinstance(found, dict):
        known = {name: each for name, each in found.items() if name not in ADDED or each}
        return {name: each or None if name in PRESENCE else in_landed_terms(each) for name, each in known.items()}
    return [in_landed_terms(each) for each in found] if isinstance(found, list) else found


def problems(store: holdfast.Store) -> list[str]:
    return [str(problem) for frame in store.verify(read_blobs=True) for problem in frame.problems]


@pytest.mark.parametrize("end", [DaemonProcess.stop, DaemonProcess.kill], ids=["stopped", "killed"])
def test_a_landed_store_opens_and_reads_the_same(
    landed: Tree, old_daemon: DaemonProcess, end: Callable[[DaemonProcess], object]
) -> None:
    start(old_daemon, landed)
    landed.run("fill", old_daemon.socket_path)
    landed.run("fill_events", old_daemon.socket_path)
    before = landed.run("dump", old_daemon.socket_path)
    events = landed.run("dump_events", old_daemon.socket_path)
    assert_every_sort(before)
    end(old_daemon)
    start(old_daemon, None)
    with holdfast.connect(old_daemon.socket_path) as store:
        assert problems(store) == []
        assert in_landed_terms(session.dump(store)) == in_landed_terms(before)
        assert in_landed_terms(session.dump_events(store)) == in_landed_terms(events)
        assert session.work(store) == DONE, "the opened store can't be written to"
        assert problems(store) == []


def assert_every_sort(found: dict[str, Any]) -> None:
    """The store holds records of every kind, and blobs in the database, in files and as deltas."""
    assert [name for name in session.COLLECTIONS if not found[name]] == []
    codecs = {(codec, bool(path), bool(base)) for codec, path, base, _, _ in found["stored"]}
    assert {("raw", False, False), ("raw", True, False), ("delta", False, True)} <= codecs, codecs


def test_a_landed_client_talks_to_this_daemon(landed: Tree, own_daemon: DaemonProcess) -> None:
    assert landed.run("work", own_daemon.socket_path) == DONE
    landed.run("fill", own_daemon.socket_path)
    landed.run("fill_events", own_daemon.socket_path)
    with holdfast.connect(own_daemon.socket_path) as store:
        assert in_landed_terms(landed.run("dump", own_daemon.socket_path)) == in_landed_terms(session.dump(store))
        assert in_landed_terms(landed.run("dump_events", own_daemon.socket_path)) == in_landed_terms(session.dump_events(store))
        assert landed.run("states", own_daemon.socket_path) == session.states(store) != {}
        assert problems(store) == []


def test_this_client_talks_to_the_landed_daemon(landed: Tree, old_daemon: DaemonProcess) -> None:
    start(old_daemon, landed)
    with holdfast.connect(old_daemon.socket_path, actor="tester") as store:
        assert session.work(store) == DONE
        session.fill(store)
        session.fill_events(store)
        assert in_landed_terms(session.dump(store)) == in_landed_terms(landed.run("dump", old_daemon.socket_path))
        assert in_landed_terms(session.dump_events(store)) == in_landed_terms(landed.run("dump_events", old_daemon.socket_path))
        assert session.states(store) == landed.run("states", old_daemon.socket_path) != {}
        assert next(store.audit.query(descending=True, limit=1)).kind


def test_the_landed_daemon_refuses_what_an_entry_cannot_hold(landed: Tree, old_daemon: DaemonProcess) -> None:
    start(old_daemon, landed)
    with holdfast.connect(old_daemon.socket_path, actor="tester") as store:
        talk, task = store.sessions.create(title="s").id, store.tasks.create(title="t").id
        with pytest.raises(holdfast.TooLarge, match=r"The entry has 1,500,0\d\d bytes, .*Upgrade the daemon"):
            store.transcripts.append(talk, role="r", content="x" * 1_500_000)
        for text in ("a\0b", "a\ud800b"):
            with pytest.raises(holdfast.InvalidArgument, match="Upgrade the daemon"):
                store.transcripts.append(talk, role="r", content=text)
            with pytest.raises(holdfast.InvalidArgument, match="Upgrade the daemon"):
                store.events.save(task, type="t", data={"out": text})
            with pytest.raises(holdfast.InvalidArgument):
                store.phase_outputs.save(task_id=task, phase="spec", content=text)
        with pytest.raises(holdfast.TooLarge, match="2,097,152"):
            store.specs.save(task, "x" * 2_500_000)
        store.specs.save(task, "x" * 2_000_000)
        assert len(store.specs.get(task) or "") == 2_000_000
        assert list(store.transcripts.read(talk)) == [] == list(store.events.read(task))
        old_daemon.stop()
        start(old_daemon, None)
        store.transcripts.append(talk, role="r", content="a\ud800b")
        assert [store.transcripts.text(each) for each in store.transcripts.read(talk)] == ["a\ud800b"]


def test_what_an_older_daemon_lacks_is_named(before_scan: Tree, old_daemon: DaemonProcess) -> None:
    start(old_daemon, before_scan)
    with holdfast.connect(old_daemon.socket_path, actor="tester") as store:
        assert session.work(store) == DONE, "a call that the older daemon has fails"
        session.fill(store)
        assert in_landed_terms(session.dump(store)) == in_landed_terms(before_scan.run("dump", old_daemon.socket_path))
        for call, named in {
            lambda: session.states(store): "StoreService.Scan",
            lambda: session.fill_events(store): "JournalService.Append with `event`",
            lambda: session.dump_events(store): "JournalService.Read with `event`",
            lambda: list(store.audit.query(descending=True)): "JournalService.List with `descending`",
            lambda: next(store.watch(kinds=["event"], since=0)): "StoreService.Watch with `event`",
        }.items():
            with pytest.raises(holdfast.VersionSkew) as caught:
                call()
            assert str(caught.value).startswith(
                f"{named} needs version 2 of the API; the daemon has version 1. Upgrade the daemon"
            )
            assert caught.value.metadata.items() >= {"needs": "2", "min": "1", "max": "1", "client": str(API_VERSION)}.items()
        assert store.tasks.create(title="Next").title == "Next", "the connection fails after a refusal"


def test_what_needs_version_4_is_named_and_the_rest_works_with_the_landed_daemon(landed: Tree, old_daemon: DaemonProcess) -> None:
    start(old_daemon, landed)
    with holdfast.connect(old_daemon.socket_path, actor="tester") as store:
        initiative = store.initiatives.create(title="i")
        task = store.tasks.create(title="t", initiative_id=initiative.id)
        assert [each.id for each in store.initiatives.tasks(initiative.id)] == [task.id]
        assert [each.id for each in store.initiatives.load_all()[initiative.id].tasks] == [task.id]
        store.events.save(task.id, type="x")
        assert [each.action for each in store.audit.of("task", task.id)] == ["insert"]
        assert store.transcripts.append_batch([{"task_id": task.id, "role": "chunk"}]) == [1]
        for call, named in {
            lambda: store.initiatives.save(initiative, tasks=[task]): "`task_ids`",
            lambda: store.audit.record(task, action="approved"): "`note`",
            lambda: list(store.events.query(by_revision=True)): "`by_revision`",
        }.items():
            with pytest.raises(holdfast.VersionSkew, match=named):
                call()


def test_a_client_notices_that_its_daemon_was_upgraded(before_scan: Tree, old_daemon: DaemonProcess) -> None:
    start(old_daemon, before_scan)
    with holdfast.connect(old_daemon.socket_path, actor="tester") as store:
        session.fill_records(store)
        with pytest.raises(holdfast.VersionSkew):
            session.states(store)
        old_daemon.stop()
        start(old_daemon, None)
        assert session.states(store) == {"TASK-001": "running"}


def test_an_older_daemon_would_drop_what_it_does_not_know(before_scan: Tree, old_daemon: DaemonProcess) -> None:
    """Why the client refuses the call: an older daemon ignores the unknown field and answers in the wrong order."""
    start(old_daemon, before_scan)
    with holdfast.connect(old_daemon.socket_path) as store:
        session_id = store.sessions.create(title="s").id
        store.transcripts.append_many(session_id, [{"role": "prompt", "content": each} for each in "ab"])
    stubs = open_channel(old_daemon.socket_path)
    try:
        request = journal_service_pb2.JournalServiceListRequest(parent_kind="session", parent_id=session_id, descending=True)
        entries = list(stubs.journal.List(request, timeout=10).entries)
    finally:
        close_channel(stubs)
    assert [each.transcript.content for each in entries] == ["a", "b"]


def test_an_expected_version_reaches_a_landed_daemon_or_is_refused(landed: Tree, old_daemon: DaemonProcess) -> None:
    start(old_daemon, landed)
    with holdfast.connect(old_daemon.socket_path, actor="tester") as store:
        stale = store.tasks.save(id="T", title="a")
        store.tasks.save(store.tasks.get("T"))
        for save in (lambda: store.tasks.save(stale), lambda: store.tasks.save(id="T", title="b", version=1)):
            with pytest.raises(holdfast.VersionMismatch):
                save()
        run = store.runs.create()
        with pytest.raises(holdfast.VersionSkew, match="`version`"):
            store.phase_outputs.save(run_id=run.id, phase="p", content="c", version=1)
