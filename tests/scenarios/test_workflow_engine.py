"""The workflow engine of the fifth seed, "Storage Architecture": its three repositories, implemented in workflow_engine.py.

Workflows have explicit, immutable versions with a lineage; logs are append-only and queried by workflow, status and time; of
the metrics only the patterns exist (executions and their summary do not yet).
"""

from __future__ import annotations

import datetime
import os
from typing import Any

import pytest

import holdfast
from holdfast.v1 import record_pb2
from tests.scenarios.workflow_engine import LogRepository, MetricsRepository, WorkflowRepository

BEGIN = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def workflows(store: holdfast.Store) -> WorkflowRepository:
    return WorkflowRepository(store)


@pytest.fixture
def logs(store: holdfast.Store) -> LogRepository:
    return LogRepository(store)


def started(store: holdfast.Store, workflow: record_pb2.Workflow, **fields: Any) -> str:
    """Starts a run of a workflow's version and returns its id."""
    return store.runs.start(workflow.workflow_id, workflow.workflow_version, **fields).id


# --- WorkflowRepository ---


def test_versions_are_explicit(workflows: WorkflowRepository) -> None:
    first = workflows.Store("review", name="Review", phases=[{"name": "read"}])
    second = workflows.Store("review", name="Review", phases=[{"name": "read"}, {"name": "comment"}])
    other = workflows.Store("ship", phases=[{"name": "tag"}])
    assert [each.id for each in (first, second, other)] == ["review@1", "review@2", "ship@1"]
    assert workflows.Get("review", 1) == first and workflows.Get("review", 2) == second
    assert workflows.GetLatest("review") == second
    assert [each.workflow_version for each in workflows.List("review")] == [1, 2]
    assert {each.id for each in workflows.ListAll()} == {"review@1", "review@2", "ship@1"}
    for missing in (("review", 3), ("nothing", 1)):
        with pytest.raises(holdfast.NotFound):
            workflows.Get(*missing)
    with pytest.raises(holdfast.NotFound):
        workflows.GetLatest("nothing")


def test_storing_the_same_again_makes_no_version(workflows: WorkflowRepository) -> None:
    definition = {"name": "Review", "phases": [{"name": "read", "settings": {"model": "large"}}], "definition": {"retries": 2}}
    first = workflows.Store("review", **definition)
    assert workflows.Store("review", **definition) == first
    assert workflows.Store("review", **definition | {"name": "Review!"}).workflow_version == 2
    assert workflows.Store("review", **definition).workflow_version == 3, "an earlier definition makes a new version"


def test_a_version_is_never_changed(store: holdfast.Store, workflows: WorkflowRepository) -> None:
    first = workflows.Store("review", name="Review", phases=[{"name": "read"}])
    for attempt in (
        lambda: store.collection("workflow").update(first.id, name="Rewritten"),
        lambda: store.collection("workflow").update(first.id, workflow_version=7),
    ):
        with pytest.raises(holdfast.HoldfastError):
            attempt()
    assert workflows.Get("review", 1) == first


def test_lineage(store: holdfast.Store, workflows: WorkflowRepository) -> None:
    workflows.Store("review", phases=[{"name": "read"}])
    workflows.Store("review", phases=[{"name": "read"}, {"name": "comment"}])
    changed = store.workflows.set_variable("review", "DEPTH", required=True)
    assert (changed.workflow_version, changed.parent_version) == (3, 2)
    assert [each.workflow_version for each in store.workflows.lineage("review", 3)] == [3, 2, 1]
    assert [each.workflow_version for each in store.workflows.lineage("review", 1)] == [1]


def test_versions_are_compared(store: holdfast.Store, workflows: WorkflowRepository) -> None:
    workflows.Store("review", name="Review", phases=[{"name": "read"}, {"name": "comment", "max_iterations": 1}])
    workflows.Store("review", name="Review!", phases=[{"name": "comment", "max_iterations": 2}, {"name": "merge"}])
    differences = str(store.workflows.diff("review", 1, 2))
    for word in ("name", "Review!", "read", "comment", "max_iterations", "merge"):
        assert word in differences
    assert not store.workflows.diff("review", 2, 2)


def test_a_definition_that_a_run_names_is_not_lost(store: holdfast.Store, workflows: WorkflowRepository) -> None:
    used = workflows.Store("review", phases=[{"name": "read"}])
    unused = workflows.Store("review", phases=[{"name": "skim"}])
    run_id = started(store, used)
    with pytest.raises(holdfast.HasDependents):
        workflows.Delete("review", 1)
    with pytest.raises(holdfast.HasDependents):
        store.collection("workflow").delete(used.id, cascade=True)
    workflows.Delete("review", 2)
    assert workflows.List("review") == [used]
    assert workflows.Store("review", phases=[{"name": "skim"}]).workflow_version == 3, f"{unused.id} must not be given again"
    store.runs.delete(run_id, cascade=True)
    with pytest.raises(holdfast.HasDependents):
        workflows.Delete("review", 1)  # the third came from it
    workflows.Delete("review", 3)
    workflows.Delete("review", 1)
    assert workflows.List("review") == []


# --- LogRepository ---


