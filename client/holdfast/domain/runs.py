"""Runs: executions of workflows."""

from __future__ import annotations

import datetime

from holdfast.records.collection import Collection
from holdfast.records.writes import CollectionWrites
from holdfast.v1 import record_pb2


class RunWrites(CollectionWrites[record_pb2.Run]):
    """Writes runs."""

    def start(self, workflow_id: str, version: int, /, **fields: object) -> record_pb2.Run:
        """Adds a run of a workflow's version that has begun now, with `task_id`, `inputs` and whatever else a run has.

        Raises ParentNotFound when there is no such version or task, and what `create` raises. In a transaction the version may
        be one that the transaction adds.
        """
        now = datetime.datetime.now(datetime.UTC)
        return self.create(None, **{"status": "running", "start_time": now, **fields, "workflow": f"{workflow_id}@{version}"})


class Runs(RunWrites, Collection[record_pb2.Run]):
    """The runs of one workspace. Safe in threads."""
