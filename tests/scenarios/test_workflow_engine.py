"""The workflow engine of the fifth seed, "Storage Architecture": its three repositories, implemented in workflow_engine.py.

Workflows have explicit, immutable versions with a lineage; logs are append-only and queried by workflow, status and time; of
the metrics only the patterns exist (executions and their summary do not yet). Every test compares whole values.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import holdfast
from tests.conftest import DaemonProcess
from tests.scenarios.workflow_engine import (
    Log,
    LogFilter,
    LogRepository,
    MetricsRepository,
    Pattern,
    Phase,
    Step,
    Workflow,
    WorkflowRepository,
)

BEGIN = datetime.datetime(2021, 3, 1, 2, 3, 4, 567_890, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
NESTED = {"größe": {"deep": [1, 2.5, None, True, {"": "雪"}]}, "empty": {}, "quote": "\"'\\"}


@pytest.fixture
def workflows(store: holdfast.Store) -> WorkflowRepository:
    return WorkflowRepository(store)


@pytest.fixture
def logs(store: holdfast.Store) -> LogRepository:
    return LogRepository(store)


def stored(workflows: WorkflowRepository, id: str, *names: str, **fields: Any) -> Workflow:
    """Stores a workflow with phases of these names and returns it with the version that it got."""
    workflow = Workflow(id, phases=[Phase(name) for name in names], **fields)
    workflows.Store(workflow)
    return workflow


# --- WorkflowRepository ---


def test_versions_are_explicit(workflows: WorkflowRepository) -> None:
    first = Workflow("prüfung", "Prüfung\n", [Phase("read", NESTED), Phase("a comment")], NESTED)
    workflows.Store(first)
    second = dataclasses.replace(first, phases=first.phases[:1])
    workflows.Store(second)
    other = stored(workflows, "ship", "tag")
    assert [(each.version, each.parent_version) for each in (first, second, other)] == [(1, 0), (2, 1), (1, 0)]
    assert [workflows.Get(each.id, each.version) for each in (first, second, other)] == [first, second, other]
    assert workflows.GetLatest("prüfung") == second
    assert workflows.List("prüfung") == [first, second] and workflows.List("nothing") == []
    assert workflows.ListAll() == [first, second, other]
    for id, version in (("prüfung", 3), ("nothing", 1)):
        with pytest.raises(holdfast.NotFound):
            workflows.Get(id, version)
        with pytest.raises(holdfast.NotFound):
            workflows.Delete(id, version)
    with pytest.raises(holdfast.NotFound):
        workflows.GetLatest("nothing")


def test_storing_what_was_read_makes_no_version(workflows: WorkflowRepository) -> None:
    first = stored(workflows, "review", "read", name="Review", definition=NESTED)
    for _ in range(2):
        workflows.Store(workflows.GetLatest("review"))
    assert workflows.List("review") == [first]
    second = stored(workflows, "review", "read", name="Review!", definition=NESTED)
    workflows.Store(dataclasses.replace(first))
    third = workflows.GetLatest("review")
    assert third == dataclasses.replace(first, version=3, parent_version=2), "an earlier definition makes a new version"
    assert workflows.List("review") == [first, second, third]


def test_a_version_is_never_changed(store: holdfast.Store, workflows: WorkflowRepository) -> None:
    first = stored(workflows, "review", "read")
    for attempt in (
        lambda: store.collection("workflow").update("review@1", name="Rewritten"),
        lambda: store.collection("workflow").update("review@1", workflow_version=7),
    ):
        with pytest.raises(holdfast.HoldfastError):
            attempt()
    assert workflows.Get("review", 1) == first


def test_lineage(store: holdfast.Store, workflows: WorkflowRepository) -> None:
    stored(workflows, "review", "read")
    stored(workflows, "review", "read", "comment")
    changed = store.workflows.set_variable("review", "DEPTH", required=True)
    assert (changed.workflow_version, changed.parent_version) == (3, 2)
    branched = store.workflows.store("review", phases=[{"name": "skim"}], parent_version=1)
    assert [each.workflow_version for each in store.workflows.lineage("review", 3)] == [3, 2, 1]
    assert [each.workflow_version for each in store.workflows.lineage("review", 4)] == [4, 1]
    assert workflows.GetLatest("review") == Workflow("review", phases=[Phase("skim")], version=4, parent_version=1)
    assert [each.id for each in store.workflows.list_latest().values()] == [branched.id]


def test_versions_are_compared(store: holdfast.Store, workflows: WorkflowRepository) -> None:
    stored(workflows, "review", "read", "comment", name="Review")
    stored(workflows, "review", "comment", "merge", name="Review!")
    differences = str(store.workflows.diff("review", 1, 2))
    for word in ("name", "Review!", "read", "merge"):
        assert word in differences
    assert not store.workflows.diff("review", 2, 2)


def test_a_definition_that_a_run_names_is_not_lost(store: holdfast.Store, workflows: WorkflowRepository) -> None:
    used, unused = stored(workflows, "review", "read"), stored(workflows, "review", "skim")
    run_id = store.runs.start("review", 1).id
    with pytest.raises(holdfast.HasDependents):
        workflows.Delete("review", 1)
    with pytest.raises(holdfast.HasDependents):
        store.collection("workflow").delete("review@1", cascade=True)
    workflows.Delete("review", 2)
    assert workflows.List("review") == [used]
    again = stored(workflows, "review", "skim")
    assert (again.version, again.parent_version) == (3, 1), f"{unused.version} must not be given again"
    store.runs.delete(run_id, cascade=True)
    with pytest.raises(holdfast.HasDependents):
        workflows.Delete("review", 1)  # the third came from it
    workflows.Delete("review", 3)
    workflows.Delete("review", 1)
    assert workflows.List("review") == []


# --- LogRepository ---


def fill(logs: LogRepository) -> list[Log]:
    """Six logs of two workflows, an hour apart. None of their runs or workflows is in the store."""
    made = []
    for number, ran in enumerate(["review@1+", "review@1-", "review@2+", "ship@1+", "review@2-", "review@2+"]):
        workflow_id, version, status = ran[:-3], int(ran[-2]), "completed" if ran[-1] == "+" else "failed"
        start = BEGIN + number * HOUR
        steps = [Step("read it", status, start, start + HOUR / 3, {"tokens": number, **NESTED}), Step("comment")]
        log = Log(f"run-{9 - number}", workflow_id, version, status, start, start + HOUR / 2, steps, "größer\n", {"n": number})
        logs.StoreLog(log)
        made.append(log)
    return made


def test_logs_are_queried_by_workflow_status_and_time(logs: LogRepository) -> None:
    made = fill(logs)
    assert [logs.GetLog(each.run_id) for each in made] == made
    assert logs.QueryLogs(LogFilter()) == made
    assert logs.QueryLogs(LogFilter(workflow_id="ship")) == [made[3]]
    assert logs.QueryLogs(LogFilter(workflow_id="review", version=2)) == [made[2], made[4], made[5]]
    assert logs.QueryLogs(LogFilter(workflow_id="review", status="failed")) == [made[1], made[4]]
    assert logs.QueryLogs(LogFilter(since=BEGIN + 4 * HOUR)) == made[4:]
    assert logs.QueryLogs(LogFilter("", 0, "completed", BEGIN + HOUR, BEGIN + 3 * HOUR)) == [made[2]]
    assert logs.QueryLogs(LogFilter(status="interrupted")) == []


def test_recent_logs_of_a_version(store: holdfast.Store, logs: LogRepository) -> None:
    made = fill(logs)
    assert logs.GetRecent("review", 2, 2) == [made[5], made[4]]
    assert logs.GetRecent("review", 1, 10) == [made[1], made[0]]
    assert logs.GetRecent("nothing", 1, 10) == []
    assert [each.run_id for each in store.logs.recent("review", limit=3)] == [made[place].run_id for place in (5, 4, 2)]


@pytest.mark.parametrize(
    "detail",
    [{"decisions": ["retry"], "cost": 0.25, **NESTED}, "größer\0\n" * 700_000, os.urandom(3_000_000), None, ""],
    ids=["JSON", "text", "bytes", "none", "empty"],
)
def test_a_log_has_everything_that_reflection_needs(store: holdfast.Store, logs: LogRepository, detail: Any) -> None:
    log = Log("run-1", "review", 3, "completed", BEGIN, None, [Step("read", detail=[1, None])], "went well", detail)
    logs.StoreLog(log)
    assert logs.GetLog("run-1") == log
    assert store.logs.get("run-1").ByteSize() < 1000, "large details must not be in the row"


def test_logs_are_only_ever_added(store: holdfast.Store, logs: LogRepository) -> None:
    log = Log("run-1", "review", 1, "completed")
    logs.StoreLog(log)
    for again in (log, dataclasses.replace(log, status="failed")):
        with pytest.raises(holdfast.AlreadyExists):
            logs.StoreLog(again)
    with pytest.raises(holdfast.HoldfastError):
        store.collection("execution_log").update("run-1", status="failed")
    assert logs.QueryLogs(LogFilter()) == [log]
    logs.Delete("run-1")
    for missing in (logs.GetLog, logs.Delete):
        with pytest.raises(holdfast.NotFound):
            missing("run-1")


def test_the_log_of_a_run_in_the_store(store: holdfast.Store, workflows: WorkflowRepository, logs: LogRepository) -> None:
    """Such a log belongs to its run, which says what ran: another workflow or version is refused."""
    stored(workflows, "review", "read")
    run_id = store.runs.start("review", 1).id
    with pytest.raises(holdfast.InvalidArgument):
        logs.StoreLog(Log(run_id, "review", 2))
    logs.StoreLog(Log(run_id, "review", 1, "completed"))
    logs.Delete(run_id)
    assert store.runs.exists(run_id)
    logs.StoreLog(Log(run_id, "review", 1, "completed"))
    store.runs.delete(run_id, cascade=True)
    assert logs.QueryLogs(LogFilter()) == []


# --- MetricsRepository ---


def test_patterns(store: holdfast.Store) -> None:
    metrics = MetricsRepository(store)
    twice = Pattern("review", "liest jede Datei größer\n", "waste", 0.625, 2, {"runs": ["run-1"], **NESTED}, "pat_reads_twice")
    late, loose = Pattern("ship", "tags late", id="pat_late"), Pattern("review", "without an id")
    for pattern in (twice, late, loose, twice, loose):
        metrics.RecordPattern(pattern)
    assert metrics.GetPatterns("review") == [twice, loose] and metrics.GetPatterns("ship") == [late]
    again = dataclasses.replace(twice, occurrences=3, confidence=0.75)
    metrics.RecordPattern(again)
    assert metrics.GetPatterns("review") == [again, loose]
    assert metrics.GetPatterns("nothing") == []


def test_interventions_are_kept_for_the_metrics(store: holdfast.Store, workflows: WorkflowRepository) -> None:
    stored(workflows, "review", "read")
    run_id = store.runs.start("review", 1).id
    store.interventions.create(
        actor="ann", reason="wrong branch", run_id=run_id, phase="read", start_time=BEGIN, end_time=BEGIN + HOUR / 6
    )
    (found,) = store.interventions.list(filter=f"run_id = {holdfast.quoted(run_id)}")
    assert (found.actor, found.reason, found.start_time, found.end_time) == ("ann", "wrong branch", BEGIN, BEGIN + HOUR / 6)


# --- Best practices: bad records are skipped, all storages pass the same tests, formats carry a version ---


def test_a_damaged_record_is_skipped_and_reported(own_daemon: DaemonProcess) -> None:
    """ "Handle corruption gracefully: skip bad files/records, don't crash"."""
    with holdfast.connect(own_daemon.socket_path) as store:
        kept = [store.tasks.create(title=f"task {number}").id for number in range(3)]
    own_daemon.stop()
    with sqlite3.connect(own_daemon.data_dir / "holdfast.db") as database:
        database.execute("UPDATE task SET image = x'07' WHERE id = ?", (kept[1],))
    database.close()
    own_daemon.start()
    reported: list[Any] = []
    with holdfast.connect(own_daemon.socket_path) as store:
        assert [each.id for each in store.tasks.list(on_unreadable=reported.append)] == [kept[0], kept[2]]
    assert [each.id for each in reported] == [kept[1]]


def test_workflows_of_another_storage_move_in_with_their_versions(store: holdfast.Store, workflows: WorkflowRepository) -> None:
    """ "Read files, write to DB; verify data migrated correctly" """
    items = [
        {"workflow_id": "review", "workflow_version": 3, "name": "Review", "phases": [{"name": "read"}], "create_time": BEGIN},
        {"workflow_id": "review", "workflow_version": 4, "parent_version": 3, "create_time": BEGIN + HOUR},
    ]
    store.load("workflow", items)
    third = Workflow("review", "Review", [Phase("read")], version=3)
    assert workflows.List("review") == [third, Workflow("review", version=4, parent_version=3)]
    assert [each.create_time for each in store.workflows.versions("review")] == [BEGIN, BEGIN + HOUR]
    assert stored(workflows, "review", "skim").version == 5


def test_the_format_carries_a_version(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "holdfastd", "migrate", "--data-dir", str(tmp_path / "data")]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
