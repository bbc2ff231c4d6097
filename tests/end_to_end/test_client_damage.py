"""A damaged record is not an absent one: `exists` raises, and lists hand the caller what they could not read."""

from __future__ import annotations

import datetime
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

import holdfast
from holdfast.cli import main
from holdfast.v1.store_service_pb2 import Unreadable
from tests.end_to_end.daemons import Directory

pytestmark = pytest.mark.slow  # processes of its own

DAMAGE = """
    UPDATE task SET image = x'07' WHERE id = 'T-1';
    UPDATE transcript SET image = x'07' WHERE number = 2;
    UPDATE event SET image = x'07' WHERE number = 2;
    UPDATE task_state SET image = x'07' WHERE task_id = 'T-1';
    UPDATE phase_output SET image = x'07';
"""


@pytest.fixture
def store(directory: Directory) -> Iterator[holdfast.Store]:
    """A store in which one of two tasks, one of two states, one of three entries and an output are damaged."""
    daemon = directory.serve()
    with holdfast.connect(daemon.socket) as made:
        for id in ("T-1", "T-2"):
            made.tasks.create(id=id, title=id)
            made.states.save(id, status="running", gates=[{"phase": "spec", "approved": True}])
        made.sessions.create(title="s", id="ses")
        made.specs.save("T-1", "the spec")
        for each in "abc":
            made.transcripts.append("ses", role="note", content=each)
            made.events.save("T-1", type=each)
    assert daemon.end() == 0
    with closing(sqlite3.connect(daemon.data_dir / "holdfast.db")) as connection:
        connection.executescript(DAMAGE)
    with holdfast.connect(directory.serve().socket) as client:
        yield client


def lists(store: holdfast.Store) -> dict[str, Callable[..., Any]]:
    return {
        "task T-1": store.tasks.list,
        "task T-1 by id": lambda **how: store.tasks.batch_get(["T-1", "T-2"], **how),
        "task T-1 page": lambda **how: store.tasks.page(**how),
        "task_state T-1": store.states.load_all,
        "transcript ses": lambda **how: store.transcripts.read("ses", **how),
        "transcript all": store.transcripts.list,
        "transcript page": lambda **how: store.transcripts.page(**how),
        "event T-1": lambda **how: store.events.read("T-1", **how),
        "event all": store.events.query,
    }


def consumed(found: Any) -> Any:
    """A page has its items; the others are iterated."""
    return getattr(found, "items", None) if isinstance(found, holdfast.Page) else list(found)


def test_exists_raises_data_loss(store: holdfast.Store) -> None:
    for damaged in (
        lambda: store.tasks.exists("T-1"),
        lambda: store.specs.exists("T-1"),
        lambda: store.phase_outputs.exists(task_id="T-1", phase="spec"),
    ):
        with pytest.raises(holdfast.DataLoss, match="cannot be read"):
            damaged()
    assert store.tasks.exists("T-2") and not store.tasks.exists("T-3") and not store.specs.exists("T-2")


def test_lists_say_what_they_could_not_read(store: holdfast.Store, caplog: pytest.LogCaptureFixture) -> None:
    for name, listed in lists(store).items():
        caplog.clear()
        with caplog.at_level(logging.WARNING, "holdfast"):
            found = listed()
            readable = consumed(found)
        assert len(readable) in (1, 2), name
        assert [each.kind for each in found.unreadable] == [name.split()[0]], name
        assert len(caplog.records) == 1 and "cannot be read" in caplog.text, name


def test_a_callable_is_told_instead_of_the_log(store: holdfast.Store, caplog: pytest.LogCaptureFixture) -> None:
    for name, listed in lists(store).items():
        told: list[Unreadable] = []
        found = listed(on_unreadable=told.append)
        consumed(found)
        assert [each.kind for each in told] == [name.split()[0]] and told == list(found.unreadable), name
        with pytest.raises(holdfast.DataLoss) as raised:
            consumed(listed(on_unreadable=holdfast.raise_unreadable))
        assert raised.value.metadata["kind"] == name.split()[0]
    assert caplog.records == []


def test_the_first_match_and_one_state(store: holdfast.Store) -> None:
    with pytest.raises(holdfast.DataLoss):
        store.tasks.first(on_unreadable=holdfast.raise_unreadable)
    with pytest.raises(holdfast.DataLoss):
        store.states.load("T-1", on_unreadable=lambda _: None)
    assert store.states.load_all(on_unreadable=lambda _: None)["T-2"].gates[0].approved


