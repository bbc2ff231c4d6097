"""The tracker of the third seed, "Initial Persistence Layer Strategy": five tables behind repositories.

Tasks, bugs, status updates, design notes and audit entries, with the columns that its schema hints name; versions that
rise by one; recent status updates and design notes by creation time; SQLite or memory, chosen by an environment variable.
"""

from __future__ import annotations

import datetime
import itertools
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
import holdfast.testing
from tests.end_to_end.daemons import COMMAND, DaemonProcess, Directory

# The columns of the hints and where they are in Holdfast: a field of the record or of the audit entry.
HINTS = {
    "tasks": {"id", "title", "status", "version", "priority", "rationale_log", "assignees", "create_time"},
    "bugs": {"id", "title", "severity", "task_id", "repro_steps", "proposed_fix", "version", "create_time"},
    "status_updates": {"id", "actor", "task_id", "message", "create_time"},
    "design_notes": {"id", "title", "context", "decision", "consequences", "actor", "create_time", "superseded_by"},
}


def audit_rows(entries: Iterator[Any]) -> list[tuple[str, str, str, str]]:
    """Actor, entity, entity id and action, as in the fifth table."""
    return [(each.actor, each.kind, each.id, each.action) for each in entries]


def test_a_task_has_the_hinted_columns(store: holdfast.Store) -> None:
    log = [{"at": "2025-09-21", "why": "blocks the release"}]
    made = store.tasks.create(title="Persist tasks", priority="high", assignees=["ann", "bob"], rationale_log=log)
    row = holdfast.plain(store.tasks.get(made.id))
    assert HINTS["tasks"] <= row.keys()
    assert (row["title"], row["status"], row["version"], row["priority"]) == ("Persist tasks", "created", 1, "high")
    assert (row["rationale_log"], row["assignees"]) == (log, ["ann", "bob"])
    assert abs(datetime.datetime.now(datetime.UTC) - row["create_time"]) < datetime.timedelta(minutes=1)


def test_versions_are_optimistic(store: holdfast.Store) -> None:
    mine = store.tasks.create(title="Contested")
    theirs = store.tasks.update(mine.id, status="running", version=mine.version)
    assert theirs.version == 2
    with pytest.raises(holdfast.VersionMismatch) as refused:
        store.tasks.update(mine.id, status="paused", version=mine.version)
    assert refused.value.metadata["expected"] == "1" and refused.value.metadata["actual"] == "2"
    with pytest.raises(holdfast.VersionMismatch):
        store.tasks.delete(mine.id, version=1)
    again = store.tasks.get(mine.id)
    again.status = "paused"
    assert store.tasks.update(again).version == 3
    with pytest.raises(holdfast.VersionMismatch):
        store.tasks.save(again)
    assert store.tasks.save(store.tasks.get(mine.id)).version == 4


def test_a_bug_may_name_a_task(store: holdfast.Store) -> None:
    task = store.tasks.create(title="Login")
    steps = ["open the page", "press enter twice"]
    bug = store.bugs.create(title="Crash", severity="critical", task_id=task.id, repro_steps=steps, proposed_fix="debounce")
    loose = store.bugs.create(title="Typo", severity="low")
    row = holdfast.plain(store.bugs.get(bug.id))
    assert HINTS["bugs"] <= row.keys()
    assert (row["severity"], row["task_id"], row["repro_steps"], row["proposed_fix"]) == ("critical", task.id, steps, "debounce")
    row = holdfast.plain(store.bugs.get(loose.id))
    assert (row["task_id"], row["proposed_fix"]) == (None, None), "both columns may be NULL"
    assert [each.id for each in store.bugs.list(filter="proposed_fix = null")] == [loose.id]
    assert [each.id for each in store.bugs.list(filter=f'task_id = "{task.id}"')] == [bug.id]
    assert [each.id for each in store.bugs.list(filter='severity = "low"')] == [loose.id]
    assert store.bugs.update(bug.id, status="fixed", version=1).version == 2
    with pytest.raises(holdfast.ParentNotFound):
        store.bugs.create(title="Of nothing", task_id="TASK-404")


