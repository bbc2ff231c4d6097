"""Initiatives with their tasks: in order, a task in several of them, saved and loaded whole, and without deleted tasks."""

from __future__ import annotations

import pytest

import holdfast


@pytest.fixture
def tasks(store: holdfast.Store) -> list[str]:
    return [store.tasks.create(title=title).id for title in ("spec", "build", "ship")]


def ids(found: holdfast.InitiativeTasks) -> list[str]:
    return [each.id for each in found.tasks]


def test_save_takes_the_tasks_in_order_and_load_gives_them_back(store: holdfast.Store, tasks: list[str]) -> None:
    spec, build, ship = tasks
    first = store.initiatives.create(title="first", tasks=[ship, store.tasks.get(spec)])
    second = store.initiatives.save(id="INIT-777", title="second", tasks=[build, ship])
    assert (first.task_ids, second.task_ids) == ([ship, spec], [build, ship])
    assert [ids(store.initiatives.load(each.id)) for each in (first, second)] == [[ship, spec], [build, ship]]
    again = store.initiatives.save(id="INIT-777", tasks=[spec])
    assert again.title == "second" and ids(store.initiatives.load("INIT-777")) == [spec]
    loaded = store.initiatives.load(first.id)
    assert store.initiatives.save(loaded).version == first.version + 1 and ids(store.initiatives.load(first.id)) == [ship, spec]
    assert store.initiatives.update(first.id, tasks=[]).task_ids == []


def test_a_task_that_names_its_initiative_belongs_to_it_too(store: holdfast.Store, tasks: list[str]) -> None:
    initiative = store.initiatives.create(title="both", tasks=tasks[1:])
    store.tasks.update(tasks[0], initiative_id=initiative.id)
    store.tasks.update(tasks[1], initiative_id=initiative.id)
    assert ids(store.initiatives.load(initiative.id)) == [tasks[1], tasks[2], tasks[0]]
    assert [each.id for each in store.initiatives.tasks(initiative.id)] == tasks
    found = store.initiatives.tasks(initiative.id, filter='title = "ship" OR title = "spec"', order_by="title desc")
    assert [each.title for each in found] == ["spec", "ship"]
    assert [each.id for each in store.tasks.list(filter="initiatives:*")] == tasks[1:]


def test_load_all_has_every_initiative(store: holdfast.Store, tasks: list[str]) -> None:
    empty = store.initiatives.create(title="empty")
    full = store.initiatives.create(title="full", tasks=tasks)
    decided = store.initiatives.decide(full.id, decision="go", actor="ann")
    found = store.initiatives.load_all()
    assert {id: ids(each) for id, each in found.items()} == {empty.id: [], full.id: tasks}
    assert found[full.id].message == decided and found.unreadable == []


def test_a_deleted_task_leaves_its_initiatives(store: holdfast.Store, tasks: list[str]) -> None:
    one, other = (store.initiatives.create(title=title, tasks=tasks) for title in ("one", "other"))
    store.tasks.delete(tasks[1])
    assert [store.initiatives.get(each.id).task_ids for each in (one, other)] == [[tasks[0], tasks[2]]] * 2
    assert store.initiatives.get(one.id).version == one.version + 1
    store.initiatives.delete(one.id)
    assert store.tasks.exists(tasks[0])


def test_what_is_no_task_is_refused(store: holdfast.Store, tasks: list[str]) -> None:
    with pytest.raises(holdfast.ParentNotFound):
        store.initiatives.save(id="INIT-001", title="x", tasks=["TASK-404"])
    with pytest.raises(holdfast.InvalidArgument, match="twice"):
        store.initiatives.create(title="x", tasks=[tasks[0], tasks[0]])
    with pytest.raises(TypeError):
        store.initiatives.create(title="x", tasks=tasks, task_ids=tasks)
    with pytest.raises(holdfast.NotFound):
        store.initiatives.load("INIT-404")
    with store.transaction() as tx:
        made = tx.initiatives.create(title="in a transaction", tasks=tasks)
    assert ids(store.initiatives.load(made.id)) == tasks
