"""Runs: executions of workflows."""

from __future__ import annotations

import datetime

from holdfast.collection import Collection
from holdfast.v1 import record_pb2


class Runs(Collection[record_pb2.Run]):
    """The runs of one workspace. Safe in threads."""

    def start(self, workflow_id: str, version: int, /, **fields: object) -> record_pb2.Run:
        """Adds a run of a workflow's version that has begun now, with `task_id`, `inputs` and whatever else a run has.

        Raises ParentNotFound when there is no such version or task, and what `create` raises.
        """
        begun: dict[str, object] = {"status": "running", "start_time": datetime.datetime.now(datetime.UTC)}
        return self.create(workflow=f"{workflow_id}@{version}", **{**begun, **fields})
