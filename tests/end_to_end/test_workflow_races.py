"""Concurrent changes of one workflow, in threads and in processes: no change is lost, and equal definitions are one version."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import holdfast
from tests.conftest import DaemonProcess
from tests.end_to_end.workflow_racers import PHASES, THREADS, WorkflowRacer

ROOT = Path(__file__).parents[2]
CHANGES = PHASES + 2


def assert_nothing_is_lost(store: holdfast.Store, reports: list[dict[str, Any]]) -> None:
    assert [error for each in reports for error in each["errors"]] == []
    changes = len(reports) * THREADS * CHANGES
    assert sorted(number for each in reports for number in each["versions"]) == list(range(2, changes + 2))
    versions = list(store.workflows.versions("ship"))
    assert [each.parent_version for each in versions] == list(range(changes + 1)), "a version's parent is the previous one"
    named = {
        f"{racer}-{thread}-{number}" for racer in range(len(reports)) for thread in range(THREADS) for number in range(1, PHASES)
    }
    assert {each.name for each in versions[-1].phases} == named | {"first"}
    assert len(versions[-1].variables) == len(reports) * THREADS
    assert {number for each in reports for number in each["equal"]} == {1}
    assert [each.id for each in store.workflows.versions("same")] == ["same@1"]


def test_threads_that_change_a_workflow_at_once_lose_nothing(store: holdfast.Store) -> None:
    store.workflows.store("ship", phases=[{"name": "first"}])
    racers = [WorkflowRacer(store, number) for number in range(2)]
    running = [threading.Thread(target=each.race) for each in racers]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert_nothing_is_lost(store, [vars(each) for each in racers])


@pytest.mark.slow  # processes of its own
def test_processes_that_change_a_workflow_at_once_lose_nothing(daemon: DaemonProcess, store: holdfast.Store) -> None:
    store.workflows.store("ship", phases=[{"name": "first"}])
    command = [sys.executable, "-m", "tests.end_to_end.workflow_racers", str(daemon.socket_path), store.workspace]
    running = [
        subprocess.Popen([*command, str(number)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for each in running:
        assert each.stdout is not None and each.stdout.readline() == "ready\n"
    for each in running:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    assert_nothing_is_lost(store, [json.loads(each.communicate(timeout=60)[0]) for each in running])


def test_a_version_after_deleted_ones_gets_the_next_number(store: holdfast.Store) -> None:
    for number in range(1, 5):
        store.workflows.store("ship", name=f"version {number}")
    for gone in (4, 3):
        store.workflows.delete("ship", gone)
    made = store.workflows.set_phase("ship", "plan")
    assert (made.id, made.parent_version, made.name) == ("ship@5", 2, "version 2")
    store.workflows.delete_all("ship")
    again = store.workflows.store("ship", name="anew")
    assert (again.id, again.parent_version) == ("ship@6", 0)


def test_a_change_that_always_loses_the_race_times_out(store: holdfast.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.workflows.store("ship", name="first")
    hurried = store.with_timeout(0.3)
    read = hurried.workflows._latest

    def read_and_be_overtaken(workflow_id: str) -> Any:
        found = read(workflow_id)
        store.workflows.create(workflow_id="ship", name="somebody else's")
        return found

    monkeypatch.setattr(hurried.workflows, "_latest", read_and_be_overtaken)
    with pytest.raises(holdfast.AlreadyExists):
        hurried.workflows.set_phase("ship", "never")
    assert all(not each.phases for each in store.workflows.versions("ship"))