def test_recent_status_updates(store: holdfast.Store) -> None:
    task = store.tasks.create(title="Reported on")
    for number in range(12):
        store.status_updates.create(actor="ann" if number % 2 else "bob", task_id=task.id, message=f"update {number}")
    store.status_updates.create(actor="ci", message="the build is green")
    assert HINTS["status_updates"] <= holdfast.plain(next(iter(store.status_updates.list()))).keys()
    recent = list(store.status_updates.list(order_by="create_time desc", limit=3))
    assert [each.message for each in recent] == ["the build is green", "update 11", "update 10"]
    of_task = store.status_updates.list(
        filter=f'task_id = "{task.id}" AND actor = "ann"', order_by="create_time desc", page_size=2
    )
    assert [each.message for each in of_task] == [f"update {number}" for number in (11, 9, 7, 5, 3, 1)]
    with pytest.raises(holdfast.HasDependents):
        store.tasks.delete(task.id)
    store.tasks.delete(task.id, cascade=True)
    assert [each.message for each in store.status_updates.list()] == ["the build is green"]


def test_design_notes_by_creation_time(store: holdfast.Store) -> None:
    notes = [
        store.design_notes.create(title=f"ADR {number}", context="c", decision="d", consequences="e", actor="ann")
        for number in range(1, 8)
    ]
    newer = store.design_notes.create(title="ADR 8", decision="the other way", actor="bob")
    superseded = store.design_notes.update(notes[2].id, superseded_by=newer.id)
    assert HINTS["design_notes"] <= holdfast.plain(superseded).keys()
    listed = list(store.design_notes.list(order_by="create_time", page_size=3))
    assert [each.title for each in listed] == [f"ADR {number}" for number in range(1, 9)]
    assert all(one.create_time <= two.create_time for one, two in itertools.pairwise(listed))
    in_force = store.design_notes.list(filter='superseded_by = ""', order_by="create_time desc", limit=2)
    assert [each.title for each in in_force] == ["ADR 8", "ADR 7"]
    assert [each.title for each in store.design_notes.list(filter=f'superseded_by = "{newer.id}"')] == ["ADR 3"]


def test_every_change_is_audited_with_its_diff(store: holdfast.Store) -> None:
    task = store.tasks.create(title="Audited", assignees=["ann"])
    store.tasks.update(task.id, status="running", priority="high")
    bug = store.bugs.create(title="Found on the way", task_id=task.id)
    store.bugs.delete(bug.id)
    entries = list(store.audit.of("task", task.id))
    assert audit_rows(iter(entries)) == [("tester", "task", task.id, "insert"), ("tester", "task", task.id, "update")]
    assert holdfast.json_value(entries[1].diff) == {
        "priority": {"before": "normal", "after": "high"},
        "status": {"before": "created", "after": "running"},
    }
    assert entries[0].time <= entries[1].time
    made, removed = store.audit.of("bug", bug.id)
    assert holdfast.json_value(made.diff)["title"] == {"after": "Found on the way"}
    assert (removed.action, holdfast.json_value(removed.diff)["title"]) == ("delete", {"before": "Found on the way"})
    assert audit_rows(store.audit.query())[0] == ("tester", "task", task.id, "insert")
    assert audit_rows(store.audit.query(filter='action = "delete"')) == [("tester", "bug", bug.id, "delete")]
    assert list(store.audit.query(actor="nobody")) == []


def test_the_audit_has_the_trackers_own_actions_and_keys(store: holdfast.Store) -> None:
    task = store.tasks.create(title="Audited")
    diff = {"größe": {"before": [1, None], "after": {"deep": "雪"}}}
    store.audit.record("task", task.id, action="approved", diff=diff)
    store.tasks.update(task.id, status="running")
    entries = list(store.audit.of("task", task.id, descending=True))
    assert [each.action for each in entries] == ["update", "approved", "insert"]
    assert (entries[1].actor, entries[1].diff) == ("tester", diff)
    assert [store.audit.get(each.key) for each in entries] == entries
    assert len({each.key for each in entries}) == 3


def test_the_tracker_has_its_own_statuses(store: holdfast.Store) -> None:
    terms = [
        {"value": "todo", "meaning": "open"},
        {"value": "in progress", "meaning": "active"},
        {"value": "erledigt", "meaning": "done"},
    ]
    store.vocabularies.save(record_kind="task", field="status", terms=terms)
    first = store.tasks.create(title="First")
    second = store.tasks.create(title="Second", blocked_by=[first.id])
    assert (first.status, [each.id for each in store.tasks.ready()]) == ("todo", [first.id])
    for status in ("in progress", "erledigt"):
        assert store.tasks.update(first.id, status=status).status == status
    assert [each.id for each in store.tasks.list(filter='status = "erledigt"')] == [first.id]
    assert second.id in [each.id for each in store.tasks.ready()]
    with pytest.raises(holdfast.InvalidArgument):
        store.tasks.update(second.id, status="created")


