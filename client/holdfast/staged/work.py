"""States, initiatives, branches, runs and their logs, and the constitution, in a transaction."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import KINDS, Kind
from holdfast.domain.constitution import ONLY
from holdfast.domain.initiatives import Initiatives, decided
from holdfast.domain.logs import Logs, of_workflow
from holdfast.domain.runs import Runs, begun
from holdfast.domain.states import GateLike, State, state_steps
from holdfast.errors import NotFound
from holdfast.staged.records import StagedRecords
from holdfast.staged.steps import Steps
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Mutation


class StagedStates:
    """States of tasks in a transaction."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def save(self, task_id: str, /, *, gates: Iterable[GateLike] = (), version: int = 0, **fields: object) -> State:
        """Makes or changes a task's state, with decisions at its gates; as `States.save`. Returns those of its messages."""
        first, *rest = state_steps(task_id, gates, version, fields)
        state = first.update.record if version else first.upsert.record
        message: record_pb2.TaskState = self._steps.stage_record(KINDS["task_state"], first, state)
        return State(message, tuple(self._decision(step) for step in rest))

    def _decision(self, step: Mutation) -> record_pb2.GateDecision:
        record = step.insert.record if step.HasField("insert") else step.upsert.record
        decision: record_pb2.GateDecision = self._steps.stage_record(KINDS["gate_decision"], step, record)
        return decision


class StagedInitiatives(StagedRecords[record_pb2.Initiative]):
    """Initiatives in a transaction."""

    def __init__(self, steps: Steps, kind: Kind, initiatives: Initiatives) -> None:
        super().__init__(steps, kind)
        self._initiatives = initiatives
        self._writes: Counter[str] = Counter()  # of this transaction that write the initiative of that id
        self._decisions: dict[str, list[record_pb2.Decision]] = {}  # all of them, as the last such step leaves them

    def decide(
        self,
        initiative_id: str,
        /,
        *,
        decision: str,
        rationale: str = "",
        actor: str = "",
        time: datetime.datetime | Timestamp | None = None,
    ) -> record_pb2.Initiative:
        """Adds a decision to an initiative as it is now; as `Initiatives.decide`.

        When the initiative changes before the commit, the whole transaction fails with VersionMismatch. Raises NotFound.
        """
        found = self._read(initiative_id)
        made = decided(decision, rationale, actor or self._steps.scope.actor, time)
        decisions = [*self._decisions.get(initiative_id, found.decisions), made]
        return self.update(initiative_id, version=found.version + self._writes[initiative_id], decisions=decisions)

    def _read(self, id: str) -> record_pb2.Initiative:
        """The initiative as it is in the store; an empty one when this transaction makes it."""
        try:
            return self._initiatives.get(id)
        except NotFound:
            if self._writes[id]:
                return record_pb2.Initiative()
            raise

    def _staged(self, step: Mutation, record: record_pb2.Record) -> record_pb2.Initiative:
        initiative = record.initiative
        self._writes[initiative.id] += 1
        mask = step.update.update_mask if step.HasField("update") else step.upsert.update_mask
        if step.HasField("insert") or {"*", "decisions"} & set(mask.paths):
            self._decisions[initiative.id] = list(initiative.decisions)
        return super()._staged(step, record)


class StagedBranches(StagedRecords[record_pb2.Branch]):
    """Branches in a transaction."""

    def touch(self, name: str, /) -> record_pb2.Branch:
        """Notes that somebody works on the branch now."""
        return self.update(name, activity_time=datetime.datetime.now(datetime.UTC))

    def set_status(self, name: str, status: str, /) -> record_pb2.Branch:
        """Says where the branch stands, such as `merged`."""
        return self.update(name, status=status)


class StagedConstitution(StagedRecords[record_pb2.Constitution]):
    """The constitution in a transaction."""

    def delete(self, id: str = ONLY, /, *, version: int = 0, cascade: bool = False) -> None:
        """Removes it."""
        super().delete(id, version=version, cascade=cascade)


class StagedRuns(StagedRecords[record_pb2.Run]):
    """Runs in a transaction."""

    def __init__(self, steps: Steps, kind: Kind, runs: Runs) -> None:
        super().__init__(steps, kind)
        self._runs = runs
        self._workflows: dict[str, str] = {}  # of the runs of this transaction

    def start(self, workflow_id: str, version: int, /, **fields: object) -> record_pb2.Run:
        """Adds a run that has begun now; as `Runs.start`. The version may be one of this transaction."""
        return self.create(**begun(workflow_id, version, fields))

    def workflow_of(self, run_id: str) -> str:
        """The workflow's version that a run is of, whether of this transaction or of the store; empty when there is none."""
        if run_id in self._workflows:
            return self._workflows[run_id]
        try:
            return self._runs.get(run_id).workflow
        except NotFound:
            return ""

    def _staged(self, step: Mutation, record: record_pb2.Record) -> record_pb2.Run:
        if record.run.workflow:  # which never changes
            self._workflows[record.run.id] = record.run.workflow
        return super()._staged(step, record)


class StagedLogs(StagedRecords[record_pb2.ExecutionLog]):
    """Execution logs in a transaction."""

    def __init__(self, steps: Steps, kind: Kind, logs: Logs, runs: StagedRuns) -> None:
        super().__init__(steps, kind)
        self._logs = logs
        self._runs = runs

    def store(self, run_id: str, /, *, detail: object = None, **fields: object) -> record_pb2.ExecutionLog:
        """Adds the log of a run, which may be of this transaction; the detail is uploaded at once. As `Logs.store`."""
        about = of_workflow(self._runs.workflow_of(run_id), fields)
        return self._stage_insert(None, {**self._logs.stored_detail(detail), **about, "run_id": run_id})
