"""The orchestrator's storage package on Holdfast: its `Backend` interface with all operations as the fourth seed writes them.

It replaces `database_backend.go`: the operations have the seed's names and parameters, and take and give the values of its own
program (orchestrator_model.py), which has no versions and knows nothing of the client.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence
from pathlib import Path

import holdfast
from holdfast.values import views
from tests.scenarios import orchestrator_model as model
from tests.scenarios.seed_values import given, taken

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
    # Not in the table but in a section of its own: saves that are cancelled and have a deadline.
    "Context-Aware Methods": "SaveTaskCtx SaveStateCtx SaveInitiativeCtx",
}


class Backend:
    """The operations of the seed's interface table."""

    def __init__(self, store: holdfast.Store) -> None:
        self.store = store

    def SaveTask(self, task: model.Task) -> None:
        self.store.tasks.save(**given(task))

    def SaveTaskCtx(self, ctx: model.Context, task: model.Task) -> None:
        self._within(ctx).SaveTask(task)

    def LoadTask(self, task_id: str) -> model.Task:
        return taken(model.Task, self.store.tasks.get(task_id))

    def LoadAllTasks(self) -> list[model.Task]:
        return [taken(model.Task, each) for each in self.store.tasks.list()]

    def DeleteTask(self, task_id: str) -> None:
        self.store.tasks.delete(task_id, cascade=True)

    def TaskExists(self, task_id: str) -> bool:
        return self.store.tasks.exists(task_id)

    def GetNextTaskID(self) -> str:
        return self.store.tasks.next_id()

    def SaveState(self, state: model.State) -> None:
        fields = given(state)
        self.store.states.save(fields.pop("task_id"), **fields)

    def SaveStateCtx(self, ctx: model.Context, state: model.State) -> None:
        self._within(ctx).SaveState(state)

    def LoadState(self, task_id: str) -> model.State:
        return _state(self.store.states.load(task_id))

    def LoadAllStates(self) -> list[model.State]:
        return [_state(each) for each in self.store.states.load_all(every_task=True).values()]

    def SavePhaseOutput(self, output: model.PhaseOutput) -> None:
        self.store.phase_outputs.save(**given(output))

    def GetPhaseOutput(self, run_id: str, phase: str) -> model.PhaseOutput:
        return taken(model.PhaseOutput, self.store.phase_outputs.get(run_id=run_id, phase=phase))

    def GetPhaseOutputByVarName(self, run_id: str, var_name: str) -> model.PhaseOutput:
        return taken(model.PhaseOutput, self.store.phase_outputs.by_var(run_id, var_name))

    def GetAllPhaseOutputs(self, run_id: str) -> list[model.PhaseOutput]:
        return [taken(model.PhaseOutput, each) for each in self.store.phase_outputs.all(run_id)]

    def LoadPhaseOutputsAsMap(self, run_id: str) -> dict[str, str]:
        return dict(self.store.phase_outputs.as_map(run_id))

    def GetPhaseOutputsForTask(self, task_id: str) -> list[model.PhaseOutput]:
        return [taken(model.PhaseOutput, each) for each in self.store.phase_outputs.for_task(task_id)]

    def DeletePhaseOutput(self, run_id: str, phase: str) -> None:
        self.store.phase_outputs.delete(run_id=run_id, phase=phase)

    def PhaseOutputExists(self, run_id: str, phase: str) -> bool:
        return self.store.phase_outputs.exists(run_id, phase)

    def GetSpecForTask(self, task_id: str) -> str | None:
        return self.store.specs.get(task_id)

    def GetFullSpecForTask(self, task_id: str) -> model.PhaseOutput:
        return taken(model.PhaseOutput, self.store.specs.get_full(task_id))

    def SpecExistsForTask(self, task_id: str) -> bool:
        return self.store.specs.exists(task_id)

    def SaveSpecForTask(self, task_id: str, content: str, source: str) -> None:
        self.store.specs.save(task_id, content, source=source)

    def SaveInitiative(self, initiative: model.Initiative) -> None:
        self.store.initiatives.save(**{**given(initiative), "tasks": [each.id for each in initiative.tasks]})

    def SaveInitiativeCtx(self, ctx: model.Context, initiative: model.Initiative) -> None:
        self._within(ctx).SaveInitiative(initiative)

    def LoadInitiative(self, initiative_id: str) -> model.Initiative:
        return _initiative(self.store.initiatives.load(initiative_id))

    def LoadAllInitiatives(self) -> list[model.Initiative]:
        return [_initiative(each) for each in self.store.initiatives.load_all().values()]

    def DeleteInitiative(self, initiative_id: str) -> None:
        self.store.initiatives.delete(initiative_id, cascade=True)

    def InitiativeExists(self, initiative_id: str) -> bool:
        return self.store.initiatives.exists(initiative_id)

    def GetNextInitiativeID(self) -> str:
        return self.store.initiatives.next_id()

    def SavePhaseTemplate(self, template: model.PhaseTemplate) -> None:
        self.store.phase_templates.save(**given(template))

    def GetPhaseTemplate(self, template_id: str) -> model.PhaseTemplate:
        return taken(model.PhaseTemplate, self.store.phase_templates.get(template_id))

    def ListPhaseTemplates(self) -> list[model.PhaseTemplate]:
        return [taken(model.PhaseTemplate, each) for each in self.store.phase_templates.list()]

    def DeletePhaseTemplate(self, template_id: str) -> None:
        self.store.phase_templates.delete(template_id)

    def SaveWorkflow(self, workflow: model.Workflow) -> None:
        self.store.workflows.save(**given(workflow))

    def GetWorkflow(self, workflow_id: str) -> model.Workflow:
        return taken(model.Workflow, self.store.workflows.latest(workflow_id))

    def ListWorkflows(self) -> list[model.Workflow]:
        return [taken(model.Workflow, each) for each in self.store.workflows.list_latest().values()]

    def DeleteWorkflow(self, workflow_id: str) -> None:
        self.store.workflows.delete_all(workflow_id)

    def SaveWorkflowPhase(self, workflow_id: str, phase: model.WorkflowPhase) -> None:
        fields = given(phase)
        self.store.workflows.set_phase(workflow_id, fields.pop("name"), **fields)

    def ListWorkflowPhases(self, workflow_id: str) -> list[model.WorkflowPhase]:
        return [taken(model.WorkflowPhase, each) for each in self.store.workflows.phases(workflow_id)]

    def DeleteWorkflowPhase(self, workflow_id: str, name: str) -> None:
        self.store.workflows.remove_phase(workflow_id, name)

    def SaveWorkflowVariable(self, workflow_id: str, variable: model.WorkflowVariable) -> None:
        fields = given(variable)
        self.store.workflows.set_variable(workflow_id, fields.pop("name"), **fields)

    def ListWorkflowVariables(self, workflow_id: str) -> list[model.WorkflowVariable]:
        return [taken(model.WorkflowVariable, each) for each in self.store.workflows.variables(workflow_id)]

    def DeleteWorkflowVariable(self, workflow_id: str, name: str) -> None:
        self.store.workflows.remove_variable(workflow_id, name)

    def SaveWorkflowRun(self, run: model.WorkflowRun) -> None:
        # A run keeps the version of the workflow with which it began.
        known = self.store.runs.batch_get([run.id]).get(run.id) or self.store.workflows.latest(run.workflow_id)
        fields = given(run)
        del fields["workflow_id"]
        self.store.runs.save(workflow=getattr(known, "workflow", known.id), **fields)

    def GetWorkflowRun(self, run_id: str) -> model.WorkflowRun:
        return _run(self.store.runs.get(run_id))

    def ListWorkflowRuns(self) -> list[model.WorkflowRun]:
        return [_run(each) for each in self.store.runs.list()]

    def DeleteWorkflowRun(self, run_id: str) -> None:
        self.store.runs.delete(run_id, cascade=True)

    def GetNextWorkflowRunID(self) -> str:
        return self.store.runs.next_id()

    def AddTranscript(self, t: model.Transcript) -> None:
        self.store.transcripts.append(t.task_id, parent_kind="task", **given(t))

    def AddTranscriptBatch(self, ctx: model.Context, transcripts: Sequence[model.Transcript]) -> None:
        self._within(ctx).store.transcripts.append_batch(map(given, transcripts))

    def GetTranscripts(self, task_id: str) -> list[model.Transcript]:
        return [taken(model.Transcript, each) for each in self.store.transcripts.read(task_id, parent_kind="task")]

    def SearchTranscripts(self, query: str) -> list[model.Transcript]:
        found = self.store.transcripts.list(filter=f"content:{holdfast.quoted(query)}", parent_kind="task")
        return [taken(model.Transcript, each) for each in found]

    def SaveAttachment(self, task_id: str, filename: str, content_type: str, data: bytes) -> model.Attachment:
        return taken(model.Attachment, self.store.attachments.save(task_id, filename, data, content_type=content_type))

    def GetAttachment(self, task_id: str, filename: str) -> tuple[model.Attachment, bytes]:
        found = self.store.attachments.get(task_id, filename)
        return taken(model.Attachment, found), self.store.attachments.open(task_id, filename).read()

    def ListAttachments(self, task_id: str) -> list[model.Attachment]:
        return [taken(model.Attachment, each) for each in self.store.attachments.list(task_id)]

    def DeleteAttachment(self, task_id: str, filename: str) -> None:
        self.store.attachments.delete(task_id, filename)

    def ListTaskComments(self, task_id: str) -> list[model.TaskComment]:
        return [taken(model.TaskComment, each) for each in self.store.comments.for_task(task_id, type="comment")]

    def SaveTaskComment(self, comment: model.TaskComment) -> None:
        comment.id = comment.id or self.store.comments.next_id()
        self.store.comments.save(**given(comment))

    def ListReviewComments(self, task_id: str) -> list[model.ReviewComment]:
        return [taken(model.ReviewComment, each) for each in self.store.comments.reviews(task_id)]

    def SaveReviewComment(self, comment: model.ReviewComment) -> None:
        comment.id = comment.id or self.store.comments.next_id()
        self.store.comments.save(type="review", **given(comment))

    def ListGateDecisions(self, task_id: str) -> list[model.GateDecision]:
        found = self.store.gate_decisions.list(filter=f"task_id = {holdfast.quoted(task_id)}")
        return [taken(model.GateDecision, each) for each in found]

    def SaveGateDecision(self, decision: model.GateDecision) -> None:
        decision.id = decision.id or self.store.gate_decisions.next_id()
        self.store.gate_decisions.save(**given(decision))

    def SaveEvent(self, e: model.Event) -> None:
        self.store.events.save(e.task_id, **given(e))

    def SaveEvents(self, events: Sequence[model.Event]) -> None:
        self.store.events.save_many(map(given, events))

    def QueryEvents(self, opts: model.QueryEventsOptions) -> list[model.Event]:
        fields = {"task_id": opts.task_id, "type": opts.event_types, "since": opts.since, "until": opts.until}
        limit = None if opts.limit is None else opts.offset + opts.limit
        found = self.store.events.query(**fields, limit=limit, by_revision=True, descending=True)
        return [taken(model.Event, each) for each in itertools.islice(found, opts.offset, None)]

    def SaveBranch(self, branch: model.Branch) -> None:
        self.store.branches.save(**given(branch))

    def LoadBranch(self, name: str) -> model.Branch:
        return taken(model.Branch, self.store.branches.get(name))

    def ListBranches(self, opts: model.BranchListOptions) -> list[model.Branch]:
        wanted = [f"{name} = {holdfast.quoted(value)}" for name, value in vars(opts).items() if value]
        return [taken(model.Branch, each) for each in self.store.branches.list(filter=" AND ".join(wanted))]

    def UpdateBranchStatus(self, name: str, status: str) -> None:
        self.store.branches.set_status(name, status)

    def UpdateBranchActivity(self, name: str) -> None:
        self.store.branches.touch(name)

    def DeleteBranch(self, name: str) -> None:
        self.store.branches.delete(name)

    def GetStaleBranches(self, since: datetime.datetime) -> list[model.Branch]:
        return [taken(model.Branch, each) for each in self.store.branches.stale(since)]

    def SaveConstitution(self, content: str) -> None:
        self.store.constitution.save(content=content)

    def LoadConstitution(self) -> str:
        return self.store.constitution.get().content

    def ConstitutionExists(self) -> bool:
        return self.store.constitution.exists()

    def DeleteConstitution(self) -> None:
        self.store.constitution.delete()

    def MaterializeContext(self, task_id: str, directory: Path) -> None:
        self.store.contexts.materialize(task_id, directory)

    def NeedsMaterialization(self, task_id: str, directory: Path) -> bool:
        return self.store.contexts.needs_materialization(task_id, directory)

    def Sync(self) -> None:
        self.store.sync()

    def Cleanup(self) -> None:
        list(self.store.run_job("sweep"))

    def Close(self) -> None:
        self.store.close()

    def _within(self, ctx: model.Context) -> Backend:
        return Backend(self.store.with_timeout(ctx.timeout_s).with_cancellation(ctx.cancellation))


def _state(found: holdfast.State) -> model.State:
    return taken(model.State, found.message, gates=[taken(model.Gate, each) for each in found.gates])


def _initiative(found: holdfast.InitiativeTasks) -> model.Initiative:
    return taken(model.Initiative, found.message, tasks=[taken(model.TaskRef, each) for each in found.tasks])


def _run(found: views.Run) -> model.WorkflowRun:
    return taken(model.WorkflowRun, found, workflow_id=found.workflow.rpartition("@")[0])
