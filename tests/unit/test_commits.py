"""How commits change records: versions, masks, references, cascades, and the history they write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contract.ids import random_id
from holdfast.contract.kinds import KINDS
from holdfast.v1 import record_pb2, store_service_pb2
from holdfastd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, VersionMismatch
from holdfastd.model.call import Call
from holdfastd.model.ids import sequence_id
from holdfastd.store import commits, ledger
from tests.support import api
from tests.support.engine import Engine, answered, append, delete, insert_session, insert_task, update_task

ACTIONS = store_service_pb2.Action


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


def commit(engine: Engine, *mutations: store_service_pb2.Mutation, **fields: Any) -> Any:
    return answered(engine.commits.commit(store_service_pb2.StoreServiceCommitRequest(mutations=mutations, **fields), Call(30)))


def get(engine: Engine, kind: str, id: str) -> Any:
    request = store_service_pb2.StoreServiceGetRequest(kind=kind, id=id)
    return getattr(engine.records.get(request, Call()).record, kind)


def told(changes: list[Any]) -> list[tuple[str, str, str, int]]:
    return [(each.kind, each.id, ACTIONS.Name(each.action).removeprefix("ACTION_"), each.version) for each in changes]


def test_versions_count_and_times_go_forward(engine: Engine) -> None:
    commit(engine, api.insert("task", id="T", title="a"))
    for version in (1, 2, 3):
        result = commit(engine, api.update("task", id="T", title=f"v{version}", expected=version)).results[0]
        assert result.version == version + 1
    task = get(engine, "task", "T")
    assert (task.version, task.title, task.status, task.priority) == (4, "v3", "created", "normal")
    assert task.create_time.ToNanoseconds() < task.update_time.ToNanoseconds()


def test_what_only_the_daemon_sets_is_not_taken_from_callers(engine: Engine) -> None:
    engine.submit(insert_task("T", version=99))
    assert get(engine, "task", "T").version == 1
    with pytest.raises(InvalidArgument) as caught:
        commit(engine, api.update("task", id="T", mask=["version"]))
    assert caught.value.reason == "FIELD_UNKNOWN"


def test_a_mask_clears_fields_and_without_a_mask_the_set_fields_change(engine: Engine) -> None:
    commit(engine, api.insert("task", id="T", title="a", description="d", tags=["x", "y"], metadata="{}"))
    commit(engine, api.update("task", id="T", description="e"))
    assert (get(engine, "task", "T").title, list(get(engine, "task", "T").tags)) == ("a", ["x", "y"])
    commit(engine, api.update("task", id="T", mask=["tags", "metadata", "description"]))
    task = get(engine, "task", "T")
    assert (list(task.tags), task.metadata, task.description, task.title) == ([], "", "", "a")


def test_an_update_of_all_fields_may_not_clear_required_or_immutable_ones(engine: Engine) -> None:
    commit(engine, api.insert("construct", id="C", name="c"), api.insert("task", id="T", title="a", construct_id="C"))
    for mutation, reason in [
        (api.update("task", id="T", mask=["title"]), "FIELD_REQUIRED"),
        (api.update("task", id="T", title="b", mask=["*"]), "FIELD_IMMUTABLE"),
        (api.update("task", id="T", construct_id="D"), "FIELD_IMMUTABLE"),
    ]:
        with pytest.raises(InvalidArgument) as caught:
            commit(engine, mutation)
        assert caught.value.reason == reason
    commit(engine, api.update("task", id="T", title="b", construct_id="C", mask=["*"]))
    assert get(engine, "task", "T").version == 2


def test_fields_that_are_set_one_after_the_other_do_not_make_a_record_too_large_to_read(engine: Engine) -> None:
    big = "x" * (2 * 2**20 - 1000)
    commit(engine, api.insert("task", id="T", title="a", description=big))
    with pytest.raises(InvalidArgument) as caught:
        commit(engine, api.update("task", id="T", title=big))
    assert caught.value.reason == "TOO_LARGE"
    assert get(engine, "task", "T").version == 1


def test_an_upsert_inserts_and_then_changes(engine: Engine) -> None:
    assert commit(engine, api.upsert("task", id="T", title="a")).results[0].version == 1
    assert commit(engine, api.upsert("task", id="T", description="d")).results[0].version == 2
    assert told(engine.changes()) == [("task", "T", "INSERT", 1), ("task", "T", "UPDATE", 2)]
    with pytest.raises(InvalidArgument, match=r"task\.title is required"):
        commit(engine, api.upsert("task", id="T2", description="d"))


def test_immutable_kinds_are_never_changed(engine: Engine) -> None:
    commit(engine, api.insert("task", id="T", title="a"))
    link = {"id": "L", "type": "x", "from_kind": "task", "from_id": "T", "to_kind": "task", "to_id": "T"}
    commit(engine, api.insert("link", **link))
    for mutation in (api.update("link", id="L", type="y"), api.upsert("link", **link)):
        with pytest.raises(InvalidArgument) as caught:
            commit(engine, mutation)
        assert caught.value.reason == "KIND_IMMUTABLE"


def test_ids_of_a_sequence_skip_what_callers_chose(engine: Engine) -> None:
    engine.submit(insert_task("TASK-007"), insert_task("TASK-002"), insert_task("mine"))
    assert engine.submit(insert_task()).results[0].id == "TASK-008"
    request = store_service_pb2.StoreServiceAllocateIdRequest(kind="task", count=2)
    assert answered(engine.commits.allocate_id(request, Call())).ids == ["TASK-009", "TASK-010"]
    assert engine.submit(insert_task()).results[0].id == "TASK-011"


def test_ids_are_unique_in_a_workspace_only(engine: Engine) -> None:
    for workspace in ("a", "b"):
        commit(engine, api.insert("task", title="t"), api.insert("task", id="X", title="t"), workspace=workspace)
    with pytest.raises(AlreadyExists):
        commit(engine, api.insert("task", id="X", title="t"), workspace="a")
    assert engine.query("SELECT workspace, id FROM task ORDER BY 1, 2") == [(w, i) for w in "ab" for i in ("TASK-001", "X")]


@given(st.integers(0, 2**48 - 1), st.integers(1, 10**18))
def test_made_ids_sort_by_time(milliseconds: int, number: int) -> None:
    first, later = (random_id("ses_", (milliseconds + plus) * 10**6) for plus in (0, 1))
    assert len(first) == len("ses_") + 26
    assert milliseconds == 2**48 - 1 or first < later
    assert sequence_id(KINDS["task"], number).removeprefix("TASK-").lstrip("0") == str(number)


def test_a_commit_that_changes_nothing_gets_no_revision(engine: Engine) -> None:
    engine.submit(insert_session("S"))
    assert commit(engine).revision == 1
    assert commit(engine, api.append("S")).revision == 1
    assert engine.revisions() == [1]
    assert engine.query("SELECT count(*) FROM journal") == [(0,)]


def test_an_empty_append_does_not_prevent_the_delete_of_its_parent(engine: Engine) -> None:
    engine.submit(insert_session("S"))
    commit(engine, api.append("S", expected_last_number=0))
    with pytest.raises(VersionMismatch):
        commit(engine, api.append("S", expected_last_number=1))
    engine.submit(delete("session", "S"))
    assert engine.query("SELECT count(*) FROM session") == [(0,)]


def family(engine: Engine) -> None:
    """A construct with a session, its transcript, checkpoints, an artifact, tasks and links."""
    commit(
        engine,
        api.insert("construct", id="C", name="c"),
        api.insert("session", id="S", construct_id="C"),
        api.insert("session", id="other"),
        api.append("S", "a", "b"),
        api.insert("checkpoint", id="K1", session_id="S"),
        api.insert("checkpoint", id="K2", session_id="S", parent_id="K1"),
        api.insert("checkpoint", id="K3", session_id="other", parent_id="K2"),
        api.insert("artifact", id="A", name="a", construct_id="C", session_id="S"),
        api.insert("task", id="T1", title="t", construct_id="C"),
        api.insert("task", id="T2", title="t", blocked_by=["T1"]),
        api.append("T1", "x", parent_kind="task"),
        api.insert("link", id="L1", type="x", from_kind="task", from_id="T1", to_kind="session", to_id="other"),
        api.insert("link", id="L2", type="x", from_kind="session", from_id="other", to_kind="link", to_id="L1"),
    )


def test_a_delete_without_cascade_counts_the_dependents(engine: Engine) -> None:
    family(engine)
    with pytest.raises(FailedPrecondition) as caught:
        engine.submit(delete("session", "S"))
    assert caught.value.reason == "HAS_DEPENDENTS"
    assert caught.value.metadata == {"checkpoint": "2", "artifact": "1", "transcript_entries": "2"}
    assert "2 checkpoint" in caught.value.message
    assert engine.revisions() == [1]


def test_a_cascade_takes_the_children_first_and_tells_of_each(engine: Engine) -> None:
    family(engine)
    result = engine.submit(delete("construct", "C", cascade=True))
    assert [(each.kind, each.id) for each in result.results] == [("construct", "C")]
    changes = told(engine.changes(after=1))
    gone = [change[:2] for change in changes if change[2] == "DELETE"]
    children = [("checkpoint", "K1"), ("checkpoint", "K2"), ("artifact", "A"), ("link", "L1"), ("link", "L2"), ("task", "T1")]
    assert set(gone) == {*children, ("session", "S"), ("construct", "C")}
    assert len(gone) == len(set(gone))
    for child, parent in [("K1", "S"), ("K2", "S"), ("A", "S"), ("S", "C"), ("L2", "L1"), ("L1", "T1"), ("T1", "C")]:
        assert [id for _, id in gone].index(child) < [id for _, id in gone].index(parent), (child, parent)
    assert ("transcript", "S", "DROP", 0) in changes
    assert ("transcript", "T1", "DROP", 0) in changes
    # Records that are not owned stay; they lose the reference and get a new version.
    assert ("task", "T2", "UPDATE", 2) in changes
    assert list(get(engine, "task", "T2").blocked_by) == []
    assert (get(engine, "checkpoint", "K3").parent_id, get(engine, "checkpoint", "K3").version) == ("", 2)
    for table in ("construct", "artifact", "link", "journal", "transcript", "task_blocked_by"):
        assert engine.query(f"SELECT count(*) FROM {table}") == [(0,)], table


@pytest.mark.parametrize("end", ["T1", "T2"])
def test_a_link_is_deleted_with_either_end_even_without_cascade(engine: Engine, end: str) -> None:
    engine.submit(insert_task("T1"), insert_task("T2"))
    commit(engine, api.insert("link", id="L", type="x", from_kind="task", from_id="T1", to_kind="task", to_id="T2"))
    engine.submit(delete("task", end))
    assert told(engine.changes(after=2)) == [("link", "L", "DELETE", 1), ("task", end, "DELETE", 1)]


def test_a_long_chain_of_links_goes_with_its_first_end(engine: Engine) -> None:
    engine.submit(insert_task("T"))
    ends = [("task", "T"), *(("link", f"L{number}") for number in range(600))]
    links = [
        api.insert("link", id=f"L{number}", type="x", from_kind="task", from_id="T", to_kind=kind, to_id=id)
        for number, (kind, id) in enumerate(ends[:-1])
    ]
    commit(engine, *links)
    engine.submit(delete("task", "T"))
    assert engine.query("SELECT count(*) FROM link") == [(0,)]


def test_numbers_of_checkpoints_are_never_used_again(engine: Engine) -> None:
    engine.submit(insert_session("S"))
    for id in ("K1", "K2"):
        commit(engine, api.insert("checkpoint", id=id, session_id="S"))
    engine.submit(delete("checkpoint", "K2"))
    commit(engine, api.insert("checkpoint", id="K3", session_id="S"))
    assert [get(engine, "checkpoint", id).number for id in ("K1", "K3")] == [1, 3]


def test_a_checkpoint_does_not_come_from_itself(engine: Engine) -> None:
    engine.submit(insert_session("S"))
    with pytest.raises(FailedPrecondition) as caught:
        commit(engine, api.insert("checkpoint", id="K", session_id="S", parent_id="K"))
    assert caught.value.reason in ("DEPENDENCY_CYCLE", "PARENT_NOT_FOUND")


@pytest.mark.parametrize(
    "mutations",
    [
        [api.insert("task", id="A", title="a", blocked_by=["A"])],
        [api.update("task", id="T1", blocked_by=["T2"])],
        [api.insert("task", id="A", title="a", blocked_by=["T2"]), api.update("task", id="T1", blocked_by=["A"])],
        [
            api.insert("task", id="A", title="a"),
            api.insert("task", id="B", title="b", blocked_by=["A"]),
            api.update("task", id="A", blocked_by=["B"]),
        ],
    ],
    ids=["itself", "two", "three", "both halves in one commit"],
)
def test_tasks_do_not_wait_for_themselves(engine: Engine, mutations: list[Any]) -> None:
    engine.submit(insert_task("T1"), insert_task("T2", blocked_by=["T1"]))
    with pytest.raises(FailedPrecondition) as caught:
        commit(engine, *mutations)
    assert caught.value.reason == "DEPENDENCY_CYCLE"
    assert caught.value.metadata["field"] == "blocked_by"
    assert engine.revisions() == [1]
    assert engine.query("SELECT count(*) FROM task") == [(2,)]


def test_the_image_of_a_change_is_the_record_as_it_was_then(engine: Engine) -> None:
    engine.submit(insert_task("T", title="one", tags=["x"]))
    engine.submit(update_task("T", title="two"))
    engine.submit(delete("task", "T"))
    assert [(each.record.task.title, list(each.record.task.tags)) for each in engine.changes()] == [
        ("one", ["x"]),
        ("two", ["x"]),
        ("two", ["x"]),
    ]


def test_one_commit_may_do_several_things_to_one_record(engine: Engine) -> None:
    engine.submit(insert_task("T"), update_task("T", 1, title="u"), append("T", "x", parent_kind="task"))
    engine.submit(delete("task", "T", version=2, cascade=True), insert_task("T", title="again"))
    assert told(engine.changes(after=1)) == [
        ("transcript", "T", "DROP", 0),
        ("task", "T", "DELETE", 2),
        ("task", "T", "INSERT", 3),
    ]
    assert engine.submit(append("T", "y", parent_kind="task")).results[0].first_number == 1
    assert get(engine, "task", "T") == record_pb2.Task.FromString(engine.changes()[-2].record.task.SerializeToString())


def test_a_commit_that_leaves_too_much_history_is_refused(engine: Engine) -> None:
    """Otherwise a request of a few kilobytes could write gigabytes of images."""
    engine.submit(insert_task("T", description="x" * 1_900_000))
    with pytest.raises(InvalidArgument) as refused:
        engine.submit(*[update_task("T", priority=str(number)) for number in range(40)])
    assert refused.value.reason == "TOO_LARGE"
    assert engine.revisions() == [1]


def test_a_numbered_record_may_be_given_the_next_id_and_no_other(engine: Engine) -> None:
    for number in (1, 2, 3):
        assert commit(engine, api.insert("workflow", id=f"w@{number}", workflow_id="w")).results[0].id == f"w@{number}"
    engine.submit(delete("workflow", "w@3"))
    for taken in ("w@2", "w@3"):
        with pytest.raises(AlreadyExists) as caught:
            commit(engine, api.insert("workflow", id=taken, workflow_id="w"))
        assert (caught.value.reason, caught.value.metadata["id"], caught.value.metadata["next_id"]) == ("ID_TAKEN", taken, "w@4")
    for wrong in ("w@5", "w@0", "w@-1", "w@01", "w@\u0661", "w@x", "w", "v@1", "w@1@"):
        with pytest.raises(InvalidArgument, match="is made of its fields: w@4"):
            commit(engine, api.insert("workflow", id=wrong, workflow_id="w"))
    two = [api.insert("workflow", id=f"w@{number}", workflow_id="w") for number in (4, 5)]
    assert [each.id for each in commit(engine, *two).results] == ["w@4", "w@5"], "a refused insert must use no number"
    assert commit(engine, api.insert("workflow", workflow_id="w")).results[0].id == "w@6"


def test_a_new_workspace_does_not_look_like_an_option(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:  # a version that did not check
        earlier.setattr(ledger, "check_new_id", lambda value, field: None)
        commit(engine, api.insert("task", title="a"), workspace="--old")
    engine.ledger.reset(engine.ledger.mark())  # forgets which workspaces exist, as a restart does
    commit(engine, api.insert("task", title="b"), workspace="--old")
    with pytest.raises(InvalidArgument, match="workspace '-new' begins with a hyphen"):
        commit(engine, api.insert("task", title="x"), workspace="-new")
    with pytest.raises(InvalidArgument, match="workspace '-new' begins with a hyphen"):
        answered(
            engine.commits.allocate_id(store_service_pb2.StoreServiceAllocateIdRequest(workspace="-new", kind="task"), Call())
        )
    assert [name for (name,) in engine.query("SELECT name FROM workspace ORDER BY name")] == ["--old"]


def test_a_stored_id_that_looks_like_an_option_stays_usable(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:  # a version that did not check
        earlier.setattr(commits, "check_new_id", lambda value, field: None)
        commit(engine, api.insert("task", id="-rf", title="a"), api.insert("session", id="--json", title="s"))
    assert get(engine, "task", "-rf").title == "a"
    commit(engine, api.update("task", id="-rf", title="b"), api.upsert("task", id="-rf", title="c"))
    commit(engine, api.insert("task", id="x", title="x", blocked_by=["-rf"]), api.append("--json", "entry"))
    assert (get(engine, "task", "-rf").title, get(engine, "task", "-rf").version) == ("c", 3)
    commit(engine, api.update("task", id="x", blocked_by=[], mask=["blocked_by"]), api.delete("task", "-rf"))
    with pytest.raises(InvalidArgument, match="begins with a hyphen"):
        commit(engine, api.insert("task", id="-rf", title="again"))
