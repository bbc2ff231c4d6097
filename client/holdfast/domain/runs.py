"""Runs: executions of workflows."""

from __future__ import annotations

import datetime

from holdfast.records.collection import Collection
from holdfast.records.writes import CollectionWrites
from holdfast.values import views


class RunWrites(CollectionWrites["views.Run"]):
    """Writes runs.

    `update(id, task_id=…)` gives a run without a task its task, and so its phase outputs too, in the same commit. It raises
    InvalidArgument when the run has another task, and FailedPrecondition when one of its outputs has.
    """

    def start(self, workflow_id: str, version: int, /, **fields: object) -> views.Run:
        """Adds a run of a workflow's version, with status `running` and a start time of now. `fields` are fields of a run.

        Raises ParentNotFound when the version or the task does not exist, and the errors of `create`. In a transaction the
        version may be one that the transaction adds.
        """
        now = datetime.datetime.now(datetime.UTC)
        return self.create(None, **{"status": "running", "start_time": now, **fields, "workflow": f"{workflow_id}@{version}"})


class Runs(RunWrites, Collection["views.Run"]):
    """The runs of one workspace. Thread-safe."""
