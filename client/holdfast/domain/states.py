"""The states of tasks in their workflows, each with its gate decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from holdfast.contract.kinds import KINDS
from holdfast.domain.gates import Decision, GateLike, gate_steps
from holdfast.domain.joined import Joined, TaskStateFields
from holdfast.errors import WorkspaceNotFound
from holdfast.records.collection import Collection
from holdfast.records.scans import scan
from holdfast.records.sink import Sink
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Mutation
from holdfast.values import mutations, views
from holdfast.values.filters import equal
from holdfast.values.view_classes import view_of
from holdfast.wire.pages import Found, Gaps, OnUnreadable


@dataclass(frozen=True, slots=True)
class State(Joined, TaskStateFields):
    """A task's state: a view of it, with its phases, and the task's gate decisions, oldest first.

    The fields of the view are read here too: `state.status` is `state.message.status`. Set them in `message`.
    """

    _others = "gates"

    message: views.TaskState
    gates: tuple[views.GateDecision, ...]


StateLike = Union[str, State, "views.TaskState", record_pb2.TaskState]


def state_of(state: record_pb2.TaskState, gates: Iterable[record_pb2.GateDecision]) -> State:
    """Returns the state of these messages."""
    return State(view_of(state), tuple(map(view_of, gates)))


class StateWrites:
    """Writes states. A transaction returns the state and the decisions of the call."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def save(
        self, state: StateLike, /, *, gates: Iterable[GateLike] | None = None, version: int | None = None, **fields: object
    ) -> State:
        """Adds a task's state or changes its given fields, and writes gate decisions, in one commit.

        `state` is the task's id, or a state that was loaded: all its fields and its decisions are written then, and the stored
        state must have its version. A view or a message of a state is written in the same way, without decisions. `phases` is the
        whole list, of views, messages or dicts. `gates` are decisions to add or to change; other decisions stay. A decision
        without an id is the stored one with the same phase, type, actor and time of the decision, or without that time the one
        that is equal in all fields; so decisions that are saved twice are stored once.
        `version`, if not 0, is the version that the stored state must have; a decision that was read is changed only if the
        stored one still has its version.
        Raises ParentNotFound when the task does not exist, VersionMismatch, InvalidArgument.
        """
        task_id = state if isinstance(state, str) else state.task_id
        if gates is None:
            gates = state.gates if isinstance(state, State) else ()
        given = list(gates)
        decisions = gate_steps(task_id, given, self._stored_gates(task_id) if given else [])
        return self._saved(task_id, state_step(state, version, fields), decisions)

    def _saved(self, task_id: str, step: Mutation, decisions: Sequence[Decision]) -> State:
        message = self._sink.write(step)
        return State(message, tuple(self._sink.write(each.step) if each.step else view_of(each.stored) for each in decisions))

    def _stored_gates(self, task_id: str) -> list[record_pb2.GateDecision]:
        """The task's stored decisions, without those that cannot be read."""
        try:
            (found,) = scan(self._sink.scope, ("gate_decision", equal(task_id=task_id)))
        except WorkspaceNotFound:
            return []
        return [each.gate_decision for each in found]


class States(StateWrites):
    """The states of one workspace's tasks. Thread-safe."""

    def __init__(self, sink: Sink, task_states: Collection[views.TaskState]) -> None:
        super().__init__(sink)
        self._task_states = task_states

    def load(self, task_id: str, /, *, every_task: bool = False, on_unreadable: OnUnreadable | None = None) -> State:
        """Returns the state of a task and its gate decisions, as of one revision.

        With `every_task`, a task without a stored state has the state `pending` with the version 0, as in `load_all`.
        Raises NotFound when it has no state, or with `every_task` when there is no such task, and DataLoss when its state cannot
        be read. A decision that cannot be read is left out: it is logged as a warning, or given to `on_unreadable`, which may
        raise.
        """
        gaps = Gaps(on_unreadable)
        own = equal(id=task_id)
        asked = [("task_state", own), ("gate_decision", equal(task_id=task_id)), *([("task", own)] if every_task else [])]
        states, gates, *tasks = scan(self._sink.scope, *asked, gaps=gaps) if task_id else ([], [])
        damaged = any(each.kind == "task_state" for each in gaps.unreadable)
        if not states and (damaged or not any(tasks)):
            return State(self._task_states.get(task_id), ())  # raises NotFound or DataLoss
        return state_of(states[0].task_state if states else unsaved(task_id), [each.gate_decision for each in gates])

    def load_all(self, *, every_task: bool = False, on_unreadable: OnUnreadable | None = None) -> Found[State]:
        """Returns the stored states by task id, as of one revision. Takes two SQL statements for any number of tasks.

        With `every_task`, one more statement, and a state for every task: a task without a stored one has the state `pending` and
        its gate decisions; this state has the version 0, and `save` stores it.
        States and decisions that cannot be read are left out: `unreadable` of the result names them, and each is logged as a
        warning, or given to `on_unreadable`, which may raise.
        Raises ResourceExhausted when they exceed 256 MiB together; `store.task_states.list` then reads them page by page.
        """
        unread = Gaps(on_unreadable)
        lists = [("task_state", ""), ("gate_decision", ""), *([("task", "")] if every_task else [])]
        states, decisions, *tasks = scan(self._sink.scope, *lists, gaps=unread)
        stored = {each.id: each.task_state for each in states}
        damaged = {each.id for each in unread.unreadable if each.kind == "task_state"}
        ids = [each.id for each in tasks[0] if each.id not in damaged] if tasks else list(stored)
        gates = _by_task(decisions)
        found = Found[State]((id, state_of(stored.get(id) or unsaved(id), gates.get(id, ()))) for id in ids)
        found.unreadable = unread.unreadable
        return found

    def _saved(self, task_id: str, step: Mutation, decisions: Sequence[Decision]) -> State:
        """Commits the steps and reads the state with all its decisions, including those of earlier calls."""
        self._sink.scope.commit([step, *(each.step for each in decisions if each.step)], return_records=False)
        return self.load(task_id)


def unsaved(task_id: str) -> record_pb2.TaskState:
    """Returns the state of a task without a stored one."""
    status = KINDS["task_state"].by_name["status"].default_value
    return record_pb2.TaskState(id=task_id, task_id=task_id, status=status)


def _by_task(decisions: Iterable[record_pb2.Record]) -> dict[str, list[record_pb2.GateDecision]]:
    found: dict[str, list[record_pb2.GateDecision]] = {}
    for each in decisions:
        found.setdefault(each.gate_decision.task_id, []).append(each.gate_decision)
    return found


def state_step(state: StateLike, version: int | None, fields: Mapping[str, object]) -> Mutation:
    """Returns the mutation that saves a state without its decisions."""
    kind = KINDS["task_state"]
    if not isinstance(state, str):
        return mutations.upsert(kind, state, fields, version)
    if version:
        return mutations.update(kind, state, version, {"task_id": state, **fields})
    return mutations.upsert(kind, None, {"task_id": state, **fields})
