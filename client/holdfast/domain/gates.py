"""The gate decisions that are saved with a state: which of them are stored already, and the mutations for the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from holdfast.contract.ids import hashed_id
from holdfast.contract.kinds import KINDS
from holdfast.errors import InvalidArgument
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Mutation
from holdfast.values import mutations, views
from holdfast.values.mutations import record_of

GateLike = Union["views.GateDecision", record_pb2.GateDecision, Mapping[str, object]]

_GIVEN = ("phase", "gate_type", "approved", "reason", "actor", "decide_time", "metadata")
_IDENTITY = ("phase", "gate_type", "actor", "decide_time")


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision to save: the mutation for it; or None, and the stored decision, which is equal to it."""

    step: Mutation | None
    stored: record_pb2.GateDecision


def gate_steps(task_id: str, gates: Sequence[GateLike], stored: Sequence[record_pb2.GateDecision]) -> list[Decision]:
    """Returns what has to be done to save the decisions, given those that are stored for the task.

    A decision without an id gets that of the stored one with the same mark, or one that is made of the mark, so that two clients
    that save it at the same time write one record.
    """
    made: list[Decision] = []
    by_id, by_mark = {each.id: each for each in stored}, {_mark(each): each.id for each in reversed(stored)}
    for gate in gates:
        step = _gate_step(task_id, gate)
        record = record_of(step)
        assert record is not None
        wanted = record.gate_decision
        wanted.id = wanted.id or by_mark.get(_mark(wanted)) or hashed_id("gat", f"{task_id} {_mark(wanted)}")
        known = by_id.setdefault(wanted.id, wanted)
        made.append(Decision(None if known is not wanted and _is_stored(wanted, known, step) else step, known))
    return made


def _gate_step(task_id: str, gate: GateLike) -> Mutation:
    message, fields = (None, gate) if isinstance(gate, Mapping) else (gate, {})
    _check_task(task_id, fields.get("task_id") if message is None else message.task_id)
    return mutations.upsert(KINDS["gate_decision"], message, {**fields, "task_id": task_id})


def _mark(gate: record_pb2.GateDecision) -> str:
    """What tells a decision from the task's others: phase, type, actor and time, or without a time all that its caller gave."""
    return str([_value(gate, name) for name in (_IDENTITY if gate.HasField("decide_time") else _GIVEN)])


def _is_stored(wanted: record_pb2.GateDecision, stored: record_pb2.GateDecision, step: Mutation) -> bool:
    """Whether the step would change nothing."""
    if step.HasField("update") and step.update.version != stored.version:
        return False  # refused
    mask = (step.update if step.HasField("update") else step.upsert).update_mask.paths
    return all(_value(wanted, name) == _value(stored, name) for name in _GIVEN if name in mask or "*" in mask)


def _value(gate: record_pb2.GateDecision, name: str) -> Any:
    """A comparable value of a field. None: unset. JSON in its canonical form, as it is stored."""
    if gate.DESCRIPTOR.fields_by_name[name].has_presence and not gate.HasField(name):  # type: ignore[arg-type]
        return None
    if name == "decide_time":
        return gate.decide_time.ToNanoseconds()
    if name == "metadata" and gate.metadata:
        return _canonical(gate.metadata)
    return getattr(gate, name)


def _canonical(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        return text  # the daemon refuses it


def _check_task(task_id: str, named: object) -> None:
    if named not in (None, "", task_id):
        message = f"A gate decision of {named} is no part of the state of {task_id}."
        raise InvalidArgument(message, reason="VALUE_INVALID", metadata={"field": "task_id"})
