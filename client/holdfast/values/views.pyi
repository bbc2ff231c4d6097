"""Generated from the registry of kinds by `make generate`. Do not edit."""

import datetime
from typing import Any

from holdfast.v1 import entry_pb2, record_pb2, store_service_pb2
from holdfast.values.view import View as View

class Record(View):
    kind: str
    id: str
    version: int
    construct: Construct | None
    session: Session | None
    checkpoint: Checkpoint | None
    artifact: Artifact | None
    link: Link | None
    task: Task | None
    plan: Plan | None
    initiative: Initiative | None
    bug: Bug | None
    status_update: StatusUpdate | None
    design_note: DesignNote | None
    comment: Comment | None
    gate_decision: GateDecision | None
    branch: Branch | None
    constitution: Constitution | None
    task_state: TaskState | None
    phase_template: PhaseTemplate | None
    workflow: Workflow | None
    run: Run | None
    phase_output: PhaseOutput | None
    execution_log: ExecutionLog | None
    intervention: Intervention | None
    pattern: Pattern | None
    vocabulary: Vocabulary | None
    @property
    def message(self) -> record_pb2.Record: ...

class Construct(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    name: str
    type: str
    status: str
    description: str
    root_path: str
    branch: str
    metadata: Any
    @property
    def message(self) -> record_pb2.Construct: ...

class Session(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    construct_id: str
    title: str
    status: str
    state: Any
    agent: str
    tags: list[str]
    metadata: Any
    start_time: datetime.datetime | None
    end_time: datetime.datetime | None
    @property
    def message(self) -> record_pb2.Session: ...

class Checkpoint(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    session_id: str
    parent_id: str
    number: int
    name: str
    summary: str
    context_digest: str
    context_size_bytes: int
    context_type: str
    tags: list[str]
    metadata: Any
    @property
    def message(self) -> record_pb2.Checkpoint: ...

class Artifact(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    construct_id: str
    session_id: str
    task_id: str
    type: str
    name: str
    content_type: str
    content_digest: str
    content_size_bytes: int
    description: str
    metadata: Any
    run_id: str
    @property
    def message(self) -> record_pb2.Artifact: ...

class Link(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    type: str
    from_kind: str
    from_id: str
    to_kind: str
    to_id: str
    metadata: Any
    @property
    def message(self) -> record_pb2.Link: ...

class Task(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    title: str
    description: str
    status: str
    priority: str
    assignees: list[str]
    rationale_log: Any
    blocked_by: list[str]
    tags: list[str]
    metadata: Any
    construct_id: str
    initiative_id: str
    @property
    def message(self) -> record_pb2.Task: ...

class Plan(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    from_construct_id: str
    to_construct_id: str
    title: str
    body: str
    status: str
    metadata: Any
    @property
    def message(self) -> record_pb2.Plan: ...

class Initiative(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    title: str
    vision: str
    status: str
    owner: str
    decisions: list[Decision]
    blocked_by: list[str]
    metadata: Any
    task_ids: list[str]
    @property
    def message(self) -> record_pb2.Initiative: ...

class Decision(View):
    decision: str
    rationale: str
    actor: str
    time: datetime.datetime | None
    @property
    def message(self) -> record_pb2.Decision: ...

class Bug(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    title: str
    severity: str
    status: str
    task_id: str | None
    repro_steps: Any
    proposed_fix: str | None
    actor: str
    metadata: Any
    @property
    def message(self) -> record_pb2.Bug: ...

class StatusUpdate(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    actor: str
    task_id: str | None
    message: str
    metadata: Any

class DesignNote(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    title: str
    context: str
    decision: str
    consequences: str
    actor: str
    superseded_by: str | None
    metadata: Any
    @property
    def message(self) -> record_pb2.DesignNote: ...

class Comment(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    task_id: str
    type: str
    author: str
    phase: str
    body: str
    file_path: str
    line: int
    severity: str
    status: str
    resolution: str
    metadata: Any
    @property
    def message(self) -> record_pb2.Comment: ...

class GateDecision(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    task_id: str
    phase: str
    gate_type: str
    approved: bool | None
    reason: str
    actor: str
    decide_time: datetime.datetime | None
    metadata: Any
    @property
    def message(self) -> record_pb2.GateDecision: ...

class Branch(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    name: str
    type: str
    owner_id: str
    base_branch: str
    status: str
    activity_time: datetime.datetime | None
    metadata: Any
    @property
    def message(self) -> record_pb2.Branch: ...

class Constitution(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    content: str
    edition: str
    metadata: Any
    @property
    def message(self) -> record_pb2.Constitution: ...

class TaskState(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    task_id: str
    status: str
    current_phase: str
    phases: list[PhaseState]
    retries: int
    error: str
    start_time: datetime.datetime | None
    end_time: datetime.datetime | None
    metadata: Any
    @property
    def message(self) -> record_pb2.TaskState: ...

class PhaseState(View):
    phase: str
    status: str
    iterations: int
    retries: int
    error: str
    start_time: datetime.datetime | None
    end_time: datetime.datetime | None
    metadata: Any
    @property
    def message(self) -> record_pb2.PhaseState: ...

class PhaseTemplate(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    name: str
    description: str
    prompt: str
    agent: str
    gate_type: str
    max_iterations: int
    settings: Any
    metadata: Any
    @property
    def message(self) -> record_pb2.PhaseTemplate: ...

class Workflow(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    workflow_id: str
    workflow_version: int
    parent_version: int
    name: str
    description: str
    phases: list[WorkflowPhase]
    variables: list[WorkflowVariable]
    definition: Any
    metadata: Any
    @property
    def message(self) -> record_pb2.Workflow: ...

class WorkflowPhase(View):
    name: str
    template_id: str
    gate_type: str
    max_iterations: int
    settings: Any
    @property
    def message(self) -> record_pb2.WorkflowPhase: ...

class WorkflowVariable(View):
    name: str
    description: str
    type: str
    required: bool
    default_value: Any
    @property
    def message(self) -> record_pb2.WorkflowVariable: ...

class Run(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    workflow: str
    task_id: str
    status: str
    current_phase: str
    inputs: Any
    outputs: Any
    error: str
    start_time: datetime.datetime | None
    end_time: datetime.datetime | None
    metadata: Any
    @property
    def message(self) -> record_pb2.Run: ...

class PhaseOutput(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    run_id: str
    task_id: str
    phase: str
    variable: str | None
    content: str
    content_type: str
    iteration: int
    source: str
    metadata: Any
    content_digest: str
    content_size_bytes: int
    @property
    def message(self) -> record_pb2.PhaseOutput: ...

class ExecutionLog(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    run_id: str
    workflow_id: str
    workflow_version: int
    status: str
    start_time: datetime.datetime | None
    end_time: datetime.datetime | None
    steps: list[LogStep]
    summary: str
    detail_digest: str
    detail_size_bytes: int
    metadata: Any
    detail_type: str
    @property
    def message(self) -> record_pb2.ExecutionLog: ...

class LogStep(View):
    name: str
    status: str
    start_time: datetime.datetime | None
    end_time: datetime.datetime | None
    detail: Any
    @property
    def message(self) -> record_pb2.LogStep: ...

class Intervention(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    actor: str
    reason: str
    task_id: str
    run_id: str
    phase: str
    start_time: datetime.datetime | None
    end_time: datetime.datetime | None
    metadata: Any
    @property
    def message(self) -> record_pb2.Intervention: ...

class Pattern(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    workflow_id: str
    workflow_version: int
    type: str
    description: str
    confidence: float
    occurrences: int
    evidence: Any
    metadata: Any
    @property
    def message(self) -> record_pb2.Pattern: ...

class Vocabulary(View):
    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    record_kind: str
    field: str
    terms: list[VocabularyTerm]
    description: str
    metadata: Any
    @property
    def message(self) -> record_pb2.Vocabulary: ...

class VocabularyTerm(View):
    value: str
    meaning: str
    description: str
    @property
    def message(self) -> record_pb2.VocabularyTerm: ...

class Entry(View):
    number: int
    revision: int
    create_time: datetime.datetime | None
    parent_kind: str
    parent_id: str
    transcript: Transcript | None
    audit: Audit | None
    event: Event | None

class Transcript(View):
    task_id: str
    phase: str
    iteration: int
    role: str
    content: str
    metadata: Any
    time: datetime.datetime | None
    content_digest: str
    content_size_bytes: int
    content_type: str
    @property
    def message(self) -> entry_pb2.Transcript: ...

class Audit(View):
    actor: str
    kind: str
    id: str
    action: str
    version: int
    parent_kind: str
    first_number: int
    last_number: int
    time: datetime.datetime | None
    request_id: str
    diff: Any
    peer_uid: int | None
    peer_pid: int | None
    key: str
    @property
    def message(self) -> entry_pb2.Audit: ...

class Event(View):
    task_id: str
    phase: str
    iteration: int
    type: str
    source: str
    message: str
    data: Any
    duration_ms: int | None
    time: datetime.datetime | None
    data_digest: str
    data_size_bytes: int
    message_digest: str
    message_size_bytes: int
    message_type: str

class Change(View):
    revision: int
    ordinal: int
    workspace: str
    kind: str
    id: str
    action: store_service_pb2.Action.ValueType
    version: int
    parent_kind: str
    first_number: int
    last_number: int
    record: Record | None
    actor: str
    commit_time: datetime.datetime | None
    note: Note | None
    @property
    def message(self) -> store_service_pb2.Change: ...

class Note(View):
    kind: str
    id: str
    action: str
    diff: Any
    @property
    def message(self) -> store_service_pb2.Note: ...

class TranscriptEntry(Entry):
    transcript: Transcript
    task_id: str
    phase: str
    iteration: int
    role: str
    content: str
    metadata: Any
    time: datetime.datetime | None
    content_digest: str
    content_size_bytes: int
    content_type: str
    @property
    def message(self) -> entry_pb2.Entry: ...

class AuditEntry(Entry):
    audit: Audit
    actor: str
    kind: str
    id: str
    action: str
    version: int
    parent_kind: str
    first_number: int
    last_number: int
    time: datetime.datetime | None
    request_id: str
    diff: Any
    peer_uid: int | None
    peer_pid: int | None
    key: str
    @property
    def message(self) -> entry_pb2.Entry: ...

class EventEntry(Entry):
    event: Event
    task_id: str
    phase: str
    iteration: int
    type: str
    source: str
    message: str
    data: Any
    duration_ms: int | None
    time: datetime.datetime | None
    data_digest: str
    data_size_bytes: int
    message_digest: str
    message_size_bytes: int
    message_type: str
