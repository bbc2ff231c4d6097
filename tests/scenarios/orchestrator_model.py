"""The values of the fourth seed's program, "Storage Package", as its operations take and give them.

The seed names the fields of a transcript entry, the statuses, and what each save writes (a task's dependencies; a state's phases
and gate decisions; an initiative's decisions, tasks and dependencies); the other fields are those that such values need.
"""

# ruff: noqa: RUF009 - `named` and `made_by_store` return `dataclasses.field`, which is made for each class.
from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from holdfast.wire.cancellation import Cancellation
from tests.scenarios.seed_values import made_by_store, named

Time = datetime.datetime


@dataclass
class Context:
    """The `ctx` of the context-aware methods: a deadline, and a cancellation that another thread may call."""

    timeout_s: float
    cancellation: Cancellation = field(default_factory=Cancellation)


@dataclass
class Task:
    id: str
    title: str
    description: str = ""
    status: str = "created"
    priority: str = "normal"
    initiative_id: str = ""
    blocked_by: list[str] = field(default_factory=list)
    metadata: dict[str, Any] | None = None
    created_at: Time | None = made_by_store("create_time")


@dataclass
class Phase:
    status: str = "pending"
    iterations: int = 0
    retries: int = 0
    error: str = ""
    started_at: Time | None = named("start_time")
    completed_at: Time | None = named("end_time")
    metadata: dict[str, Any] | None = None


@dataclass
class GateDecision:
    """A decision at a gate. `approved` is None while it is pending."""

    phase: str
    gate_type: str
    approved: bool | None = None
    reason: str = ""
    decided_by: str = named("actor", "")
    decided_at: Time | None = named("decide_time")
    task_id: str = ""
    id: str = ""


@dataclass
class Gate:
    """A decision as a state holds it: without the task, which is the state's."""

    phase: str
    gate_type: str
    approved: bool | None = None
    reason: str = ""
    decided_by: str = named("actor", "")
    decided_at: Time | None = named("decide_time")


@dataclass
class State:
    """The execution engine's state of a task. `StateStatus` in the seed's table is `status` here."""

    task_id: str
    status: str = "pending"
    current_phase: str = ""
    phases: dict[str, Phase] = named("phases", of=Phase, key="phase")
    gates: list[Gate] = named("gates", of=Gate)
    retries: int = 0
    error: str = ""
    started_at: Time | None = named("start_time")
    completed_at: Time | None = named("end_time")
    metadata: dict[str, Any] | None = None


@dataclass
class PhaseOutput:
    """An output of a run's phase, or with an empty `run_id` of the task itself. `output_var_name` is None without a variable."""

    run_id: str
    task_id: str
    phase: str
    output_var_name: str | None = named("variable")
    content: str = ""
    source: str = ""
    iteration: int = 0
    created_at: Time | None = made_by_store("create_time")


@dataclass
class Decision:
    decision: str
    rationale: str = ""
    by: str = named("actor", "")
    date: Time | None = named("time")


@dataclass
class TaskRef:
    id: str
    title: str
    status: str = "created"


@dataclass
class Initiative:
    id: str
    title: str
    vision: str = ""
    status: str = "draft"
    owner: str = ""
    decisions: list[Decision] = named("decisions", of=Decision)
    tasks: list[TaskRef] = field(default_factory=list)
    blocked_by: list[str] = field(default_factory=list)
    metadata: dict[str, Any] | None = None


@dataclass
class PhaseTemplate:
    id: str
    name: str
    description: str = ""
    prompt: str = ""
    agent: str = ""
    gate_type: str = ""
    max_iterations: int = 0
    settings: dict[str, Any] | None = None


@dataclass
class WorkflowPhase:
    name: str
    template_id: str = ""
    gate_type: str = ""
    max_iterations: int = 0
    settings: dict[str, Any] | None = None


@dataclass
class WorkflowVariable:
    name: str
    description: str = ""
    type: str = ""
    required: bool = False
    default_value: Any = None


@dataclass
class Workflow:
    """A workflow. The seed has no versions of it."""

    id: str = named("workflow_id", "")
    name: str = ""
    description: str = ""
    phases: list[WorkflowPhase] = named("phases", of=WorkflowPhase)
    variables: list[WorkflowVariable] = named("variables", of=WorkflowVariable)
    metadata: dict[str, Any] | None = None


@dataclass
class WorkflowRun:
    id: str
    workflow_id: str
    task_id: str = ""
    status: str = "pending"
    current_phase: str = ""
    inputs: Any = None
    outputs: Any = None
    error: str = ""
    started_at: Time | None = named("start_time")
    completed_at: Time | None = named("end_time")


@dataclass
class Transcript:
    """`TaskID`, `Phase`, `Iteration`, `Role`, `Content` and `Timestamp`."""

    task_id: str
    phase: str
    iteration: int
    role: str
    content: str
    timestamp: Time | None = named("time")


@dataclass
class Attachment:
    filename: str = named("name", "")
    content_type: str = ""
    size: int = named("content_size_bytes", 0)


@dataclass
class TaskComment:
    task_id: str
    author: str
    content: str = named("body", "")
    phase: str = ""
    id: str = ""
    created_at: Time | None = made_by_store("create_time")


@dataclass
class ReviewComment:
    task_id: str
    author: str
    content: str = named("body", "")
    file_path: str = ""
    line_number: int = named("line", 0)
    severity: str = ""
    status: str = "open"
    resolution: str = ""
    id: str = ""
    created_at: Time | None = made_by_store("create_time")


@dataclass
class Event:
    """An entry of the event log. `duration_ms` is None where it is not known."""

    task_id: str
    event_type: str = named("type", "")
    phase: str = ""
    iteration: int = 0
    data: Any = None
    source: str = ""
    duration_ms: int | None = None
    created_at: Time | None = named("time")


@dataclass
class QueryEventsOptions:
    """Filters and the page: `limit` events after the first `offset`."""

    task_id: str = ""
    event_types: list[str] = field(default_factory=list)
    since: Time | None = None
    until: Time | None = None
    limit: int | None = None
    offset: int = 0


@dataclass
class Branch:
    name: str
    type: str = ""
    owner_id: str = ""
    target_branch: str = named("base_branch", "")
    status: str = "active"
    last_activity: Time | None = named("activity_time")


@dataclass
class BranchListOptions:
    type: str = ""
    status: str = ""
