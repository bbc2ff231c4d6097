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
from holdfast.values import views


class StoreNouns:
    """The collection of each kind in a store."""

    constructs: Collection[views.Construct]
    sessions: Collection[views.Session]
    checkpoints: Checkpoints
    artifacts: Artifacts
    links: Collection[views.Link]
    tasks: Tasks
    plans: Collection[views.Plan]
    initiatives: Initiatives
    bugs: Collection[views.Bug]
    status_updates: Collection[views.StatusUpdate]
    design_notes: Collection[views.DesignNote]
    comments: Comments
    gate_decisions: Collection[views.GateDecision]
    branches: Branches
    constitution: Constitution
    task_states: Collection[views.TaskState]
    phase_templates: Collection[views.PhaseTemplate]
    workflows: Workflows
    runs: Runs
    phase_outputs: PhaseOutputs
    execution_logs: Logs
    interventions: Collection[views.Intervention]
    patterns: Collection[views.Pattern]
    vocabularies: Collection[views.Vocabulary]


class TransactionNouns:
    """The collection of each kind in a transaction."""

    constructs: CollectionWrites[views.Construct]
    sessions: CollectionWrites[views.Session]
    checkpoints: CheckpointWrites[views.Checkpoint]
    artifacts: ArtifactWrites
    links: CollectionWrites[views.Link]
    tasks: CollectionWrites[views.Task]
    plans: CollectionWrites[views.Plan]
    initiatives: InitiativeWrites
    bugs: CollectionWrites[views.Bug]
    status_updates: CollectionWrites[views.StatusUpdate]
    design_notes: CollectionWrites[views.DesignNote]
    comments: CollectionWrites[views.Comment]
    gate_decisions: CollectionWrites[views.GateDecision]
    branches: BranchWrites
    constitution: ConstitutionWrites
    task_states: CollectionWrites[views.TaskState]
    phase_templates: CollectionWrites[views.PhaseTemplate]
    workflows: WorkflowWrites
    runs: RunWrites
    phase_outputs: PhaseOutputWrites
    execution_logs: LogWrites
    interventions: CollectionWrites[views.Intervention]
    patterns: CollectionWrites[views.Pattern]
    vocabularies: CollectionWrites[views.Vocabulary]
