"""The orchestrator's storage package on Holdfast: its `Backend` interface with all operations under their original names.

It replaces the fourth seed's `database_backend.go`; each operation is one call of the client.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import holdfast
from holdfast.v1 import entry_pb2, record_pb2

INTERFACE = {
    "Task": "SaveTask LoadTask LoadAllTasks DeleteTask TaskExists GetNextTaskID",
    "State": "SaveState LoadState LoadAllStates",
    "Phase Output": "SavePhaseOutput GetPhaseOutput GetPhaseOutputByVarName GetAllPhaseOutputs LoadPhaseOutputsAsMap "
    "GetPhaseOutputsForTask DeletePhaseOutput PhaseOutputExists",
    "Spec (via Phase Output)": "GetSpecForTask GetFullSpecForTask SpecExistsForTask SaveSpecForTask",
    "Initiative": "SaveInitiative LoadInitiative LoadAllInitiatives DeleteInitiative InitiativeExists GetNextInitiativeID",
    "Phase Template": "SavePhaseTemplate GetPhaseTemplate ListPhaseTemplates DeletePhaseTemplate",
    "Workflow": "SaveWorkflow GetWorkflow ListWorkflows DeleteWorkflow "
    # "workflow phases/variables operations" in the seed, which does not name them one by one
    "SaveWorkflowPhase ListWorkflowPhases DeleteWorkflowPhase SaveWorkflowVariable ListWorkflowVariables DeleteWorkflowVariable",
    "Workflow Run": "SaveWorkflowRun GetWorkflowRun ListWorkflowRuns DeleteWorkflowRun GetNextWorkflowRunID",
    "Transcript": "AddTranscript AddTranscriptBatch GetTranscripts SearchTranscripts",
    "Attachment": "SaveAttachment GetAttachment ListAttachments DeleteAttachment",
    "Comments": "ListTaskComments SaveTaskComment ListReviewComments SaveReviewComment",
    "Gates": "ListGateDecisions SaveGateDecision",
    "Events": "SaveEvent SaveEvents QueryEvents",
    "Branch": "SaveBranch LoadBranch ListBranches UpdateBranchStatus UpdateBranchActivity DeleteBranch GetStaleBranches",
    "Constitution": "SaveConstitution LoadConstitution ConstitutionExists DeleteConstitution",
    "Context": "MaterializeContext NeedsMaterialization",
    "Lifecycle": "Sync Cleanup Close",
}


class Backend:
    """The operations of the seed's interface table."""

    def __init__(self, store: holdfast.Store) -> None:
        self.store = store

    def SaveTask(self, task: record_pb2.Task) -> record_pb2.Task:
        return self.store.tasks.save(task)

    def LoadTask(self, task_id: str) -> record_pb2.Task:
        return self.store.tasks.get(task_id)

    def LoadAllTasks(self) -> list[record_pb2.Task]:
        return list(self.store.tasks.list())

    def DeleteTask(self, task_id: str) -> None:
        self.store.tasks.delete(task_id, cascade=True)

    def TaskExists(self, task_id: str) -> bool:
        return self.store.tasks.exists(task_id)

    def GetNextTaskID(self) -> str:
        return self.store.tasks.next_id()

    def SaveState(self, task_id: str, **state: Any) -> Any:
        return self.store.states.save(task_id, **state)

    def LoadState(self, task_id: str) -> Any:
        return self.store.states.load(task_id)

    def LoadAllStates(self) -> Mapping[str, Any]:
        return self.store.states.load_all()

    def SavePhaseOutput(self, **output: Any) -> record_pb2.PhaseOutput:
        return self.store.phase_outputs.save(**output)

    def GetPhaseOutput(self, run_id: str, phase: str) -> record_pb2.PhaseOutput:
        return self.store.phase_outputs.get(run_id=run_id, phase=phase)

    def GetPhaseOutputByVarName(self, run_id: str, variable: str) -> record_pb2.PhaseOutput:
        return self.store.phase_outputs.by_var(run_id, variable)

    def GetAllPhaseOutputs(self, run_id: str) -> list[record_pb2.PhaseOutput]:
        return list(self.store.phase_outputs.all(run_id))

    def LoadPhaseOutputsAsMap(self, run_id: str) -> Mapping[str, str]:
        return self.store.phase_outputs.as_map(run_id)

    def GetPhaseOutputsForTask(self, task_id: str) -> list[record_pb2.PhaseOutput]:
        return list(self.store.phase_outputs.for_task(task_id))

    def DeletePhaseOutput(self, run_id: str, phase: str) -> None:
        self.store.phase_outputs.delete(run_id=run_id, phase=phase)

    def PhaseOutputExists(self, run_id: str, phase: str) -> bool:
        return self.store.phase_outputs.exists(run_id, phase)

    def GetSpecForTask(self, task_id: str) -> str | None:
        return self.store.specs.get(task_id)

    def GetFullSpecForTask(self, task_id: str) -> record_pb2.PhaseOutput:
        return self.store.specs.get_full(task_id)

    def SpecExistsForTask(self, task_id: str) -> bool:
        return self.store.specs.exists(task_id)

    def SaveSpecForTask(self, task_id: str, content: str, source: str) -> Any:
        return self.store.specs.save(task_id, content, source=source)

    def SaveInitiative(self, **initiative: Any) -> record_pb2.Initiative:
        return self.store.initiatives.save(**initiative)

    def LoadInitiative(self, initiative_id: str) -> record_pb2.Initiative:
        return self.store.initiatives.get(initiative_id)

    def LoadAllInitiatives(self) -> list[record_pb2.Initiative]:
        return list(self.store.initiatives.list())

    def DeleteInitiative(self, initiative_id: str) -> None:
        self.store.initiatives.delete(initiative_id, cascade=True)

    def InitiativeExists(self, initiative_id: str) -> bool:
        return self.store.initiatives.exists(initiative_id)

    def GetNextInitiativeID(self) -> str:
        return self.store.initiatives.next_id()

    def SavePhaseTemplate(self, **template: Any) -> record_pb2.PhaseTemplate:
        return self.store.phase_templates.save(**template)

    def GetPhaseTemplate(self, template_id: str) -> record_pb2.PhaseTemplate:
        return self.store.phase_templates.get(template_id)

    def ListPhaseTemplates(self) -> list[record_pb2.PhaseTemplate]:
        return list(self.store.phase_templates.list())

    def DeletePhaseTemplate(self, template_id: str) -> None:
        self.store.phase_templates.delete(template_id)

    def SaveWorkflow(self, workflow_id: str, **workflow: Any) -> record_pb2.Workflow:
        return self.store.workflows.store(workflow_id, **workflow)

    def GetWorkflow(self, workflow_id: str, version: int) -> record_pb2.Workflow:
        return self.store.workflows.get(workflow_id, version)

    def ListWorkflows(self) -> list[record_pb2.Workflow]:
        return list(self.store.workflows.list())

    def DeleteWorkflow(self, workflow_id: str, version: int) -> None:
        self.store.workflows.delete(workflow_id, version)

    def SaveWorkflowPhase(self, workflow_id: str, name: str, **phase: Any) -> record_pb2.Workflow:
        return self.store.workflows.set_phase(workflow_id, name, **phase)

    def ListWorkflowPhases(self, workflow_id: str, version: int) -> list[record_pb2.WorkflowPhase]:
        return list(self.store.workflows.phases(workflow_id, version))

    def DeleteWorkflowPhase(self, workflow_id: str, name: str) -> record_pb2.Workflow:
        return self.store.workflows.remove_phase(workflow_id, name)

    def SaveWorkflowVariable(self, workflow_id: str, name: str, **variable: Any) -> record_pb2.Workflow:
        return self.store.workflows.set_variable(workflow_id, name, **variable)

    def ListWorkflowVariables(self, workflow_id: str, version: int) -> list[record_pb2.WorkflowVariable]:
        return list(self.store.workflows.variables(workflow_id, version))

    def DeleteWorkflowVariable(self, workflow_id: str, name: str) -> record_pb2.Workflow:
        return self.store.workflows.remove_variable(workflow_id, name)

    def SaveWorkflowRun(self, **run: Any) -> record_pb2.Run:
        return self.store.runs.save(**run)

    def GetWorkflowRun(self, run_id: str) -> record_pb2.Run:
        return self.store.runs.get(run_id)

    def ListWorkflowRuns(self) -> list[record_pb2.Run]:
        return list(self.store.runs.list())

    def DeleteWorkflowRun(self, run_id: str) -> None:
        self.store.runs.delete(run_id, cascade=True)

    def GetNextWorkflowRunID(self) -> str:
        return self.store.runs.next_id()

    def AddTranscript(self, task_id: str, **transcript: Any) -> int:
        return self.store.transcripts.append(task_id, parent_kind="task", **transcript)

    def AddTranscriptBatch(self, transcripts: Iterable[Mapping[str, object]]) -> list[int]:
        return self.store.transcripts.append_batch(transcripts)

    def GetTranscripts(self, task_id: str) -> list[entry_pb2.Entry]:
        return list(self.store.transcripts.read(task_id, parent_kind="task"))

    def SearchTranscripts(self, text: str) -> list[entry_pb2.Entry]:
        return list(self.store.transcripts.list(filter=f"content:{holdfast.quoted(text)}"))

    def SaveAttachment(self, task_id: str, name: str, source: bytes, content_type: str) -> record_pb2.Artifact:
        return self.store.attachments.save(task_id, name, source, content_type=content_type)

    def GetAttachment(self, task_id: str, name: str) -> bytes:
        return self.store.attachments.open(task_id, name).read()

    def ListAttachments(self, task_id: str) -> list[record_pb2.Artifact]:
        return list(self.store.attachments.list(task_id))

    def DeleteAttachment(self, task_id: str, name: str) -> None:
        self.store.attachments.delete(task_id, name)

    def ListTaskComments(self, task_id: str) -> list[record_pb2.Comment]:
        return list(self.store.comments.for_task(task_id, type="comment"))

    def SaveTaskComment(self, **comment: Any) -> record_pb2.Comment:
        return self.store.comments.create(**comment)

    def ListReviewComments(self, task_id: str) -> list[record_pb2.Comment]:
        return list(self.store.comments.reviews(task_id))

    def SaveReviewComment(self, **comment: Any) -> record_pb2.Comment:
        return self.store.comments.create(type="review", **comment)

    def ListGateDecisions(self, task_id: str) -> list[record_pb2.GateDecision]:
        return list(self.store.gate_decisions.list(filter=f"task_id = {holdfast.quoted(task_id)}"))

    def SaveGateDecision(self, **decision: Any) -> record_pb2.GateDecision:
        return self.store.gate_decisions.create(**decision)

    def SaveEvent(self, task_id: str, **event: Any) -> int:
        return self.store.events.save(task_id, **event)

    def SaveEvents(self, events: Iterable[Mapping[str, object] | entry_pb2.Event]) -> list[int]:
        return self.store.events.save_many(events)

    def QueryEvents(self, **options: Any) -> list[entry_pb2.Entry]:
        return list(self.store.events.query(**options))

    def SaveBranch(self, **branch: Any) -> record_pb2.Branch:
        return self.store.branches.save(**branch)

    def LoadBranch(self, name: str) -> record_pb2.Branch:
        return self.store.branches.get(name)

    def ListBranches(self, status: str) -> list[record_pb2.Branch]:
        return list(self.store.branches.list(filter=f"status = {holdfast.quoted(status)}"))

    def UpdateBranchStatus(self, name: str, status: str) -> record_pb2.Branch:
        return self.store.branches.set_status(name, status)

    def UpdateBranchActivity(self, name: str) -> record_pb2.Branch:
        return self.store.branches.touch(name)

    def DeleteBranch(self, name: str) -> None:
        self.store.branches.delete(name)

    def GetStaleBranches(self, before: datetime.datetime) -> list[record_pb2.Branch]:
        return list(self.store.branches.stale(before))

    def SaveConstitution(self, content: str) -> record_pb2.Constitution:
        return self.store.constitution.save(content=content)

    def LoadConstitution(self) -> record_pb2.Constitution:
        return self.store.constitution.get()

    def ConstitutionExists(self) -> bool:
        return self.store.constitution.exists()

    def DeleteConstitution(self) -> None:
        self.store.constitution.delete()

    def MaterializeContext(self, task_id: str, directory: Path) -> Any:
        return self.store.contexts.materialize(task_id, directory)

    def NeedsMaterialization(self, task_id: str, directory: Path) -> bool:
        return self.store.contexts.needs_materialization(task_id, directory)

    def Sync(self) -> None:
        self.store.sync()

    def Cleanup(self) -> dict[str, int]:
        return dict(list(self.store.run_job("sweep"))[-1].counts)

    def Close(self) -> None:
        self.store.close()
