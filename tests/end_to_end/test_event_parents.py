"""Events of a construct and of the workspace itself, and events of all parents in the order of commits."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

import holdfast
from tests.conftest import DaemonProcess


def shown(found: Any) -> list[tuple[str, str, str]]:
    return [(each.parent_kind, each.parent_id, each.type) for each in found]


def pages(store: holdfast.Store, **asked: Any) -> list[Any]:
    items, token = [], ""
    while True:
        page = store.events.page(page_token=token, **asked)
        items += page.items
        if not (token := page.next_page_token):
            return items


def test_a_construct_has_events(store: holdfast.Store) -> None:
    construct = store.constructs.create(name="c", type="planner")
    assert store.events.save(construct.id, parent_kind="construct", type="trained", data={"n": 1}) == 1
    assert [each.data for each in store.events.read(construct.id, parent_kind="construct")] == [{"n": 1}]
    store.constructs.delete(construct.id, cascade=True)
    assert list(store.events.query(parent_kind="construct")) == []


def test_the_workspace_has_events_of_its_own(store: holdfast.Store) -> None:
    assert store.events.save(type="opened", parent_kind="workspace", message="hello") == 1  # the first write to the workspace
    assert store.events.save_many([{"type": "a"}, {"type": "b"}], parent_kind="workspace") == [2, 3]
    with store.transaction() as tx:
        made = tx.events.save(type="c", parent_kind="workspace")
    assert made.number == 4
    assert [each.type for each in store.events.read(parent_kind="workspace")] == ["opened", "a", "b", "c"]
    assert shown(store.events.query(parent_kind="workspace", limit=1)) == [("workspace", "workspace", "opened")]
    with store.events.follow(parent_kind="workspace", start=3) as follower:
        assert next(follower).type == "b"
    assert [each.type for each in store.events.watch(ids=["workspace"], since=0, replay_only=True)] == ["opened", "a", "b", "c"]


def test_a_workspace_without_events_reads_as_empty(store: holdfast.Store) -> None:
    store.tasks.create(title="t")
    assert list(store.events.read(parent_kind="workspace")) == []


def test_the_workspace_is_named_in_one_way_and_only_for_events(store: holdfast.Store) -> None:
    with pytest.raises(holdfast.InvalidArgument, match="workspace"):
        store.events.save("default", type="x", parent_kind="workspace")
    with pytest.raises(holdfast.InvalidArgument, match="has no transcript"):
        store.transcripts.append("workspace", role="r", parent_kind="workspace")


@pytest.mark.parametrize("end", [DaemonProcess.stop, DaemonProcess.kill], ids=["stopped", "killed"])
def test_the_events_of_the_workspace_survive_and_verify(
    own_daemon: DaemonProcess, end: Callable[[DaemonProcess], object]
) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        construct = store.constructs.create(name="c", type="planner")
        store.events.save(type="x", parent_kind="workspace", message="m" * 2_000_000)
        store.events.save(construct.id, type="y", parent_kind="construct")
    end(own_daemon)
    own_daemon.start()
    with holdfast.connect(own_daemon.socket_path) as store:
        assert [(each.type, len(each.message)) for each in store.events.query(by_revision=True)] == [("x", 2_000_000), ("y", 0)]
        assert [str(problem) for frame in store.verify(read_blobs=True) for problem in frame.problems] == []


def save_mixed(store: holdfast.Store) -> list[str]:
    """Saves events of several parents in turn; returns their types in the order of the commits."""
    tasks = [store.tasks.create(title=str(number)).id for number in range(3)]
    for number in range(12):
        if number % 4 == 3:
            store.events.save(type=f"e{number}", parent_kind="workspace")
        else:
            store.events.save(tasks[-number % 3], type=f"e{number}", phase="even" if number % 2 == 0 else "")
    return [f"e{number}" for number in range(12)]


@pytest.mark.parametrize("page_size", [1, 5, 12, 0])
def test_newest_first_over_all_parents(store: holdfast.Store, page_size: int) -> None:
    types = save_mixed(store)
    asked = {"by_revision": True, "page_size": page_size}
    assert [each.type for each in pages(store, **asked, descending=True)] == types[::-1]
    assert [each.type for each in pages(store, **asked)] == types
    assert [each.type for each in store.events.query(by_revision=True, descending=True, limit=3)] == types[:-4:-1]
    assert [each.type for each in pages(store, **asked, descending=True, phase="even")] == types[10::-2]
    assert [each.type for each in pages(store, **asked, parent_kind="workspace", descending=True)] == types[11::-4]
    one = next(store.events.query(parent_kind="task")).parent_id
    of_one = [each.type for each in pages(store, parent_kind="task", parent_id=one)]
    assert [each.type for each in pages(store, **asked, parent_kind="task", parent_id=one, descending=True)] == of_one[::-1]


def test_the_order_is_that_of_commits_and_not_of_the_events_own_times(store: holdfast.Store) -> None:
    one, other = (store.tasks.create(title=title).id for title in "ab")
    old = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    store.events.save(one, type="first")
    store.events.save_many([{"type": "second", "task_id": other, "time": old}, {"type": "third", "task_id": one, "time": old}])
    found = list(store.events.query(by_revision=True))
    assert found[0].type == "first" and {each.type for each in found[1:]} == {"second", "third"}
    revisions = [each.revision for each in found]
    assert revisions == sorted(revisions)


def test_pages_go_on_while_events_are_saved_and_deleted(store: holdfast.Store) -> None:
    types = save_mixed(store)
    page = store.events.page(by_revision=True, descending=True, page_size=4)
    store.events.save(type="later", parent_kind="workspace")
    store.tasks.delete(next(store.tasks.list()).id, cascade=True)
    rest = store.events.page(by_revision=True, descending=True, page_token=page.next_page_token, page_size=4)
    assert [each.type for each in page.items] == types[:7:-1]
    assert {each.type for each in rest.items} < set(types[:8])
    with pytest.raises(holdfast.InvalidArgument, match="another list"):
        store.events.page(descending=True, page_token=page.next_page_token)


def test_other_workspaces_are_not_seen(store: holdfast.Store, daemon: DaemonProcess) -> None:
    save_mixed(store)
    with holdfast.connect(daemon.socket_path, workspace=f"{store.workspace}-2") as other:
        other.events.save(type="mine", parent_kind="workspace")
        assert [each.type for each in other.events.query(by_revision=True, descending=True)] == ["mine"]
    assert "mine" not in [each.type for each in store.events.query(by_revision=True)]
