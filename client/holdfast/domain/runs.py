"""Runs: executions of workflows."""

from __future__ import annotations

import datetime

from holdfast.records.collection import Collection
from holdfast.v1 import record_pb2


class Runs(Collection[record_pb2.Run]):
    """The runs of one workspace. Safe in threads."""

    def start(self, workflow_id: str, version: int, /, **fields: object) -> record_pb2.Run:
        """Adds a run of a workflow's version that has begun now, with `task_id`, `inputs` and whatever else a run has.

        Raises ParentNotFound when there is no such version or task, and what `create` raises.
        """
        return self.create(**begun(workflow_id, version, fields))


def begun(workflow_id: str, version: int, fields: dict[str, object]) -> dict[str, object]:
    """The fields of a run that has begun now."""
    now = datetime.datetime.now(datetime.UTC)
    return {"status": "running", "start_time": now, **fields, "workflow": f"{workflow_id}@{version}"}
