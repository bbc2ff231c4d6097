"""Entries per second through `transcripts.writer` in four processes, compared with rivals.

Each rival runs as eight processes on one store on the same disk, with one entry per transaction and with a hundred.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import holdfast
from tests.bench import postgres, redis_log, sqlite_direct
from tests.bench.crew import Crew, Job, Sample, evenness, rate_of_all
from tests.bench.entries import CONTENT, ROLE
from tests.bench.figures import Absent, Line, Series, at_least
from tests.bench.plan import Plan, Workplace
from tests.bench.rival import BATCH, OpenRival, Unavailable
from tests.bench.servers import make_sessions, start_daemon

WRITERS, RIVAL_PROCESSES = 4, 8
LEAST_RATE = 60_000.0
LEAST_EVENNESS = 0.7
CHECKED_EVERY = 100  # entries between two checks of the time
RIVALS: tuple[OpenRival, ...] = (sqlite_direct.open_rival, postgres.open_rival, redis_log.open_rival)
_JOBS = {"one": "1 a transaction", "hundred": f"{BATCH} a transaction"}


@dataclass(frozen=True, slots=True)
class Side:
    """The processes of one side, and their samples in each round."""

    name: str
    crew: Crew
    job: str
    failure: str = ""
    warming: list[Sample] = field(default_factory=list)
    rounds: list[list[Sample]] = field(default_factory=list)

    def rate(self) -> Series:
        return Series(self.name, "/s", tuple(rate_of_all(each) for each in self.rounds), self._note())

    def evenness(self) -> Series:
        return Series(self.name, "×", tuple(evenness(each) for each in self.rounds))

    def _note(self) -> str:
        failures = sum(sample.failures for samples in self.rounds for sample in samples)
        return f"{failures} times {self.failure!r}" if self.failure else ""


def prepare(index: int, socket_path: Path, sessions: list[str]) -> Mapping[str, Job]:
    """One writing process."""
    store, session = holdfast.connect(socket_path), sessions[index]
    return {"write": lambda seconds: _write(store, session, seconds), "count": lambda: _count(store, session)}


def _write(store: holdfast.Store, session: str, seconds: float) -> Sample:
    """Writes for `seconds`, then waits until all of it is acknowledged, which is part of the time."""
    began = time.perf_counter()
    with store.transcripts.writer(session) as writer:
        while time.perf_counter() - began < seconds:
            for _ in range(CHECKED_EVERY):
                writer.write(role=ROLE, content=CONTENT)
    return Sample(writer.acknowledged, time.perf_counter() - began)


def _count(store: holdfast.Store, session: str) -> int:
    """The number of the last entry in the journal."""
    return next(store.transcripts.read(session, descending=True, limit=1)).number


def four_writers(plan: Plan) -> list[Line]:
    """The two lines about the writer: its rate, and how even its processes are."""
    with plan.workplace() as place, ExitStack() as stack:
        ours = Side("transcripts.writer", stack.enter_context(_writers(place)), "write")
        theirs, absent = _rivals(stack, place)
        _take_turns(plan, [ours, *theirs])
        _check_all_is_there(ours)
    rates = tuple(each.rate() for each in theirs) + absent
    evennesses = tuple(each.evenness() for each in theirs) + absent
    work = f"transcripts.writer, {WRITERS} processes, {len(CONTENT)}-byte entries, all acknowledged"
    return [
        Line(work, (ours.rate(),), rates, at_least(LEAST_RATE, "/s", ours.rate())),
        Line(
            "  slowest process over the fastest", (ours.evenness(),), evennesses, at_least(LEAST_EVENNESS, "×", ours.evenness())
        ),
    ]


@contextmanager
def _writers(place: Workplace) -> Iterator[Crew]:
    with start_daemon(place) as daemon:
        sessions = make_sessions(daemon, WRITERS)
        with Crew(WRITERS, prepare, daemon.socket, sessions) as crew:
            yield crew


def _rivals(stack: ExitStack, place: Workplace) -> tuple[list[Side], tuple[Absent, ...]]:
    sides: list[Side] = []
    absent: list[Absent] = []
    for open_rival in RIVALS:
        try:
            rival = stack.enter_context(open_rival(place))
        except Unavailable as reason:
            absent.append(Absent(reason.name, reason.why))
            continue
        crew = stack.enter_context(Crew(RIVAL_PROCESSES, rival.prepare, *rival.arguments))
        name = f"{rival.name}, {RIVAL_PROCESSES} processes"
        sides += [Side(f"{name}, {text}", crew, job, rival.failure) for job, text in _JOBS.items()]
    return sides, tuple(absent)


def _take_turns(plan: Plan, sides: list[Side]) -> None:
    for side in sides:
        side.warming.extend(side.crew.run(side.job, plan.warm_s))
    for _ in plan.each_round("writer"):
        for side in sides:
            side.rounds.append(side.crew.run(side.job, plan.round_s))


def _check_all_is_there(ours: Side) -> None:
    """Raises unless every acknowledged entry is in its journal."""
    acknowledged = [sum(sample.count for sample in samples) for samples in zip(ours.warming, *ours.rounds, strict=True)]
    if (found := ours.crew.run("count")) != acknowledged:
        raise RuntimeError(f"{acknowledged} entries were acknowledged, but {found} were found.")
