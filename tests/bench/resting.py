"""Time from process start to the first answer, and the cost of an idle daemon.

The rival is the no-op server: a Python process with gRPC only.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field

import holdfast
from tests.bench.entries import CONTENT, ROLE
from tests.bench.figures import MB, Line, Series, at_most
from tests.bench.plan import Plan, Workplace
from tests.bench.processes import cpu_s, resident_bytes
from tests.bench.servers import Server, make_sessions, start_daemon, start_noop

MOST_START_MS = 400.0
MOST_MEMORY_MB = 80.0
MOST_CPU_PERCENT = 0.5
ENTRIES = 10_000
IDLE_S, IDLE_S_QUICK = 4.0, 5.0  # per round; at least ten seconds in all
SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Idle:
    """The results for one idle process."""

    memory_mb: list[float] = field(default_factory=list)
    cpu_percent: list[float] = field(default_factory=list)


def start_and_idle(plan: Plan) -> list[Line]:
    """The three lines about the daemon without load."""
    with plan.workplace() as place:
        with start_daemon(place) as daemon:
            _fill(daemon)
        return [_start_line(plan, place), *_idle_lines(plan, place)]


def _fill(daemon: Server) -> None:
    session = make_sessions(daemon, 1)[0]
    with holdfast.connect(daemon.socket) as store, store.transcripts.writer(session) as writer:
        for _ in range(ENTRIES):
            writer.write(role=ROLE, content=CONTENT)


def _start_line(plan: Plan, place: Workplace) -> Line:
    stopped: list[float] = []
    killed: list[float] = []
    noop: list[float] = []
    for _ in plan.each_round("start"):
        for ending, times in ((signal.SIGKILL, stopped), (signal.SIGTERM, killed)):
            daemon = start_daemon(place)  # ended below as the next one is to find the store
            times.append(daemon.start_s * 1e3)
            daemon.stop(ending)
        with start_noop(place) as server:
            noop.append(server.start_s * 1e3)
    ours = Series("after a stop", "ms", tuple(stopped)), Series("after SIGKILL", "ms", tuple(killed))
    theirs = (Series("no-op server", "ms", tuple(noop)),)
    return Line(f"start to first answer, a store of {ENTRIES:,} entries", ours, theirs, at_most(MOST_START_MS, "ms", ours[0]))


def _idle_lines(plan: Plan, place: Workplace) -> list[Line]:
    ours, theirs = Idle(), Idle()
    with start_daemon(place) as daemon, start_noop(place) as noop:
        time.sleep(SETTLE_S)
        for _ in plan.each_round("idle"):
            _rest(((daemon, ours), (noop, theirs)), IDLE_S_QUICK if plan.quick else IDLE_S)
    memory, noop_memory = (Series(name, "MB", tuple(each.memory_mb)) for name, each in (("", ours), ("no-op server", theirs)))
    cpu, noop_cpu = (Series(name, "%", tuple(each.cpu_percent)) for name, each in (("", ours), ("no-op server", theirs)))
    return [
        Line("idle: memory, resident", (memory,), (noop_memory,), at_most(MOST_MEMORY_MB, "MB", memory)),
        Line("idle: CPU, of a core", (cpu,), (noop_cpu,), at_most(MOST_CPU_PERCENT, "%", cpu)),
    ]


def _rest(both: tuple[tuple[Server, Idle], ...], seconds: float) -> None:
    before = [cpu_s(server.pid) for server, _ in both]
    time.sleep(seconds)
    for (server, found), used_s in zip(both, before, strict=True):
        found.cpu_percent.append((cpu_s(server.pid) - used_s) / seconds * 100)
        found.memory_mb.append(resident_bytes(server.pid) / MB)
