"""Whoever asks for one record, or builds on it, gets DataLoss when it is damaged: never None, NotFound or an older record."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.v1.store_service_pb2 import Unreadable
from tests.end_to_end.daemons import Directory
from tests.support.damage import damaged_rows

pytestmark = pytest.mark.slow  # processes of its own

LARGE = random.Random(9).randbytes(1 << 20).hex()  # a content that is in a blob


def filled(store: holdfast.Store) -> None:
    """A task with a context, a workflow of three versions, a session with two checkpoints, and a run with its log."""
    store.tasks.create(id="T-1", title="t")
    store.constitution.save(content="the rules")
    store.specs.save("T-1", "the spec", variable="SPEC")
    store.attachments.save("T-1", "a.log", b"a")
    for phase in ("plan", "build", "ship"):
        store.workflows.store("ship", phases=[{"name": phase}])
    store.sessions.create(id="ses", title="s")
    for id in ("c-1", "c-2"):
        store.checkpoints.save("ses", id=id, context=id, parent="")
    store.runs.start("ship", 1, id="R-1", task_id="T-1")
    store.logs.store("R-1", detail="d")


@pytest.fixture
def damage(directory: Directory) -> Iterator[Callable[[str], holdfast.Store]]:
    """Returns the function that damages rows, by SQL conditions, of a store that `filled` has filled, and opens it."""
    daemon = directory.serve()
    with holdfast.connect(daemon.socket) as made:
        filled(made)
    clients: list[holdfast.Store] = []

    def opened(*tables: str) -> holdfast.Store:
        assert daemon.end() == 0
        damaged_rows(daemon.data_dir, *tables)
        clients.append(holdfast.connect(directory.serve().socket))
        return clients[0]

    yield opened
    for each in clients:
        each.close()


def content_of(root: Path) -> dict[str, bytes]:
    return {str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()}


@pytest.mark.parametrize("lost", ["constitution", "phase_output", "artifact"])
def test_a_context_with_a_damaged_record_changes_no_file(directory: Directory, tmp_path: Path, lost: str) -> None:
    daemon = directory.serve()
    root = tmp_path / "context"
    with holdfast.connect(daemon.socket) as store:
        filled(store)
        store.contexts.materialize("T-1", root)
    before = content_of(root)
    assert len(before) == 4
    assert daemon.end() == 0
    damaged_rows(daemon.data_dir, lost)
    with holdfast.connect(directory.serve().socket) as store:
        store.tasks.update("T-1", title="changed")
        for use in (store.contexts.materialize, store.contexts.needs_materialization):
            with pytest.raises(holdfast.DataLoss, match=f"^{lost} .* cannot be read") as raised:
                use("T-1", root)
            assert raised.value.metadata["kind"] == lost
        assert content_of(root) == before
        with pytest.raises(holdfast.DataLoss):
            store.contexts.materialize("T-1", tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_no_operation_builds_on_an_older_version(damage: Callable[..., holdfast.Store]) -> None:
    store = damage("workflow WHERE id = 'ship@3'")
    workflows = store.workflows
    uses: list[Callable[[], object]] = [
        lambda: workflows.latest("ship"),
        lambda: workflows.phases("ship"),
        lambda: workflows.variables("ship"),
        lambda: workflows.store("ship", phases=[{"name": "build"}]),
        lambda: workflows.save(workflow_id="ship", phases=[{"name": "other"}]),
        lambda: workflows.set_phase("ship", "more"),
        lambda: workflows.set_phase("ship", "more", base_version=1),
        lambda: workflows.remove_phase("ship", "build"),
        lambda: workflows.set_variable("ship", "MORE"),
        lambda: workflows.remove_variable("ship", "MORE"),
        lambda: workflows.delete_all("ship"),
        lambda: in_transaction(store),
    ]
    for use in uses:
        with pytest.raises(holdfast.DataLoss, match="workflow ship@3 cannot be read"):
            use()
    assert [each.id for each in workflows.versions("ship")] == ["ship@1", "ship@2"]
    with store.transaction() as t:
        t.workflows.delete("ship@3")
        made = t.workflows.set_phase("ship", "more")
    assert (made.id, made.parent_version, [each.name for each in made.phases]) == ("ship@4", 2, ["build", "more"])


def in_transaction(store: holdfast.Store) -> None:
    with store.transaction() as t:
        t.workflows.set_phase("ship", "more")


def test_an_older_damaged_version_does_not_matter_to_the_latest(damage: Callable[..., holdfast.Store]) -> None:
    store = damage("workflow WHERE id = 'ship@1'")
    with store.transaction() as t:
        t.workflows.delete("ship@3")
        assert t.workflows.set_phase("ship", "more").parent_version == 2
    assert store.workflows.latest("ship").id == "ship@4"
    with pytest.raises(holdfast.DataLoss, match="ship@1"):
        store.workflows.lineage("ship", 4)


def test_gets_by_other_keys_raise(damage: Callable[..., holdfast.Store]) -> None:
    kinds = ("phase_output", "artifact", "constitution", "execution_log")
    store = damage(*kinds, "checkpoint WHERE id = 'c-2'")
    outputs = store.phase_outputs
    gets: list[Callable[[], object]] = [
        lambda: store.specs.get("T-1"),
        lambda: store.specs.get_full("T-1"),
        lambda: outputs.get(task_id="T-1", phase="spec"),
        lambda: outputs.by_var(task_id="T-1", variable="SPEC"),
        lambda: outputs.first(),
        lambda: outputs.as_map(task_id="T-1"),
        lambda: outputs.delete(task_id="T-1", phase="spec"),
        lambda: outputs.save(task_id="T-1", phase="other", variable="SPEC", content="other"),
        lambda: store.attachments.get("T-1", "a.log"),
        lambda: store.attachments.open("T-1", "a.log"),
        lambda: store.attachments.delete("T-1", "a.log"),
        lambda: store.constitution.get(),
        lambda: store.constitution.exists(),
        lambda: store.checkpoints.latest("ses"),
        lambda: store.checkpoints.first(filter='session_id = "ses"', order_by="number desc"),
        lambda: store.logs.get("R-1"),
        lambda: store.logs.detail("R-1"),
    ]
    for number, get in enumerate(gets):
        with pytest.raises(holdfast.DataLoss):
            print(number, get())
    told: list[Unreadable] = []
    newest = store.checkpoints.first(order_by="number desc", on_unreadable=told.append)
    assert newest is not None and newest.id == "c-1" and [each.id for each in told] == ["c-2"]


def test_a_checkpoint_continues_a_damaged_one(damage: Callable[..., holdfast.Store]) -> None:
    store = damage("checkpoint WHERE id = 'c-2'")
    assert store.checkpoints.save("ses", context="next").parent_id == "c-2"


@pytest.fixture
def half(directory: Directory) -> Iterator[holdfast.Store]:
    """A store with three outputs of a task, of which `design` has its content in a damaged blob."""
    daemon = directory.serve()
    with holdfast.connect(daemon.socket) as store:
        store.tasks.create(id="T-1", title="t")
        for phase, content in (("plan", "p"), ("design", LARGE), ("review", "r")):
            store.phase_outputs.save(task_id="T-1", phase=phase, content=content)
        blob = daemon.data_dir / store.blobs.stat(store.phase_outputs.get("design/T-1").content_digest).path
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[:-4] + b"XXXX")
        yield store


def test_lists_go_on_after_a_damaged_content(half: holdfast.Store) -> None:
    outputs = half.phase_outputs
    ids = [f"{phase}/T-1" for phase in ("plan", "design", "review")]
    lists: list[Callable[..., Any]] = [
        lambda **how: outputs.for_task("T-1", **how),
        lambda **how: outputs.all(task_id="T-1", **how),
        lambda **how: outputs.list(**how),
        lambda **how: outputs.page(**how),
        lambda **how: outputs.batch_get(ids, **how),
    ]
    for number, each in enumerate(lists):
        told: list[Unreadable] = []
        found = each(on_unreadable=told.append)
        readable = found.items if isinstance(found, holdfast.Page) else list(found)
        assert len(readable) == 2, number
        assert told == list(found.unreadable) and [(gap.kind, gap.id) for gap in told] == [("phase_output", "design/T-1")]
        assert "The content of PhaseOutput design/T-1 cannot be read" in told[0].reason
        with pytest.raises(holdfast.DataLoss):
            consumed = each(on_unreadable=holdfast.raise_unreadable)
            list(consumed)


def test_a_get_and_a_map_raise_for_a_damaged_content(half: holdfast.Store) -> None:
    outputs = half.phase_outputs
    gets: list[Callable[[], object]] = [
        lambda: outputs.get("design/T-1"),
        lambda: outputs.exists("design/T-1"),
        lambda: outputs.get(task_id="T-1", phase="design"),
        lambda: outputs.first(filter='phase = "design"'),
        lambda: outputs.as_map(task_id="T-1"),
    ]
    for get in gets:
        with pytest.raises(holdfast.DataLoss, match="design/T-1 cannot be read"):
            get()
    assert outputs.as_map(task_id="T-1", on_unreadable=lambda _: None) == {"plan": "p", "review": "r"}


def test_a_taken_variable_names_its_holder(directory: Directory) -> None:
    with holdfast.connect(directory.serve().socket) as store:
        store.workflows.store("ship", phases=[])
        run = store.runs.start("ship", 1)
        holder = store.phase_outputs.save(run_id=run.id, phase="a", variable="V", content="1")
        with pytest.raises(holdfast.AlreadyExists, match=f"{holder.id} has the same run_id and variable") as raised:
            store.phase_outputs.save(run_id=run.id, phase="b", variable="V", content="2")
        assert (raised.value.reason, raised.value.metadata["id"]) == ("KEY_TAKEN", holder.id)
        assert store.phase_outputs.save(run_id=run.id, variable="V", content="3").id == holder.id
