"""Generated from the registry of kinds by `make generate`. Do not edit."""

from __future__ import annotations

from holdfast.domain.branches import Branches, BranchWrites
from holdfast.domain.comments import Comments
from holdfast.domain.constitution import Constitution, ConstitutionWrites
from holdfast.domain.initiatives import Initiatives, InitiativeWrites
from holdfast.domain.logs import Logs, LogWrites
from holdfast.domain.phase_outputs import PhaseOutputs, PhaseOutputWrites
from holdfast.domain.runs import Runs, RunWrites
from holdfast.domain.tasks import Tasks
from holdfast.domain.workflow_versions import WorkflowWrites
from holdfast.domain.workflows import Workflows
from holdfast.records.artifacts import Artifacts, ArtifactWrites
from holdfast.records.checkpoints import Checkpoints, CheckpointWrites
from holdfast.records.collection import Collection
from holdfast.records.writes import CollectionWrites
from holdfast.v1 import record_pb2


class StoreNouns:
    """The collection of each kind in a store."""

    constructs: Collection[record_pb2.Construct]
    sessions: Collection[record_pb2.Session]
    checkpoints: Checkpoints
    artifacts: Artifacts
    links: Collection[record_pb2.Link]
    tasks: Tasks
    plans: Collection[record_pb2.Plan]
    initiatives: Initiatives
    bugs: Collection[record_pb2.Bug]
    status_updates: Collection[record_pb2.StatusUpdate]
    design_notes: Collection[record_pb2.DesignNote]
    comments: Comments
    gate_decisions: Collection[record_pb2.GateDecision]
    branches: Branches
    constitution: Constitution
    task_states: Collection[record_pb2.TaskState]
    phase_templates: Collection[record_pb2.PhaseTemplate]
    workflows: Workflows
    runs: Runs
    phase_outputs: PhaseOutputs
    execution_logs: Logs
    interventions: Collection[record_pb2.Intervention]
    patterns: Collection[record_pb2.Pattern]
    vocabularies: Collection[record_pb2.Vocabulary]


class TransactionNouns:
    """The collection of each kind in a transaction."""

    constructs: CollectionWrites[record_pb2.Construct]
    sessions: CollectionWrites[record_pb2.Session]
    checkpoints: CheckpointWrites[record_pb2.Checkpoint]
    artifacts: ArtifactWrites
    links: CollectionWrites[record_pb2.Link]
    tasks: CollectionWrites[record_pb2.Task]
    plans: CollectionWrites[record_pb2.Plan]
    initiatives: InitiativeWrites
    bugs: CollectionWrites[record_pb2.Bug]
    status_updates: CollectionWrites[record_pb2.StatusUpdate]
    design_notes: CollectionWrites[record_pb2.DesignNote]
    comments: CollectionWrites[record_pb2.Comment]
    gate_decisions: CollectionWrites[record_pb2.GateDecision]
    branches: BranchWrites
    constitution: ConstitutionWrites
    task_states: CollectionWrites[record_pb2.TaskState]
    phase_templates: CollectionWrites[record_pb2.PhaseTemplate]
    workflows: WorkflowWrites
    runs: RunWrites
    phase_outputs: PhaseOutputWrites
    execution_logs: LogWrites
    interventions: CollectionWrites[record_pb2.Intervention]
    patterns: CollectionWrites[record_pb2.Pattern]
    vocabularies: CollectionWrites[record_pb2.Vocabulary]
