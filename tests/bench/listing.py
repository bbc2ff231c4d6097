"""`list` and `latest` of checkpoints beside 2 GB of contexts, and in a store of the same checkpoints with tiny contexts.

The contexts are random, so they do not compress. Calls to the two stores alternate.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import holdfast
from holdfast.v1 import record_pb2, store_service_pb2
from tests.bench.crew import Crew, Job
from tests.bench.figures import MB, Bar, Line, Series, percentile, ratio, with_unit
from tests.bench.plan import Plan, say
from tests.bench.servers import METADATA, Server, make_sessions, start_daemon

SESSIONS, CHECKPOINTS_EACH = 8, 50
LARGE_BYTES, LARGE_BYTES_QUICK, SMALL_BYTES = 5_000_000, 500_000, 16
CALLS_A_ROUND = 100
MOST_TIMES = 1.2

Calls = Mapping[str, Callable[[holdfast.Store, str], object]]
CALLS: Calls = {
    "list": lambda store, session: list(store.checkpoints.list(session, limit=CHECKPOINTS_EACH)),
    "latest": lambda store, session: store.checkpoints.latest(session),
}


def prepare(index: int, beside: Path, without: Path, sessions: tuple[list[str], list[str]]) -> Mapping[str, Job]:
    """Prepares the process that calls both stores."""
    stores = (holdfast.connect(beside), holdfast.connect(without))
    return {name: lambda call=call: _alternate(call, stores, sessions) for name, call in CALLS.items()}


def _alternate(
    call: Callable[[holdfast.Store, str], object], stores: tuple[holdfast.Store, ...], sessions: tuple[list[str], ...]
) -> list[float]:
    """The p50 of each store in microseconds."""
    times: list[list[float]] = [[] for _ in stores]
    for number in range(CALLS_A_ROUND):
        for store, names, series in zip(stores, sessions, times, strict=True):
            began = time.perf_counter()
            call(store, names[number % SESSIONS])
            series.append((time.perf_counter() - began) * 1e6)
    return [percentile(sorted(series), 0.5) for series in times]


def beside_contexts(plan: Plan) -> list[Line]:
    """One line per call."""
    size_bytes = LARGE_BYTES_QUICK if plan.quick else LARGE_BYTES
    found: dict[str, list[list[float]]] = {name: [] for name in CALLS}
    with plan.workplace() as place, start_daemon(place, "beside") as beside, start_daemon(place, "without") as without:
        sessions = _fill(beside, size_bytes), _fill(without, SMALL_BYTES)
        stored_gb = beside.status().blob_stored_bytes / 1e9
        with Crew(1, prepare, beside.socket, without.socket, sessions) as crew:
            for name in CALLS:
                crew.run(name)
            for _ in plan.each_round("list"):
                for name, rounds in found.items():
                    rounds += crew.run(name)
    return [_line(name, stored_gb, rounds) for name, rounds in found.items()]


def _fill(server: Server, size_bytes: int) -> list[str]:
    """Creates sessions with checkpoints of that size. Uploads plain blobs: searching for deltas would find none."""
    total = SESSIONS * CHECKPOINTS_EACH * size_bytes
    say(f"list: storing {total / MB:,.0f} MB of contexts")
    sessions = make_sessions(server, SESSIONS)
    with holdfast.connect(server.socket) as store:
        for number in range(CHECKPOINTS_EACH):
            for session in sessions:
                digest = store.blobs.put(os.urandom(size_bytes)).digest
                _commit(server, record_pb2.Checkpoint(session_id=session, name=f"step {number}", context_digest=digest))
    return sessions


def _commit(server: Server, checkpoint: record_pb2.Checkpoint) -> None:
    insert = store_service_pb2.Insert(record=record_pb2.Record(checkpoint=checkpoint))
    steps = [store_service_pb2.Mutation(insert=insert)]
    server.stubs.store.Commit(store_service_pb2.StoreServiceCommitRequest(mutations=steps), metadata=METADATA)


def _line(name: str, stored_gb: float, rounds: list[list[float]]) -> Line:
    beside = Series(f"beside {stored_gb:.2f} GB", "µs p50", tuple(each[0] for each in rounds))
    without = Series(f"beside contexts of {SMALL_BYTES} bytes", "µs p50", tuple(each[1] for each in rounds))
    times = ratio(beside, without)
    work = f"{name} of {CHECKPOINTS_EACH} checkpoints" if name == "list" else f"{name} of a session's checkpoints"
    return Line(work, (beside,), (without,), Bar(f"≤ {MOST_TIMES}× without", with_unit(times, "×"), times <= MOST_TIMES))
