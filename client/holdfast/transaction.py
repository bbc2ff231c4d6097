"""A transaction: steps gathered under the nouns of the store and sent as one commit at the end of the `with` block."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from holdfast.contract.kinds import KINDS
from holdfast.domain.attachments import Attachments
from holdfast.journals.events import StagedEvents
from holdfast.records.collection import Scope
from holdfast.staged.files import StagedArtifacts, StagedAttachments, StagedCheckpoints
from holdfast.staged.outputs import StagedPhaseOutputs, StagedSpecs
from holdfast.staged.records import StagedRecords
from holdfast.staged.steps import Steps
from holdfast.staged.transcripts import StagedTranscripts
from holdfast.staged.work import StagedBranches, StagedConstitution, StagedInitiatives, StagedLogs, StagedRuns, StagedStates
from holdfast.staged.workflows import StagedWorkflows
from holdfast.v1 import record_pb2


class Transaction:
    """Steps that apply whole or not at all, when the `with` block ends without an exception; with one, nothing is sent.

    What writes has the same name and parameters here as in the store. A step that stands on what is there (a decision added, a
    workflow's next version, an attachment that goes) reads it when it is called, and the commit says which version that was:
    if somebody changes it in between, the whole fails with VersionMismatch or AlreadyExists.

    What the methods return are messages with their ids, which get their versions and times when the commit is done. Contexts and
    files are uploaded at once and are kept only if the commit names them. At most 1,000 steps. For one thread.
    """

    constructs: StagedRecords[record_pb2.Construct]
    sessions: StagedRecords[record_pb2.Session]
    checkpoints: StagedCheckpoints
    artifacts: StagedArtifacts
    links: StagedRecords[record_pb2.Link]
    tasks: StagedRecords[record_pb2.Task]
    plans: StagedRecords[record_pb2.Plan]
    initiatives: StagedInitiatives
    bugs: StagedRecords[record_pb2.Bug]
    status_updates: StagedRecords[record_pb2.StatusUpdate]
    design_notes: StagedRecords[record_pb2.DesignNote]
    comments: StagedRecords[record_pb2.Comment]
    gate_decisions: StagedRecords[record_pb2.GateDecision]
    branches: StagedBranches
    constitution: StagedConstitution
    task_states: StagedRecords[record_pb2.TaskState]
    phase_templates: StagedRecords[record_pb2.PhaseTemplate]
    workflows: StagedWorkflows
    runs: StagedRuns
    phase_outputs: StagedPhaseOutputs
    execution_logs: StagedLogs
    interventions: StagedRecords[record_pb2.Intervention]
    patterns: StagedRecords[record_pb2.Pattern]

    def __init__(self, scope: Scope, collections: Mapping[str, Any], attachments: Attachments) -> None:
        self.scope = scope
        self._steps = Steps(scope)
        special = _special(self._steps, collections)
        for kind in KINDS.values():
            setattr(self, kind.noun, special.get(kind.name) or StagedRecords(self._steps, kind))
        self.transcripts = StagedTranscripts(self._steps)
        self.events = StagedEvents(self._steps.stage_append)
        self.logs = self.execution_logs
        self.states = StagedStates(self._steps)
        self.specs = StagedSpecs(self.phase_outputs)
        self.attachments = StagedAttachments(self.artifacts, collections["artifact"], attachments)

    @property
    def revision(self) -> int:
        """The revision of the commit, once it is done."""
        return self._steps.revision

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._steps.end(commit=error is None)


def _special(steps: Steps, collections: Mapping[str, Any]) -> dict[str, StagedRecords[Any]]:
    """The steps of the kinds that have methods of their own; what they read, they read by the store's collection."""
    made = {
        name: staged(steps, KINDS[name], collections[name])
        for name, staged in {
            "artifact": StagedArtifacts,
            "checkpoint": StagedCheckpoints,
            "initiative": StagedInitiatives,
            "phase_output": StagedPhaseOutputs,
            "run": StagedRuns,
            "workflow": StagedWorkflows,
        }.items()
    }
    return made | {
        "branch": StagedBranches(steps, KINDS["branch"]),
        "constitution": StagedConstitution(steps, KINDS["constitution"]),
        "execution_log": StagedLogs(steps, KINDS["execution_log"], collections["execution_log"], made["run"]),
    }