def test_watches_tell_of_a_damaged_change_and_go_on(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    daemon = directory.serve()
    with holdfast.connect(daemon.socket) as store:
        store.tasks.create(id="T-1", title="one")
        store.tasks.update("T-1", title="two")
        store.tasks.update("T-1", title="three")
        store.sessions.create(title="s", id="ses")
        for each in "abc":
            store.transcripts.append("ses", role="note", content=each)
    assert daemon.end() == 0
    with closing(sqlite3.connect(daemon.data_dir / "holdfast.db")) as connection:
        connection.executescript("UPDATE changes SET image = x'07' WHERE revision = 2;")
        connection.executescript("UPDATE changes SET version = 7 WHERE revision = 6;")
    with holdfast.connect(directory.serve().socket) as store:
        told: list[Unreadable] = []
        assert [each.record.task.title for each in store.tasks.history("T-1", on_unreadable=told.append)] == ["one", "three"]
        assert [(each.kind, each.id, each.revision, each.ordinal) for each in told] == [("task", "T-1", 2, 0)]
        order: list[int] = []
        with store.watch(since=0, replay_only=True, on_unreadable=lambda each: order.append(-each.revision)) as watch:
            for each in watch:
                order.append(each.revision)
        assert order == [1, -2, 3, 4, 5, -6, 7]
        assert [each.revision for each in watch.unreadable] == [2, 6]
        with caplog.at_level(logging.WARNING, logger="holdfast"):
            assert [each.content for each in store.transcripts.watch(since=0, replay_only=True)] == ["a", "c"]
        assert "transcript ses cannot be read: its row or that of its commit is damaged in the history" in caplog.text
        with pytest.raises(holdfast.DataLoss):
            list(store.tasks.watch(since=1, on_unreadable=holdfast.raise_unreadable))


def test_the_status_names_the_count(store: holdfast.Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = store.status()
    assert (before.unreadable_count, before.HasField("last_verify"), list(before.warnings)) == (0, False, [])
    for _ in range(2):
        list(store.tasks.list())
        list(store.transcripts.read("ses"))
        list(store.transcripts.list())
        with pytest.raises(holdfast.DataLoss):
            store.phase_outputs.get("spec/T-1")
    store.states.load_all()
    assert store.status().unreadable_count == 4
    problems = sum(len(frame.problems) for frame in store.verify())
    found = store.status()
    assert found.last_verify.problem_count == problems > 0
    assert found.last_verify.finish_time.ToNanoseconds() > found.start_time.ToNanoseconds()
    assert any("4 records, entries and changes could not be read" in each for each in found.warnings)
    assert main(["--socket", store.status().socket_path, "status"]) == 0
    told = capsys.readouterr().out
    assert "unreadable 4 records, entries and changes since the start" in told
    assert f": {problems} problems" in told


def test_lists_of_the_domain_tell_what_they_could_not_read(directory: Directory) -> None:
    daemon = directory.serve()
    with holdfast.connect(daemon.socket) as store:
        store.initiatives.create(id="I-1", title="i")
        store.tasks.create(id="T-1", title="t", initiative_id="I-1")
        store.tasks.create(id="T-2", title="t", blocked_by=["T-1"])
        store.comments.create(task_id="T-1", body="c", type="review")
        store.attachments.save("T-1", "a", b"a")
        store.branches.create(name="main", activity_time=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        workflow = store.workflows.create(workflow_id="ship", phases=[{"name": "build"}])
        run = store.runs.start("ship", workflow.workflow_version, task_id="T-1")
        store.specs.save("T-1", "the spec")
        store.phase_outputs.save(run_id=run.id, phase="build", content="x")
        store.logs.store(run.id)
    assert daemon.end() == 0
    kinds = ("task", "comment", "artifact", "branch", "workflow", "phase_output", "execution_log")
    with closing(sqlite3.connect(daemon.data_dir / "holdfast.db")) as connection:
        connection.executescript("".join(f"UPDATE {kind} SET image = x'07';" for kind in kinds))
    with holdfast.connect(directory.serve().socket) as store:
        lists: dict[str, list[Callable[..., Any]]] = {
            "comment": [lambda **how: store.comments.for_task("T-1", **how), lambda **how: store.comments.reviews("T-1", **how)],
            "artifact": [lambda **how: store.attachments.list("T-1", **how), lambda **how: store.attachments.page("T-1", **how)],
            "branch": [lambda **how: store.branches.stale(datetime.datetime.now(datetime.UTC), **how)],
            "execution_log": [store.logs.query, lambda **how: store.logs.recent("ship", **how)],
            "workflow": [lambda **how: store.workflows.versions("ship", **how)],
            "task": [store.tasks.ready, store.tasks.blocked, lambda **how: store.initiatives.tasks("I-1", **how)],
            "phase_output": [
                lambda **how: store.phase_outputs.all(run.id, **how),
                lambda **how: store.phase_outputs.for_task("T-1", **how),
                lambda **how: store.phase_outputs.as_map(run.id, **how),
            ],
        }
        for kind, found in lists.items():
            for each in found:
                told: list[Unreadable] = []
                assert not consumed(each(on_unreadable=told.append))
                assert {every.kind for every in told} == {kind}
                with pytest.raises(holdfast.DataLoss):
                    consumed(each(on_unreadable=holdfast.raise_unreadable))
