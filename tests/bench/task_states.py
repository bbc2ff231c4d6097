"""Loads the states of all tasks in one call, compared with one call per task; through the public client, in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import holdfast
from holdfast.v1 import record_pb2
from tests.bench.crew import Crew, Job, alternate
from tests.bench.figures import Line, Series, unjudged
from tests.bench.plan import Plan, say
from tests.bench.servers import Server, add_records, start_daemon
from tests.bench.tasks import make_task

TASKS, TASKS_QUICK = 1_000, 200
PHASES = ("spec", "build", "review")
GATES = ("spec", "review")


def prepare(index: int, daemon: Path, ids: Sequence[str]) -> Mapping[str, Job]:
    """Prepares the loading process. Both sides must return the same."""
    store = holdfast.connect(daemon)
    if _all(store) != _one_by_one(store, ids):
        raise RuntimeError("load_all and load returned different states.")
    return {"load": lambda: alternate((lambda: _all(store), lambda: _one_by_one(store, ids)), 1)}


def _all(store: holdfast.Store) -> object:
    return store.states.load_all()


def _one_by_one(store: holdfast.Store, ids: Sequence[str]) -> object:
    return {id: store.states.load(id) for id in ids}


def all_states(plan: Plan) -> list[Line]:
    """The benchmark's line."""
    count = TASKS_QUICK if plan.quick else TASKS
    found: list[list[float]] = []
    with plan.workplace() as place, start_daemon(place) as daemon:
        ids = _fill(daemon, count)
        with Crew(1, prepare, daemon.socket, ids) as crew:
            for _ in plan.each_round("states"):
                found += crew.run("load")
    together, single = (tuple(micros / 1e3 for micros in side) for side in zip(*found, strict=True))
    ours, theirs = Series("states.load_all", "ms", together), Series(f"{count:,} × states.load", "ms", single)
    name = f"load the states of {count:,} tasks, {len(PHASES)} phases and {len(GATES)} gates each"
    return [Line(name, (ours,), (theirs,), unjudged(ours, theirs))]


def _fill(server: Server, count: int) -> list[str]:
    say(f"states: storing the states of {count:,} tasks")
    ids = add_records(server, (record_pb2.Record(task=make_task(number)) for number in range(1, count + 1)))
    add_records(server, (record_pb2.Record(task_state=_state(id)) for id in ids))
    add_records(server, (record_pb2.Record(gate_decision=_gate(id, phase)) for id in ids for phase in GATES))
    return ids


def _state(task_id: str) -> record_pb2.TaskState:
    phases = [record_pb2.PhaseState(phase=phase, status="completed", iterations=2) for phase in PHASES]
    return record_pb2.TaskState(task_id=task_id, status="running", phases=phases)


def _gate(task_id: str, phase: str) -> record_pb2.GateDecision:
    return record_pb2.GateDecision(task_id=task_id, phase=phase, approved=True, reason="It does what was asked for.")
