"""Whoever asks for one record, or builds on it, gets DataLoss when it is damaged: never None, NotFound or an older record."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import holdfast
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


def test_a_taken_variable_names_its_holder(directory: Directory) -> None:
    with holdfast.connect(directory.serve().socket) as store:
        store.workflows.store("ship", phases=[])
        run = store.runs.start("ship", 1)
        holder = store.phase_outputs.save(run_id=run.id, phase="a", variable="V", content="1")
        with pytest.raises(holdfast.AlreadyExists, match=f"{holder.id} has the same run_id and variable") as raised:
            store.phase_outputs.save(run_id=run.id, phase="b", variable="V", content="2")
        assert (raised.value.reason, raised.value.metadata["id"]) == ("KEY_TAKEN", holder.id)
        assert store.phase_outputs.save(run_id=run.id, variable="V", content="3").id == holder.id
