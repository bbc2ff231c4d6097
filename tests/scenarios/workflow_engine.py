"""The fifth seed's repository interfaces on Holdfast; each operation is one call of the client."""

from __future__ import annotations

from typing import Any

import holdfast
from holdfast.v1 import record_pb2


class WorkflowRepository:
    """Workflows: small, versioned, human-readable."""

    def __init__(self, store: holdfast.Store) -> None:
        self._workflows = store.workflows

    def Store(self, workflow_id: str, **workflow: Any) -> record_pb2.Workflow:
        return self._workflows.store(workflow_id, **workflow)

    def Get(self, workflow_id: str, version: int) -> record_pb2.Workflow:
        return self._workflows.get(workflow_id, version)

    def GetLatest(self, workflow_id: str) -> record_pb2.Workflow:
        return self._workflows.latest(workflow_id)

    def List(self, workflow_id: str) -> list[record_pb2.Workflow]:
        return list(self._workflows.versions(workflow_id))

    def ListAll(self) -> list[record_pb2.Workflow]:
        return list(self._workflows.list())

    def Delete(self, workflow_id: str, version: int) -> None:
        self._workflows.delete(workflow_id, version)


class LogRepository:
    """Logs: large, append-only, queryable."""

    def __init__(self, store: holdfast.Store) -> None:
        self._logs = store.logs

    def StoreLog(self, run_id: str, **log: Any) -> record_pb2.ExecutionLog:
        return self._logs.store(run_id, **log)

    def GetLog(self, run_id: str) -> record_pb2.ExecutionLog:
        return self._logs.get(run_id)

    def QueryLogs(self, **filter: Any) -> list[record_pb2.ExecutionLog]:
        return list(self._logs.query(**filter))

    def GetRecent(self, workflow_id: str, version: int, limit: int) -> list[record_pb2.ExecutionLog]:
        return list(self._logs.recent(workflow_id, version, limit=limit))

    def Delete(self, run_id: str) -> None:
        self._logs.delete(run_id)


class MetricsRepository:
    """Metrics: only the patterns exist."""

    def __init__(self, store: holdfast.Store) -> None:
        self._patterns = store.patterns

    def GetPatterns(self, workflow_id: str) -> list[record_pb2.Pattern]:
        return list(self._patterns.list(filter=f"workflow_id = {holdfast.quoted(workflow_id)}"))

    def RecordPattern(self, **pattern: Any) -> record_pb2.Pattern:
        return self._patterns.save(**pattern)
