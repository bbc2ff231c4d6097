"""The fifth seed's repository interfaces on Holdfast, with its own signatures and the values of its own program.

Versions are explicit, so a workflow that is stored names no version: `Store` gives it the next one. What the seed returns as an
error is an exception.
"""

# ruff: noqa: RUF009 - `named` and `made_by_store` return `dataclasses.field`, which is made for each class.
from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import holdfast
from holdfast.values import views
from tests.scenarios.seed_values import given, made_by_store, named, taken

Time = datetime.datetime


@dataclass
class Phase:
    name: str
    settings: dict[str, Any] | None = None


@dataclass
class Workflow:
    """One version of a workflow. `parent_version` is the version that it comes from, 0 for the first."""

    id: str = named("workflow_id", "")
    name: str = ""
    phases: list[Phase] = named("phases", of=Phase)
    definition: dict[str, Any] | None = None
    version: int = made_by_store("workflow_version", 0)
    parent_version: int = made_by_store("parent_version", 0)


@dataclass
class Step:
    name: str
    status: str = ""
    start_time: Time | None = None
    end_time: Time | None = None
    detail: Any = None


@dataclass
class Log:
    """Everything that reflection needs; `detail` is of any size."""

    run_id: str
    workflow_id: str
    version: int = named("workflow_version", 0)
    status: str = ""
    start_time: Time | None = None
    end_time: Time | None = None
    steps: list[Step] = named("steps", of=Step)
    summary: str = ""
    detail: Any = None


@dataclass
class LogFilter:
    """By workflow, status and time range. An empty field does not filter."""

    workflow_id: str = ""
    version: int = 0
    status: str = ""
    since: Time | None = None
    until: Time | None = None


@dataclass
class Pattern:
    workflow_id: str
    description: str
    type: str = ""
    confidence: float = 0.0
    occurrences: int = 0
    evidence: dict[str, Any] | None = None
    id: str = ""


class WorkflowRepository:
    """Workflows: small, versioned, human-readable."""

    def __init__(self, store: holdfast.Store) -> None:
        self._workflows = store.workflows

    def Store(self, workflow: Workflow) -> None:
        stored = self._workflows.save(**given(workflow))
        workflow.version, workflow.parent_version = stored.workflow_version, stored.parent_version

    def Get(self, id: str, version: int) -> Workflow:
        return taken(Workflow, self._workflows.get(id, version))

    def GetLatest(self, id: str) -> Workflow:
        return taken(Workflow, self._workflows.latest(id))

    def List(self, id: str) -> list[Workflow]:
        return [taken(Workflow, each) for each in self._workflows.versions(id)]

    def ListAll(self) -> list[Workflow]:
        return [taken(Workflow, each) for each in self._workflows.list()]

    def Delete(self, id: str, version: int) -> None:
        self._workflows.delete(id, version)


class LogRepository:
    """Logs: large, append-only, queryable. A log needs no run in the store."""

    def __init__(self, store: holdfast.Store) -> None:
        self._logs = store.logs

    def StoreLog(self, log: Log) -> None:
        fields = given(log)
        self._logs.store(fields.pop("run_id"), **fields)

    def GetLog(self, run_id: str) -> Log:
        return self._whole(self._logs.get(run_id))

    def QueryLogs(self, filter: LogFilter) -> list[Log]:
        return [self._whole(each) for each in self._logs.query(**vars(filter))]

    def GetRecent(self, workflow_id: str, version: int, limit: int) -> list[Log]:
        return [self._whole(each) for each in self._logs.recent(workflow_id, version, limit=limit)]

    def Delete(self, run_id: str) -> None:
        self._logs.delete(run_id)

    def _whole(self, found: views.ExecutionLog) -> Log:
        return taken(Log, found, detail=self._logs.detail(found.run_id))


class MetricsRepository:
    """Metrics: only the patterns exist."""

    def __init__(self, store: holdfast.Store) -> None:
        self._patterns = store.patterns

    def GetPatterns(self, workflow_id: str) -> list[Pattern]:
        found = self._patterns.list(filter=f"workflow_id = {holdfast.quoted(workflow_id)}")
        return [taken(Pattern, each) for each in found]

    def RecordPattern(self, pattern: Pattern) -> None:
        pattern.id = pattern.id or self._patterns.next_id()
        self._patterns.save(**given(pattern))