def test_the_trackers_own_tests_use_memory() -> None:
    """ "Keep in-memory versions for fast tests": a store of its own, gone at the end of the block."""
    with holdfast.testing.store() as store:
        task_id = fill(store)
        assert (store.status().persistence, store.tasks.get(task_id).version) == ("memory", 2)
    with holdfast.testing.store() as store:
        assert store.tasks.count() == 0


def start_at(directory: Directory, database: Path) -> DaemonProcess:
    """Starts a daemon that gets the path of its database only from the environment."""
    log_path = directory.path / "persist.log"
    command = [*COMMAND, "--socket", str(directory.path / "run" / "p.sock")]
    with log_path.open("w") as log:
        environment = os.environ | {"PERSIST_DB_PATH": str(database), "PERSISTENCE": "sqlite"}
        process = subprocess.Popen(command, stderr=log, env=environment, text=True)
    data_dir = database.with_name(database.name + ".d")
    daemon = DaemonProcess(process, data_dir, directory.path / "run" / "p.sock", log_path)
    directory.daemons.append(daemon)
    return daemon.await_serving()


def fill(store: holdfast.Store) -> str:
    """Adds a row to each table; returns the task's id."""
    task = store.tasks.create(title="Kept", assignees=["ann"])
    store.tasks.update(task.id, status="running", version=1)
    store.bugs.create(title="Kept", task_id=task.id, repro_steps=["look"])
    store.status_updates.create(actor="ann", task_id=task.id, message="halfway")
    store.design_notes.create(title="Kept", decision="SQLite", actor="ann")
    return task.id


def contents(store: holdfast.Store) -> dict[str, list[dict[str, Any]]]:
    """The contents of the five tables."""
    tables: dict[str, Any] = {
        "tasks": store.tasks.list(),
        "bugs": store.bugs.list(),
        "status_updates": store.status_updates.list(),
        "design_notes": store.design_notes.list(),
        "audit_entries": store.audit.query(),
    }
    return {name: [holdfast.plain(each) for each in rows] for name, rows in tables.items()}


def test_it_is_durable_across_restarts(directory: Directory) -> None:
    """PERSIST_DB_PATH gives the path: one SQLite file that other programs can read, migrated in numbered steps."""
    path = directory.path / "data" / "app.db"
    daemon = start_at(directory, path)
    with holdfast.connect(daemon.socket, actor="ann") as store:
        task_id = fill(store)
        before = contents(store)
    assert daemon.end() == 0
    with sqlite3.connect(path) as database:
        steps = database.execute("SELECT version, applied_at FROM schema_migrations ORDER BY version").fetchall()
    assert [int(version) for version, _ in steps] == list(range(1, len(steps) + 1))
    assert all(isinstance(applied_at, int) for _, applied_at in steps)
    database.close()
    daemon = start_at(directory, path)
    with holdfast.connect(daemon.socket, actor="bob") as store:
        assert contents(store) == before
        assert [len(rows) for rows in before.values()] == [1, 1, 1, 1, 5]
        assert store.tasks.update(task_id, status="completed", version=2).version == 3
        assert [(each.actor, each.version) for each in store.audit.of("task", task_id)] == [("ann", 1), ("ann", 2), ("bob", 3)]


@pytest.mark.parametrize("persistence", ["memory", "sqlite"])
def test_a_flag_of_the_environment_chooses_memory_or_sqlite(directory: Directory, persistence: str) -> None:
    """The same calls work with both; only SQLite keeps the data over a restart."""
    daemon = directory.serve(PERSISTENCE=persistence)
    with holdfast.connect(daemon.socket) as store:
        assert store.status().persistence == persistence
        fill(store)
        filled = {name: len(rows) for name, rows in contents(store).items()}
        assert filled == {"tasks": 1, "bugs": 1, "status_updates": 1, "design_notes": 1, "audit_entries": 5}
    assert daemon.end() == 0
    with holdfast.connect(directory.serve(PERSISTENCE=persistence).socket) as store:
        kept = {name: len(rows) for name, rows in contents(store).items()}
    assert kept == (filled if persistence == "sqlite" else dict.fromkeys(filled, 0))
