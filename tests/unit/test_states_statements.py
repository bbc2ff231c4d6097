"""Loading the states of all tasks takes a constant number of SQL statements, for ten tasks as for thousands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from tests.support.engine import Engine
from tests.support.in_process import counted, store_over


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


def add_states(store: holdfast.Store, count: int) -> None:
    phases = [{"phase": "spec", "status": "completed"}, {"phase": "implement", "status": "running", "metadata": {"round": 2}}]
    for _ in range(count // 10):
        with store.transaction() as tx:
            for _ in range(10):
                task = tx.tasks.create(title="t")
                gates = [{"phase": "spec", "approved": True}, {"phase": "implement", "reason": "not yet"}]
                tx.states.save(task.id, status="running", phases=phases, gates=gates)


def statements_of_load_all(engine: Engine, store: holdfast.Store, tasks: int) -> int:
    with counted(engine) as statements:
        states = store.states.load_all()
    assert len(states) == tasks
    assert all(len(each.message.phases) == 2 and len(each.gates) == 2 for each in states.values())
    return len(statements)


def test_all_states_are_loaded_in_a_constant_number_of_statements(engine: Engine) -> None:
    store = store_over(engine)
    add_states(store, 10)
    few = statements_of_load_all(engine, store, 10)
    add_states(store, 2_490)  # more than two pages of List
    many = statements_of_load_all(engine, store, 2_500)
    assert 0 < few == many < 8

    with counted(engine) as one_by_one:
        for each in list(store.tasks.list(limit=10)):
            store.states.load(each.id)
    assert len(one_by_one) > 3 * many, "loading task by task must take more statements"


def test_ready_tasks_are_one_query(engine: Engine) -> None:
    store = store_over(engine)
    done = store.tasks.create(title="done", status="finished")
    waiting = [store.tasks.create(title=f"after {number}", blocked_by=[done.id]) for number in range(20)]
    with counted(engine) as statements:
        assert [each.id for each in store.tasks.ready(page_size=1000)] == [each.id for each in waiting]
    assert len([each for each in statements if 'FROM "task" AS t' in each or "FROM task AS t" in each]) == 1


def test_states_of_all_tasks_take_one_statement_more(engine: Engine) -> None:
    store = store_over(engine)
    counts = []
    for count in (10, 490):
        add_states(store, count)
        with store.transaction() as tx:
            for _ in range(count):
                tx.tasks.create(title="without a state")
        with counted(engine) as stored:
            store.states.load_all()
        with counted(engine) as statements:
            states = store.states.load_all(every_task=True)
        counts.append((len(statements), len(statements) - len(stored), len(states)))
    assert counts == [(counts[0][0], 1, 20), (counts[0][0], 1, 1000)]


def test_the_latest_versions_of_all_workflows_are_one_query(engine: Engine) -> None:
    store = store_over(engine)
    counts = []
    for start in (0, 10):
        for number in range(start, start + 10):
            for version in range(3):
                store.workflows.store(f"w{number}", name=str(version))
        with counted(engine) as statements:
            found = store.workflows.list_latest()
        assert {each.name for each in found.values()} == {"2"} and len(found) == start + 10
        counts.append(len(statements))
    assert counts[0] == counts[1]