def fill(store: holdfast.Store, logs: LogRepository) -> dict[str, str]:
    """Six logs of two workflows, an hour apart; maps each run's id to a description."""
    one = store.workflows.store("review", phases=[{"name": "read"}])
    two = store.workflows.store("review", phases=[{"name": "read"}, {"name": "comment"}])
    ship = store.workflows.store("ship", phases=[{"name": "tag"}])
    named = {}
    for number, (workflow, status) in enumerate(
        [(one, "completed"), (one, "failed"), (two, "completed"), (ship, "completed"), (two, "failed"), (two, "completed")]
    ):
        run_id = started(store, workflow)
        start = BEGIN + number * HOUR
        logs.StoreLog(
            run_id,
            workflow_id=workflow.workflow_id,
            workflow_version=workflow.workflow_version,
            status=status,
            start_time=start,
            end_time=start + HOUR / 2,
            steps=[{"name": "read", "status": status, "detail": {"tokens": number}}],
        )
        named[run_id] = f"{number} {workflow.id} {status}"
    return named


def test_logs_are_queried_by_workflow_status_and_time(store: holdfast.Store, logs: LogRepository) -> None:
    named = fill(store, logs)

    def found(**filter: Any) -> list[str]:
        return sorted(named[each.run_id] for each in logs.QueryLogs(**filter))

    assert found() == sorted(named.values())
    assert found(workflow_id="ship") == ["3 ship@1 completed"]
    assert found(workflow_id="review", status="failed") == ["1 review@1 failed", "4 review@2 failed"]
    assert found(since=BEGIN + 4 * HOUR) == ["4 review@2 failed", "5 review@2 completed"]
    assert found(since=BEGIN + HOUR, until=BEGIN + 3 * HOUR, status="completed") == ["2 review@2 completed"]
    assert found(status="interrupted") == []


def test_recent_logs_of_a_version(store: holdfast.Store, logs: LogRepository) -> None:
    named = fill(store, logs)
    assert [named[each.run_id] for each in logs.GetRecent("review", 2, 2)] == ["5 review@2 completed", "4 review@2 failed"]
    assert [named[each.run_id] for each in logs.GetRecent("review", 1, 10)] == ["1 review@1 failed", "0 review@1 completed"]
    assert [named[each.run_id] for each in store.logs.recent("review", limit=3)] == [
        "5 review@2 completed",
        "4 review@2 failed",
        "2 review@2 completed",
    ]


@pytest.mark.parametrize(
    "detail",
    [{"decisions": ["retry"], "cost": 0.25}, "a long text\n" * 50_000, os.urandom(3_000_000)],
    ids=["JSON", "text", "bytes"],
)
def test_a_log_has_everything_that_reflection_needs(store: holdfast.Store, logs: LogRepository, detail: Any) -> None:
    run_id = started(store, store.workflows.store("review", phases=[{"name": "read"}]))
    steps = [{"name": "read", "status": "completed", "start_time": BEGIN, "detail": {"files": 3}}, {"name": "comment"}]
    made = logs.StoreLog(run_id, status="completed", summary="went well", steps=steps, detail=detail)
    assert logs.GetLog(run_id) == made
    assert [each.name for each in made.steps] == ["read", "comment"]
    assert holdfast.json_value(made.steps[0].detail) == {"files": 3}
    assert made.detail_size_bytes > 0 and made.ByteSize() < 1000, "large details must not be in the row"
    assert store.logs.detail(run_id) == detail


def test_logs_are_only_ever_added(store: holdfast.Store, logs: LogRepository) -> None:
    run_id = started(store, store.workflows.store("review", phases=[{"name": "read"}]))
    made = logs.StoreLog(run_id, status="completed")
    with pytest.raises(holdfast.AlreadyExists):
        logs.StoreLog(run_id, status="failed")
    with pytest.raises(holdfast.HoldfastError):
        store.collection("execution_log").update(made.id, status="failed")
    assert logs.GetLog(run_id) == made
    with pytest.raises(holdfast.ParentNotFound):
        logs.StoreLog("RUN-404", status="completed")
    logs.Delete(run_id)
    with pytest.raises(holdfast.NotFound):
        logs.GetLog(run_id)
    assert store.runs.exists(run_id)


# --- MetricsRepository ---


def test_patterns(store: holdfast.Store) -> None:
    metrics = MetricsRepository(store)
    evidence = {"runs": ["RUN-001", "RUN-004"]}
    metrics.RecordPattern(
        id="pat_reads_twice",
        workflow_id="review",
        type="waste",
        description="reads every file twice",
        confidence=0.6,
        occurrences=2,
        evidence=evidence,
    )
    metrics.RecordPattern(id="pat_reads_twice", occurrences=3, confidence=0.75)
    metrics.RecordPattern(id="pat_other", workflow_id="ship", description="tags late")
    (pattern,) = metrics.GetPatterns("review")
    assert (pattern.occurrences, pattern.confidence, pattern.description) == (3, 0.75, "reads every file twice")
    assert holdfast.json_value(pattern.evidence) == evidence
    assert metrics.GetPatterns("nothing") == []


def test_interventions_are_kept_for_the_metrics(store: holdfast.Store) -> None:
    run_id = started(store, store.workflows.store("review", phases=[{"name": "read"}]))
    store.interventions.create(
        actor="ann", reason="wrong branch", run_id=run_id, phase="read", start_time=BEGIN, end_time=BEGIN + HOUR / 6
    )
    (found,) = store.interventions.list(filter=f"run_id = {holdfast.quoted(run_id)}")
    row = holdfast.plain(found)
    assert (row["actor"], row["reason"], row["end_time"] - row["start_time"]) == ("ann", "wrong branch", HOUR / 6)
