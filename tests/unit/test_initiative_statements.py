"""Loading all initiatives with their tasks takes a constant number of SQL statements; a filter by initiative uses an index."""

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


def add_initiatives(store: holdfast.Store, count: int) -> None:
    for number in range(count):
        with store.transaction() as tx:
            tasks = [tx.tasks.create(title="t").id for _ in range(5)]
            initiative = tx.initiatives.create(title=f"i{number}", tasks=tasks, decisions=[{"decision": "go"}])
            tx.tasks.create(title="names it", initiative_id=initiative.id)


def statements_of_load_all(engine: Engine, store: holdfast.Store, initiatives: int) -> int:
    with counted(engine) as statements:
        found = store.initiatives.load_all()
    assert len(found) == initiatives and all(len(each.tasks) == 6 for each in found.values())
    return len(statements)


def test_initiatives_with_tasks_are_loaded_in_a_constant_number_of_statements(engine: Engine) -> None:
    store = store_over(engine)
    add_initiatives(store, 2)
    few = statements_of_load_all(engine, store, 2)
    add_initiatives(store, 250)  # 1,512 tasks: more than a page of List
    assert 0 < few == statements_of_load_all(engine, store, 252) < 8
    with counted(engine) as of_one:
        assert len(store.initiatives.load(next(store.initiatives.list()).id).tasks) == 6
    assert len(of_one) < 20
