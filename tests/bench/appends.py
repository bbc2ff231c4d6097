"""Durable appends of one entry per call, from eight processes and from one, compared with a no-op RPC of the same messages.

The bars compare the stub's calls: the same bytes and the same client code, to the daemon and to the no-op server.
`store.transcripts.append`, with the client's own work, is a separate figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import holdfast
from holdfast.contract.ids import request_id
from holdfast.v1 import entry_pb2
from holdfast.v1.journal_service_pb2 import JournalServiceAppendRequest
from holdfast.wire.channel import open_channel
from tests.bench.crew import Crew, Job, Sample, rate_of_all, repeat
from tests.bench.entries import CONTENT, ROLE
from tests.bench.figures import Bar, Line, Series, ratio, with_unit
from tests.bench.one_commit import OneCommit
from tests.bench.plan import Plan, Workplace
from tests.bench.processes import cpu_s
from tests.bench.servers import METADATA, make_sessions, start_daemon, start_noop

SHARE_OF_NOOP = 0.5
GOAL_OF_NOOP = 0.6
COMMITS_ABOVE_NOOP = 2.5
TIMEOUT_S = 30.0
SIDES = ("daemon", "noop", "client")


def prepare(index: int, daemon: Path, noop: Path, sessions: list[str]) -> Mapping[str, Job]:
    """Opens a channel to each server, and the public client, in one client process."""
    store = holdfast.connect(daemon)
    return {
        "daemon": lambda seconds: repeat(_append_by_stub(daemon, sessions[index]), seconds),
        "noop": lambda seconds: repeat(_append_by_stub(noop, sessions[index]), seconds),
        "client": lambda seconds: repeat(_append_by_client(store, sessions[index]), seconds),
    }


def _append_by_stub(socket_path: Path, session: str) -> Callable[[], int]:
    stub = open_channel(socket_path).journal
    entry = entry_pb2.Entry(transcript=entry_pb2.Transcript(role=ROLE, content=CONTENT))
    request = JournalServiceAppendRequest(
        workspace="default", actor="bench", parent_kind="session", parent_id=session, entries=[entry]
    )

    def append() -> int:
        request.request_id = request_id()
        return int(stub.Append(request, metadata=METADATA, timeout=TIMEOUT_S).first_number > 0)

    return append


def _append_by_client(store: holdfast.Store, session: str) -> Callable[[], int]:
    return lambda: int(store.transcripts.append(session, role=ROLE, content=CONTENT) > 0)


def measure(plan: Plan, place: Workplace, name: str, processes: int) -> tuple[dict[str, list[list[Sample]]], Series]:
    """Returns each side's samples per round, and the daemon's CPU; for one process also samples of an in-process commit."""
    found: dict[str, list[list[Sample]]] = {side: [] for side in (*SIDES, "commit")}
    cpu_us: list[float] = []
    with start_daemon(place) as daemon, start_noop(place) as noop:
        sessions = make_sessions(daemon, processes)
        with Crew(processes, prepare, daemon.socket, noop.socket, sessions) as crew, OneCommit(place.data / "one.db") as commit:
            for side in SIDES:
                crew.run(side, plan.warm_s)
            for _ in plan.each_round(name):
                for side in SIDES:
                    used_s = cpu_s(daemon.pid)
                    found[side].append(crew.run(side, plan.round_s))
                    if side == "daemon":
                        cpu_us.append((cpu_s(daemon.pid) - used_s) / sum(each.count for each in found[side][-1]) * 1e6)
                if processes == 1:
                    found["commit"].append([commit.sample(plan.round_s)])
    return found, Series("daemon's CPU an append", "µs", tuple(cpu_us))


def eight_processes(plan: Plan) -> list[Line]:
    """The row for eight processes."""
    with plan.workplace() as place:
        found, cpu = measure(plan, place, "append-8", 8)
    ours, theirs, client = (
        Series(label, "/s", tuple(rate_of_all(each) for each in found[side]), _tail(found[side]))
        for side, label in (("daemon", "stub"), ("noop", "no-op RPC, same messages"), ("client", "transcripts.append"))
    )
    share = ratio(ours, theirs)
    bar = Bar(f"stub ≥ {SHARE_OF_NOOP}× no-op (goal {GOAL_OF_NOOP})", f"{share:.2f}×", share >= SHARE_OF_NOOP)
    return [Line("one durable entry a call, 8 processes", (ours, client, cpu), (theirs,), bar)]


def one_process(plan: Plan) -> list[Line]:
    """The row for one process."""
    with plan.workplace() as place:
        found, cpu = measure(plan, place, "append-1", 1)
    ours, theirs, client, commit = (
        Series(label, "µs p50", tuple(each[0].p50_us for each in found[side]), _tail(found[side]))
        for side, label in (
            ("daemon", "stub"),
            ("noop", "no-op RPC, same messages"),
            ("client", "transcripts.append"),
            ("commit", "in-process commit of the entry's row"),
        )
    )
    limit = theirs.median + COMMITS_ABOVE_NOOP * commit.median
    above = (ours.median - theirs.median) / commit.median
    bar = Bar(
        f"stub ≤ no-op + {COMMITS_ABOVE_NOOP} commits = {with_unit(limit, 'µs')}", f"no-op + {above:.2f}", ours.median <= limit
    )
    return [Line("one durable entry a call, 1 process", (ours, client, cpu), (theirs, commit), bar)]


def _tail(rounds: list[list[Sample]]) -> str:
    """The worst p99 among the processes, as the median over the rounds."""
    worst = Series("p99", "µs", tuple(max(sample.p99_us for sample in samples) for samples in rounds))
    return f"p99 {with_unit(worst.median, 'µs')}"
