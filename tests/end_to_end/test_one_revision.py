"""Reads of related data while others write: all of it is of one revision."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import holdfast

ROUNDS = 60


@contextmanager
def meanwhile(write: Callable[[int], object]) -> Iterator[None]:
    """Calls `write` with 1, 2, 3 … in a thread while the block runs."""
    stop, failures = threading.Event(), list[BaseException]()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                write(number)
            except BaseException as error:
                failures.append(error)
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures


def test_a_state_and_its_gates_are_of_one_revision(store: holdfast.Store) -> None:
    """Each saved state contains the number of its gates at that time."""
    tasks = [store.tasks.create(title="t").id for _ in range(2)]

    def decide(number: int) -> None:
        for task in tasks:
            store.states.save(task, metadata={"gates": number}, gates=[{"phase": f"p{number}", "approved": True}])

    decide(0)
    with meanwhile(decide):
        for _ in range(ROUNDS):
            for state in (store.states.load(tasks[0]), *store.states.load_all().values()):
                assert len(state.gates) == state.message.metadata["gates"] + 1


def test_a_context_on_disk_is_of_one_revision(store: holdfast.Store, tmp_path: Path) -> None:
    """Constitution and spec are always changed in one commit."""
    task = store.tasks.create(title="t").id

    def change(number: int) -> None:
        with store.transaction() as tx:
            tx.constitution.save(content=f"rules {number}")
            tx.specs.save(task, f"spec {number}")

    change(0)
    with meanwhile(change):
        for number in range(ROUNDS):
            directory = tmp_path / str(number)
            store.contexts.materialize(task, directory)
            rules, spec = ((directory / name).read_text().split()[-1] for name in ("constitution.md", "spec.md"))
            assert rules == spec
