"""Reading a long transcript: time to the first entry, entries per second, and memory.

Memory must stay flat: reading all of it must not raise the peak of client or daemon above that of reading half of it. Keeping
the entries would cost at least 13 MB more. The rivals are a no-op server that streams the same frames, built once, and the
same rows read from a SQLite file in the reader's process.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holdfast
import holdfast.journals.reader
from holdfast.v1.journal_service_pb2 import JournalServiceReadRequest
from holdfast.wire.channel import open_channel
from tests.bench import sqlite_direct
from tests.bench.crew import Crew, Job
from tests.bench.entries import CONTENT, ROLE
from tests.bench.figures import MB, Line, Series, at_least, at_most, percentile
from tests.bench.plan import Plan, Workplace
from tests.bench.processes import peak_bytes, reset_peak
from tests.bench.servers import METADATA, Server, make_sessions, start_daemon, start_noop

ENTRIES = 100_000
FIRST_READS = 21
PAUSE_S = 0.05  # before each first entry, so that the daemon has finished with the previous reader
SIDES = ("first_ms", "noop_first_ms", "read", "noop", "beside")
MOST_FIRST_MS = 5.0
LEAST_RATE = 150_000.0
MOST_GROWTH_MB = 8.0


@dataclass(frozen=True, slots=True)
class Read:
    """What one round of the daemon's side measured."""

    rate: float
    reader_growth_mb: float
    daemon_growth_mb: float


class Reader:
    """The reading process, with its own connection and the rival's file."""

    def __init__(self, daemon: Path, daemon_pid: int, noop: Path, session: str, beside: Path) -> None:
        self._store = holdfast.connect(daemon)
        self._pids = (os.getpid(), daemon_pid)
        self._session = session
        self._noop = open_channel(noop).journal
        self._request = JournalServiceReadRequest(parent_kind="session", parent_id=session, limit=ENTRIES)
        self._beside = sqlite_direct.connect(beside)
        self._beside.execute("CREATE TABLE entry (number INTEGER PRIMARY KEY, create_time INTEGER, role TEXT, content TEXT)")

    def fill(self) -> None:
        with self._store.transcripts.writer(self._session) as writer:
            for _ in range(ENTRIES):
                writer.write(role=ROLE, content=CONTENT)
        rows = ((number, time.time_ns(), ROLE, CONTENT) for number in range(1, ENTRIES + 1))
        self._beside.execute("BEGIN")
        self._beside.executemany("INSERT INTO entry VALUES (?, ?, ?, ?)", rows)
        self._beside.execute("COMMIT")

    def read(self) -> Read:
        """Reads all entries through the public client; records the peaks for the first half and for all."""
        half = self._peaks_of(ENTRIES // 2)
        began = time.perf_counter()
        whole = self._peaks_of(ENTRIES)
        rate = ENTRIES / (time.perf_counter() - began)
        ours, theirs = ((after - before) / MB for before, after in zip(half, whole, strict=True))
        return Read(rate, ours, theirs)

    def noop(self) -> float:
        """Entries per second through gRPC and protobuf alone."""
        return _rate(entry for frame in self._noop.Read(self._request, metadata=METADATA) for entry in frame.entries)

    def beside(self) -> float:
        """Rows per second from the SQLite file."""
        return _rate(self._beside.execute("SELECT number, create_time, role, content FROM entry ORDER BY number"))

    def first_ms(self) -> float:
        """Time to the first entry through the public client, as a median."""
        return _typical_ms(self._first_entry)

    def noop_first_ms(self) -> float:
        """The same for the no-op server."""
        return _typical_ms(self._first_noop_entry)

    def _first_entry(self) -> Callable[[], object]:
        reader = self._store.transcripts.read(self._session)
        next(reader)
        assert isinstance(reader, holdfast.journals.reader.Reader)
        return reader.close

    def _first_noop_entry(self) -> Callable[[], object]:
        call = self._noop.Read(self._request, metadata=METADATA)
        next(iter(next(call).entries))
        return call.cancel

    def _peaks_of(self, limit: int) -> list[int]:
        for pid in self._pids:
            reset_peak(pid)
        _rate(self._store.transcripts.read(self._session, limit=limit), limit)
        return [peak_bytes(pid) for pid in self._pids]


def prepare(index: int, *arguments: object) -> Mapping[str, Job]:
    """The jobs of the reading process."""
    reader = Reader(*arguments)  # type: ignore[arg-type]
    jobs = (reader.fill, reader.first_ms, reader.noop_first_ms, reader.read, reader.noop, reader.beside)
    return {job.__name__: job for job in jobs}


def _typical_ms(get_first: Callable[[], Callable[[], object]]) -> float:
    """The median time of `get_first`. Its result closes the stream."""
    times = []
    for _ in range(FIRST_READS):
        time.sleep(PAUSE_S)
        began = time.perf_counter()
        end = get_first()
        times.append((time.perf_counter() - began) * 1e3)
        end()
    return percentile(sorted(times), 0.5)


def _rate(entries: Iterable[object], expected: int = ENTRIES) -> float:
    """Items per second. Looks at each item and keeps none."""
    began = time.perf_counter()
    (last,) = deque(enumerate(entries, 1), maxlen=1)
    if last[0] != expected:
        raise RuntimeError(f"{last[0]} entries were read; expected {expected}.")
    return expected / (time.perf_counter() - began)


def long_transcript(plan: Plan) -> list[Line]:
    """The three lines about reading."""
    with plan.workplace() as place, start_daemon(place) as daemon, start_noop(place) as noop:
        found = _measure(plan, place, daemon, noop)
    return [_first_line(found), _rate_line(found), _memory_line(found["read"])]


def _measure(plan: Plan, place: Workplace, daemon: Server, noop: Server) -> dict[str, list[Any]]:
    """Each side's results per round, by the name of the job."""
    found: dict[str, list[Any]] = {name: [] for name in SIDES}
    session = make_sessions(daemon, 1)[0]
    with Crew(1, prepare, daemon.socket, daemon.pid, noop.socket, session, place.data / "beside.db") as crew:
        for name in ("fill", "noop", "read"):
            crew.run(name)
        for _ in plan.each_round("read"):
            for name, results in found.items():
                results += crew.run(name)
    return found


def _first_line(found: dict[str, list[Any]]) -> Line:
    ours = Series("transcripts.read", "ms", tuple(found["first_ms"]))
    theirs = Series("no-op stream, same frames", "ms", tuple(found["noop_first_ms"]))
    return Line(f"read a {ENTRIES:,}-entry transcript: first entry", (ours,), (theirs,), at_most(MOST_FIRST_MS, "ms", ours))


def _rate_line(found: dict[str, list[Any]]) -> Line:
    ours = Series("transcripts.read", "/s", tuple(each.rate for each in found["read"]))
    noop = Series("no-op stream, same frames", "/s", tuple(found["noop"]))
    beside = Series("SQLite in the reader's process", "/s", tuple(found["beside"]))
    return Line("  all entries", (ours,), (noop, beside), at_least(LEAST_RATE, "/s", ours))


def _memory_line(rounds: list[Read]) -> Line:
    reader = Series("reader", "MB", tuple(each.reader_growth_mb for each in rounds))
    daemon = Series("daemon", "MB", tuple(each.daemon_growth_mb for each in rounds))
    larger = max(reader, daemon, key=lambda each: each.median)
    return Line("  memory above that of reading half", (reader, daemon), (), at_most(MOST_GROWTH_MB, "MB", larger))
