"""Lists the ready tasks among 10,000 with 30,000 blocking edges.

The rival reads all tasks and decides in the client, which would be necessary without the filter. Both use pages of 1,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

import holdfast
from holdfast.v1 import record_pb2
from tests.bench.crew import Crew, Job, alternate
from tests.bench.figures import Line, Series, unjudged
from tests.bench.plan import Plan, say
from tests.bench.servers import MOST_MUTATIONS, Server, add_records, start_daemon
from tests.bench.tasks import DONE, make_task

TASKS, TASKS_QUICK = 10_000, 1_000
BLOCKERS = 4  # for each task except the first quarter, which has none: three per task on average
PAGE = 1_000
FILTER = "ready = true"


def prepare(index: int, daemon: Path) -> Mapping[str, Job]:
    """Prepares the calling process. Both sides must count the same number of tasks."""
    store = holdfast.connect(daemon)
    by_filter, by_client = _by_filter(store), _by_client(store)
    if by_filter != by_client:
        raise RuntimeError(f"{by_filter} tasks are ready by the filter, {by_client} by their blockers.")
    sides = (lambda: _by_filter(store), lambda: _by_client(store))
    return {"ready": lambda: alternate(sides, 1), "count": lambda: by_filter}


def _by_filter(store: holdfast.Store) -> int:
    return sum(1 for _ in store.tasks.list(filter=FILTER, page_size=PAGE))


def _by_client(store: holdfast.Store) -> int:
    tasks = list(store.tasks.list(page_size=PAGE))
    done = {each.id for each in tasks if each.status in DONE}
    return sum(done.issuperset(each.blocked_by) for each in tasks)


def ready_tasks(plan: Plan) -> list[Line]:
    """The benchmark's line."""
    count = TASKS_QUICK if plan.quick else TASKS
    found: list[list[float]] = []
    with plan.workplace() as place, start_daemon(place) as daemon:
        edges = _fill(daemon, count)
        with Crew(1, prepare, daemon.socket) as crew:
            (ready,) = crew.run("count")
            for _ in plan.each_round("ready"):
                found += crew.run("ready")
    by_filter, by_client = (tuple(micros / 1e3 for micros in side) for side in zip(*found, strict=True))
    ours = Series(f"list({FILTER})", "ms", by_filter, f"{ready:,} found")
    theirs = Series("list of all, worked out in the client", "ms", by_client)
    return [Line(f"ready among {count:,} tasks with {edges:,} edges", (ours,), (theirs,), unjudged(ours, theirs))]


def _fill(server: Server, count: int) -> int:
    """Stores the tasks, blockers first; returns the number of edges."""
    say(f"ready: storing {count:,} tasks")
    free = count // 4
    ids = add_records(server, (record_pb2.Record(task=_task(number, [])) for number in range(free)))
    while len(ids) < count:
        # The daemon makes the ids, so a task's blockers must be in an earlier commit.
        ids += add_records(server, _waiting(ids, min(MOST_MUTATIONS, count - len(ids))))
    return (count - free) * BLOCKERS


def _waiting(ids: list[str], count: int) -> Iterator[record_pb2.Record]:
    random = Random(len(ids))
    for number in range(len(ids), len(ids) + count):
        yield record_pb2.Record(task=_task(number, random.sample(ids, BLOCKERS)))


def _task(number: int, blocked_by: list[str]) -> record_pb2.Task:
    """Half of the tasks are done, so one in sixteen of the tasks with blockers is ready."""
    status = "finished" if Random(number).random() < 0.5 else "planned"
    return make_task(number, status=status, blocked_by=blocked_by)
