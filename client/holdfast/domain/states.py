"""The states of tasks in their workflows, each with its gate decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from holdfast.contract.kinds import KINDS
from holdfast.errors import InvalidArgument
from holdfast.records.collection import Collection
from holdfast.records.scans import scan
from holdfast.records.sink import Sink
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Mutation
from holdfast.values import mutations, views
from holdfast.values.filters import equal
from holdfast.values.view_classes import view_of
from holdfast.wire.pages import Found, Gaps, OnUnreadable

GateLike = Union["views.GateDecision", record_pb2.GateDecision, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class State:
    """A task's state: a view of it, with its phases, and the task's gate decisions, oldest first."""

    message: views.TaskState
    gates: tuple[views.GateDecision, ...]


def state_of(state: record_pb2.TaskState, gates: Iterable[record_pb2.GateDecision]) -> State:
    """Returns the state of these messages."""
    return State(view_of(state), tuple(map(view_of, gates)))


class StateWrites:
    """Writes states. A transaction returns the state and the decisions of the call."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def save(self, task_id: str, /, *, gates: Iterable[GateLike] = (), version: int = 0, **fields: object) -> State:
        """Adds a task's state or changes its given fields, and writes gate decisions, in one commit.

        `phases` is the whole list, of views, messages or dicts. `gates` are decisions to add or, if they have an id, to change;
        other decisions stay. `version`, if not 0, is the version that the stored state must have; a decision that was read is
        changed only if the stored one still has its version.
        Raises ParentNotFound when the task does not exist, VersionMismatch, InvalidArgument.
        """
        return self._saved(task_id, state_steps(task_id, gates, version, fields))

    def _saved(self, task_id: str, steps: Sequence[Mutation]) -> State:
        message, *decisions = [self._sink.write(each) for each in steps]
        return State(message, tuple(decisions))


class States(StateWrites):
    """The states of one workspace's tasks. Thread-safe."""

    def __init__(self, sink: Sink, task_states: Collection[views.TaskState]) -> None:
        super().__init__(sink)
        self._task_states = task_states

    def load(self, task_id: str, /, *, on_unreadable: OnUnreadable | None = None) -> State:
        """Returns the state of a task and its gate decisions, as of one revision.

        Raises NotFound when it has no state, DataLoss when its state cannot be read. A decision that cannot be read is left out:
        it is logged as a warning, or given to `on_unreadable`, which may raise.
        """
        gaps = Gaps(on_unreadable)
        asked = ("task_state", equal(id=task_id)), ("gate_decision", equal(task_id=task_id))
        states, gates = scan(self._sink.scope, *asked, gaps=gaps) if task_id else ([], [])
        if not states:
            return State(self._task_states.get(task_id), ())  # raises NotFound
        return state_of(states[0].task_state, [each.gate_decision for each in gates])

    def load_all(self, *, on_unreadable: OnUnreadable | None = None) -> Found[State]:
        """Returns the states of all tasks by task id, as of one revision. Takes two SQL statements for any number of tasks.

        States and decisions that cannot be read are left out: `unreadable` of the result names them, and each is logged as a
        warning, or given to `on_unreadable`, which may raise.
        Raises ResourceExhausted when they exceed 256 MiB together; `store.task_states.list` then reads them page by page.
        """
        unread = Gaps(on_unreadable)
        states, decisions = scan(self._sink.scope, ("task_state", ""), ("gate_decision", ""), gaps=unread)
        gates: dict[str, list[record_pb2.GateDecision]] = {each.task_state.task_id: [] for each in states}
        for each in decisions:
            if each.gate_decision.task_id in gates:
                gates[each.gate_decision.task_id].append(each.gate_decision)
        found = Found[State]()
        for each in states:
            found[each.task_state.task_id] = state_of(each.task_state, gates[each.task_state.task_id])
        found.unreadable = unread.unreadable
        return found

    def _saved(self, task_id: str, steps: Sequence[Mutation]) -> State:
        """Commits the steps and reads the state with all its decisions, including those of earlier calls."""
        self._sink.scope.commit(steps, return_records=False)
        return self.load(task_id)


def state_steps(task_id: str, gates: Iterable[GateLike], version: int, fields: Mapping[str, object]) -> list[Mutation]:
    """Returns the mutations that save a state."""
    kind = KINDS["task_state"]
    if version:
        state = mutations.update(kind, task_id, version, {"task_id": task_id, **fields})
    else:
        state = mutations.upsert(kind, None, {"task_id": task_id, **fields})
    return [state, *(_gate_step(task_id, each) for each in gates)]


def _gate_step(task_id: str, gate: GateLike) -> Mutation:
    message, fields = (None, gate) if isinstance(gate, Mapping) else (gate, {})
    named = fields.get("task_id") if message is None else message.task_id
    _check_task(task_id, named)
    if fields.get("id") if message is None else message.id:
        return mutations.upsert(KINDS["gate_decision"], message, {**fields, "task_id": task_id})
    return mutations.insert(KINDS["gate_decision"], message, {**fields, "task_id": task_id})


def _check_task(task_id: str, named: object) -> None:
    if named not in (None, "", task_id):
        message = f"A gate decision of {named} is no part of the state of {task_id}."
        raise InvalidArgument(message, reason="VALUE_INVALID", metadata={"field": "task_id"})
