"""Reads that walk whole tables: they leave readers to the others, and hold a bounded amount of memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from holdfast.contract.kinds import JOURNALS
from holdfast.v1 import admin_service_pb2 as admin_pb
from holdfast.v1 import journal_service_pb2 as journal_pb
from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import DataLoss, DeadlineExceeded, Exhausted
from holdfastd.model.budget import Budget, Claim
from holdfastd.model.call import Call, Peer
from holdfastd.model.commands import FillChecksums
from holdfastd.service import admin
from holdfastd.service.reading import MayBeLong
from holdfastd.store import checksum_fill, entry_gaps
from holdfastd.store.verify import CHECK_BYTES
from tests.support.engine import Engine, append, insert_session, insert_task

READERS = 6
LARGE = 1_900_000
SHORT_S = 0.1


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path, readers=READERS)
    made.submit(insert_session("S"), append("S", "one"))
    yield made
    made.close()


def call_of(pid: int, *, is_long: bool = False, timeout_s: float = 30.0) -> Call:
    call = Call(timeout_s, Peer(f"c{pid}", pid, 1, 1))
    call.is_long = is_long
    return call


def ask(engine: Engine, service: str, method: str, request: Any, timeout_s: float = 30.0) -> Any:
    """What `UnaryHandler` does: as long as the use case says that the request may be."""
    use_case = engine.parts.use_cases()[service][method]
    call = call_of(99, is_long=isinstance(use_case, MayBeLong) and use_case.is_long(request), timeout_s=timeout_s)
    answer = use_case(request, call)
    return list(answer) if isinstance(answer, Iterator) else answer


def held_by_long_reads(engine: Engine) -> ExitStack:
    """Holds all readers that long reads may have."""
    held = ExitStack()
    for pid in range(READERS // 2):
        held.enter_context(engine.readers.snapshot(call_of(pid, is_long=True)))
    return held


@pytest.mark.parametrize(
    ("service", "method", "request_of"),
    [
        ("StoreService", "List", lambda: pb.StoreServiceListRequest(kind="task", filter='title : "z"')),
        ("StoreService", "List", lambda: pb.StoreServiceListRequest(kind="task", order_by="title")),
        ("StoreService", "Count", lambda: pb.StoreServiceCountRequest(kind="task")),
        ("StoreService", "Scan", lambda: pb.StoreServiceScanRequest(lists=[pb.ScanList(kind="task")])),
        ("StoreService", "Watch", lambda: pb.StoreServiceWatchRequest(after_revision=0, replay_only=True, ids=["zz"])),
        ("JournalService", "List", lambda: journal_pb.JournalServiceListRequest(journal="audit", filter='actor = "zz"')),
        ("JournalService", "List", lambda: journal_pb.JournalServiceListRequest(journal="transcript", filter="number > 0")),
        (
            "JournalService",
            "Read",
            lambda: journal_pb.JournalServiceReadRequest(parent_kind="session", parent_id="S", filter="number > 5"),
        ),
        ("AdminService", "Verify", admin_pb.AdminServiceVerifyRequest),
    ],
)
def test_a_read_that_may_walk_a_table_counts_as_long(
    engine: Engine, service: str, method: str, request_of: Callable[[], Any]
) -> None:
    with held_by_long_reads(engine), pytest.raises(DeadlineExceeded):
        ask(engine, service, method, request_of(), SHORT_S)
    ask(engine, service, method, request_of())


@pytest.mark.parametrize(
    ("service", "method", "request_of"),
    [
        ("StoreService", "Get", lambda: pb.StoreServiceGetRequest(kind="session", id="S")),
        ("StoreService", "List", lambda: pb.StoreServiceListRequest(kind="task")),
        ("JournalService", "Read", lambda: journal_pb.JournalServiceReadRequest(parent_kind="session", parent_id="S")),
        ("JournalService", "List", lambda: journal_pb.JournalServiceListRequest(journal="transcript")),
        ("AdminService", "GetStatus", admin_pb.AdminServiceGetStatusRequest),
    ],
)
def test_long_reads_leave_readers_to_short_ones(engine: Engine, service: str, method: str, request_of: Callable[[], Any]) -> None:
    with held_by_long_reads(engine):
        ask(engine, service, method, request_of())


def test_one_process_leaves_a_reader_to_the_long_reads_of_others(engine: Engine) -> None:
    with ExitStack() as held:
        for number in range(READERS // 2 - 1):
            held.enter_context(engine.readers.snapshot(Call(1.0, Peer(f"g{number}", 1, 1, 1))))
        with engine.readers.snapshot(call_of(2, is_long=True)):
            pass


def fill_with_large_tasks(engine: Engine, count: int) -> None:
    for number in range(count):
        engine.submit(insert_task(f"L{number}", description="x" * LARGE))


def test_verify_holds_a_bounded_amount_of_memory_and_takes_it_from_the_budget(engine: Engine) -> None:
    fill_with_large_tasks(engine, 12)
    peer = Peer("v", 1, 1, 1)
    budget = Budget(256 * 2**20)
    claim = Claim(budget, peer)
    held = set()
    tracemalloc.start()
    for _ in engine.parts.admin.verify(admin_pb.AdminServiceVerifyRequest(read_blobs=True), Call(60.0, peer, claim)):
        held.add(budget.held_bytes)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held == {CHECK_BYTES}
    assert peak_bytes < CHECK_BYTES


def test_one_verify_runs_at_a_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "PATIENCE_S", SHORT_S)
    first = engine.parts.admin.verify(admin_pb.AdminServiceVerifyRequest(), call_of(1))
    next(first)
    with pytest.raises(Exhausted) as busy:
        next(engine.parts.admin.verify(admin_pb.AdminServiceVerifyRequest(), call_of(2)))
    assert (busy.value.reason, busy.value.retry_delay_s) == ("VERIFY_BUSY", admin.VERIFY_DELAY_S)
    list(first)
    next(engine.parts.admin.verify(admin_pb.AdminServiceVerifyRequest(), call_of(2)))


def test_a_check_reports_so_many_problems_at_most(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "MAX_REPORTED", 3)
    engine.submit(*[insert_task(f"T{number}") for number in range(9)])
    engine.connection.execute("UPDATE task SET image = NULL, checksum = NULL, title = 'u'")
    frames = engine.parts.admin.verify(admin_pb.AdminServiceVerifyRequest(), call_of(1))
    found = [each.reason for frame in frames for each in frame.problems if frame.phase == "records of kind task"]
    assert found == ["record_differs"] * 3 + ["table_damaged"]


@pytest.mark.parametrize("table", ["task", "changes"])
def test_checksums_are_filled_in_by_commands_of_few_bytes(engine: Engine, table: str) -> None:
    fill_with_large_tasks(engine, 6)
    engine.connection.execute(f"UPDATE {table} SET checksum = NULL")
    filled = engine.writer.submit(FillChecksums(table, (), 500), Call())
    assert (filled.examined - 2 * (table == "changes")) * LARGE < checksum_fill.FILL_BYTES + 2 * LARGE
    while filled.after is not None:
        filled = engine.writer.submit(FillChecksums(table, filled.after, 500), Call())
    assert engine.query(f"SELECT count(*) FROM {table} WHERE checksum IS NULL") == [(0,)]


def test_an_entry_gets_its_image_in_commands_of_few_bytes(engine: Engine) -> None:
    for _ in range(12):
        engine.submit(append("S", "y" * 900_000))
    engine.connection.execute("UPDATE transcript SET image = NULL, checksum = NULL")
    filled = engine.writer.submit(FillChecksums("transcript", (), 500), Call())
    assert filled.examined < 8
    while filled.after is not None:
        filled = engine.writer.submit(FillChecksums("transcript", filled.after, 500), Call())
    assert engine.query("SELECT count(*) FROM transcript WHERE image IS NULL OR checksum IS NULL") == [(0,)]


def steps_of(engine: Engine, parent: tuple[str, str], rows: list[Any], last: tuple[int, int] | None) -> int:
    """How many hundreds of instructions of SQLite's machine a check for gaps takes."""
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    connection: Any = engine.connection
    connection.set_progress_handler(step, 100)
    try:
        entry_gaps.check(connection, JOURNALS["transcript"], "default", parent, rows, None, last)
    finally:
        connection.set_progress_handler(None, 0)
    return steps[0]


def test_a_list_of_one_parent_costs_the_same_among_many(engine: Engine) -> None:
    for first in range(0, 1_000, 250):
        ids = [f"s{number}" for number in range(first, first + 250)]
        engine.submit(*[insert_session(id) for id in ids], *[append(id, "x") for id in ids])
    assert steps_of(engine, ("session", "S"), [(1, "session", "S", 1)], None) < 5
    assert steps_of(engine, ("session", "missing"), [], None) < 5
    assert steps_of(engine, ("", ""), [(1, "session", "S", 1)], (1, 1)) < 5


def test_a_gap_ends_the_walk_over_all_parents(engine: Engine) -> None:
    ids = [f"s{number}" for number in range(400)]
    engine.submit(*[insert_session(id) for id in ids])
    engine.submit(*[append(id, "x") for id in ids])
    engine.connection.execute("PRAGMA foreign_keys = OFF")
    engine.connection.execute("DELETE FROM transcript")
    with pytest.raises(DataLoss, match="Entry 1 of the transcript of session S is missing"):
        steps_of(engine, ("", ""), [], None)
