"""A page of 50 of 100,000 tasks, selected by an indexed filter: the first page and the last.

The rival is the no-op server: it answers the same request with 50 prepared tasks of the same size, so it measures the RPC
and the encoding of the answer. All sides use the bare stub in one process, and their calls alternate.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import StoreServiceListRequest, StoreServiceListResponse
from holdfast.v1.store_service_pb2_grpc import StoreServiceStub
from holdfast.wire.channel import open_channel
from tests.bench.crew import Crew, Job, alternate
from tests.bench.figures import Bar, Line, Series, ratio, with_unit
from tests.bench.plan import Plan, say
from tests.bench.servers import METADATA, Server, add_records, start_daemon, start_noop
from tests.bench.tasks import STATUSES, make_task

TASKS, TASKS_QUICK = 100_000, 5_000
PAGE = 50
CALLS_A_ROUND, CALLS_A_ROUND_QUICK = 200, 100
FILTER = 'status = "running"'
MOST_TIMES_NOOP = 1.5
MOST_TIMES_FIRST = 1.2
MOST_DIFFERENCE = 0.05  # in size, between our page and the no-op server's


def prepare(index: int, daemon: Path, noop: Path, calls: int) -> Mapping[str, Job]:
    """Prepares the calling process: it reads all pages once and keeps the request for the last one."""
    store, floor = open_channel(daemon).store, open_channel(noop).store
    first = StoreServiceListRequest(kind="task", filter=FILTER, page_size=PAGE)
    last = _last_page(store, first)
    _check_sizes(_list(store, first), _list(store, last), _list(floor, first))
    sides = (partial(_list, store, first), partial(_list, store, last), partial(_list, floor, first))
    return {"pages": lambda: alternate(sides, calls)}


def _list(store: StoreServiceStub, request: StoreServiceListRequest) -> StoreServiceListResponse:
    return store.List(request, metadata=METADATA)


def _last_page(store: StoreServiceStub, first: StoreServiceListRequest) -> StoreServiceListRequest:
    """The request for the last page, found by reading all pages."""
    request = StoreServiceListRequest()
    request.CopyFrom(first)
    while token := _list(store, request).next_page_token:
        request.page_token = token
    return request


def _check_sizes(first: StoreServiceListResponse, last: StoreServiceListResponse, noop: StoreServiceListResponse) -> None:
    """Raises unless all sides return full pages of about the same size."""
    for page in (first, last):
        if len(page.records) != PAGE or abs(page.ByteSize() / noop.ByteSize() - 1) > MOST_DIFFERENCE:
            raise RuntimeError(f"Pages of {len(page.records)} tasks and {page.ByteSize()} bytes; no-op: {noop.ByteSize()} bytes.")


def pages_of_tasks(plan: Plan) -> list[Line]:
    """The lines for the first page, the last page, and their ratio."""
    tasks = TASKS_QUICK if plan.quick else TASKS
    calls = CALLS_A_ROUND_QUICK if plan.quick else CALLS_A_ROUND
    found: list[list[float]] = []
    with plan.workplace() as place, start_daemon(place) as daemon, start_noop(place) as noop:
        _fill(daemon, tasks)
        with Crew(1, prepare, daemon.socket, noop.socket, calls) as crew:
            crew.run("pages")
            for _ in plan.each_round("tasks"):
                found += crew.run("pages")
    return _lines(tasks, found)


def _fill(server: Server, count: int) -> None:
    say(f"tasks: storing {count:,} tasks")
    add_records(server, (record_pb2.Record(task=make_task(number)) for number in range(1, count + 1)))


def _lines(tasks: int, found: list[list[float]]) -> list[Line]:
    times = list(zip(*found, strict=True))
    first, last = Series("List, first page", "µs p50", times[0]), Series("List, last page", "µs p50", times[1])
    noop = Series(f"no-op List, {PAGE} tasks encoded", "µs p50", times[2])
    matching = tasks // len(STATUSES)
    return [
        _line(f"list {PAGE} of {tasks:,} tasks by status", first, noop, MOST_TIMES_NOOP, "no-op RPC + encoding"),
        _line(f"  the last {PAGE} of the {matching:,} that match", last, noop, MOST_TIMES_NOOP, "no-op RPC + encoding"),
        _line("  growth with depth", last, first, MOST_TIMES_FIRST, "the first page"),
    ]


def _line(work: str, ours: Series, theirs: Series, most_times: float, what: str) -> Line:
    times = ratio(ours, theirs)
    return Line(work, (ours,), (theirs,), Bar(f"≤ {most_times}× {what}", with_unit(times, "×"), times <= most_times))
