"""Many writers on a few tasks: no update is lost, no version is written twice, no cycle is closed, no id is given twice."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import holdfast
from tests.conftest import DaemonProcess
from tests.end_to_end.racers import EDGES, IDS, INCREMENTS, race

pytestmark = pytest.mark.slow  # processes of its own

ROOT = Path(__file__).parents[2]
TASKS = 4
INSERT, UPDATE = 1, 2


@dataclass(frozen=True)
class Race:
    """The store after a race, and the reports of its processes."""

    store: holdfast.Store
    tasks: list[str]
    reports: list[dict[str, Any]]
    threads: int

    def gathered(self, name: str) -> list[Any]:
        return [each for report in self.reports for each in report[name]]


def start(socket: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.end_to_end.racers", str(socket), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_processes(daemon: DaemonProcess, store: holdfast.Store, tasks: list[str]) -> list[dict[str, Any]]:
    """Runs eight processes of eight threads each, which start when all are ready."""
    racers = [start(daemon.socket_path, store.workspace, 8, seed, *tasks) for seed in range(8)]
    for each in racers:
        assert each.stdout is not None and each.stdin is not None
        assert each.stdout.readline() == "ready\n"
    for each in racers:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    return [json.loads(each.communicate(timeout=60)[0]) for each in racers]


def run_threads(daemon: DaemonProcess, store: holdfast.Store, tasks: list[str]) -> list[dict[str, Any]]:
    """Runs sixty-four threads of this process with one client."""
    return [vars(race(store, tasks, 64, 0))]


@pytest.fixture(
    scope="module",
    params=[pytest.param(run_processes, marks=pytest.mark.slow), run_threads],
    ids=["8 processes of 8 threads", "64 threads"],
)
def finished(request: pytest.FixtureRequest, daemon: DaemonProcess) -> Iterator[Race]:
    with holdfast.connect(daemon.socket_path, workspace=f"test-{uuid.uuid4().hex}", actor="judge") as store:
        tasks = [store.tasks.create(title="t", metadata={"number": 0}).id for _ in range(TASKS)]
        yield Race(store, tasks, request.param(daemon, store, tasks), 64)


def test_nobody_failed(finished: Race) -> None:
    assert finished.gathered("errors") == []


def test_no_update_is_lost(finished: Race) -> None:
    counted: Counter[str] = Counter()
    for report in finished.reports:
        counted.update(report["increments"])
    assert counted.total() == finished.threads * INCREMENTS
    numbers = {each.id: each.metadata["number"] for each in finished.store.tasks.list() if each.metadata}
    assert numbers == {id: counted[id] for id in finished.tasks}


def test_each_version_is_written_once(finished: Race) -> None:
    written = [(id, version) for id, version in finished.gathered("versions")]
    assert len(written) == len(set(written))
    for id in finished.tasks:
        history = list(finished.store.tasks.history(id))
        assert [each.version for each in history] == list(range(1, len(history) + 1))
        assert {version for owner, version in written if owner == id} == set(range(2, len(history) + 1))
        # The audit agrees, and each write raised the number by one.
        entries = list(finished.store.audit.of("task", id))
        assert [each.version for each in entries] == [each.version for each in history]
        diffs = [each.diff.get("metadata") for each in entries]
        numbers = [each for each in diffs[1:] if each]
        assert all(each["after"]["number"] == each["before"]["number"] + 1 for each in numbers)
        assert len(numbers) == finished.store.tasks.get(id).metadata["number"]


def test_no_circle_ever_closes(finished: Race) -> None:
    tried = sum(report["edges"] + report["refused_cycles"] for report in finished.reports)
    assert tried == finished.threads * EDGES
    assert sum(report["refused_cycles"] for report in finished.reports) > 0
    waits: dict[str, list[str]] = {}
    for change in finished.store.watch(kinds=["task"], since=0, replay_only=True):
        waits[change.id] = list(change.record.task.blocked_by)
        assert not reaches(waits, change.id), f"revision {change.revision} closed a cycle"


def reaches(waits: dict[str, list[str]], id: str) -> bool:
    """True when a task waits for itself through others."""
    seen: set[str] = set()
    to_do = list(waits[id])
    while to_do:
        if (next_id := to_do.pop()) == id:
            return True
        if next_id not in seen:
            seen.add(next_id)
            to_do += waits.get(next_id, [])
    return False


def test_no_id_comes_twice(finished: Race) -> None:
    ids = finished.gathered("ids") + finished.tasks
    assert len(ids) == finished.threads * IDS + TASKS
    assert len(set(ids)) == len(ids)
    assert sorted(int(each.removeprefix("TASK-")) for each in ids) == list(range(1, len(ids) + 1))


def test_one_of_two_concurrent_halves_of_a_cycle_is_refused(store: holdfast.Store) -> None:
    for _ in range(40):
        one, other = store.tasks.create(title="one").id, store.tasks.create(title="other").id
        gate, outcomes = threading.Barrier(2), []

        def half(waits: str, blocks: str, gate: threading.Barrier = gate, outcomes: list[str] = outcomes) -> None:
            gate.wait()
            try:
                store.tasks.update(waits, blocked_by=[blocks])
                outcomes.append("done")
            except holdfast.HoldfastError as error:
                outcomes.append(error.reason)

        threads = [threading.Thread(target=half, args=pair) for pair in ((one, other), (other, one))]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sorted(outcomes) == ["DEPENDENCY_CYCLE", "done"]
        assert sum(len(store.tasks.get(id).blocked_by) for id in (one, other)) == 1


def test_two_halves_in_one_transaction_are_refused_whole(store: holdfast.Store) -> None:
    one, other = store.tasks.create(title="one").id, store.tasks.create(title="other").id
    revision = store.status().revision
    with pytest.raises(holdfast.HoldfastError) as caught, store.transaction() as staged:
        staged.tasks.update(one, blocked_by=[other])
        staged.tasks.update(other, blocked_by=[one])
    assert caught.value.reason == "DEPENDENCY_CYCLE"
    assert [list(store.tasks.get(id).blocked_by) for id in (one, other)] == [[], []]
    assert store.tasks.get(one).version == 1 and store.status().revision == revision
