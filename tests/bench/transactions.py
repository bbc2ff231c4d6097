"""Twenty mutations in one transaction, compared with twenty calls: updates of tasks through the public client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import holdfast
from holdfast.v1 import record_pb2
from tests.bench.crew import Crew, Job, alternate
from tests.bench.figures import Line, Series, unjudged
from tests.bench.plan import Plan
from tests.bench.servers import add_records, start_daemon
from tests.bench.tasks import make_task

MUTATIONS = 20
CALLS_A_ROUND, CALLS_A_ROUND_QUICK = 20, 10


def prepare(index: int, daemon: Path, ids: Sequence[str], calls: int) -> Mapping[str, Job]:
    """Prepares the writing process. Each update writes a new value."""
    store = holdfast.connect(daemon)
    values = count(1)
    sides = (lambda: _together(store, ids, next(values)), lambda: _singly(store, ids, next(values)))
    return {"write": lambda: alternate(sides, calls)}


def _together(store: holdfast.Store, ids: Sequence[str], value: int) -> None:
    with store.transaction() as transaction:
        for id in ids:
            transaction.tasks.update(id, title=f"Repair step {value:,}")


def _singly(store: holdfast.Store, ids: Sequence[str], value: int) -> None:
    for id in ids:
        store.tasks.update(id, title=f"Repair step {value:,}")


def together_and_singly(plan: Plan) -> list[Line]:
    """The benchmark's line."""
    calls = CALLS_A_ROUND_QUICK if plan.quick else CALLS_A_ROUND
    found: list[list[float]] = []
    with plan.workplace() as place, start_daemon(place) as daemon:
        ids = add_records(daemon, (record_pb2.Record(task=make_task(number)) for number in range(1, MUTATIONS + 1)))
        with Crew(1, prepare, daemon.socket, ids, calls) as crew:
            crew.run("write")
            for _ in plan.each_round("transaction"):
                found += crew.run("write")
    together, singly = (tuple(micros / 1e3 for micros in side) for side in zip(*found, strict=True))
    ours, theirs = Series("transaction", "ms p50", together), Series(f"{MUTATIONS} single calls", "ms p50", singly)
    return [Line(f"{MUTATIONS} updates, durable", (ours,), (theirs,), unjudged(ours, theirs))]
