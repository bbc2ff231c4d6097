"""A commit never makes a new record of damaged data: it takes an intact copy of the record, or is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.contract.kinds import KINDS
from holdfast.v1 import admin_service_pb2, record_pb2
from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import DataLoss, VersionMismatch
from holdfastd.model.call import Call
from holdfastd.model.checking import settable
from holdfastd.model.mutations import Update
from tests.support.engine import Engine, delete, insert_task, update_task

TASK = KINDS["task"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    made.submit(insert_task("T0", title="zero"))
    made.submit(insert_task("T1", title="one", tags=["b", "a"], blocked_by=["T0"]))
    made.submit(update_task("T1", 1, title="second"))
    yield made
    made.close()


def change(engine: Engine, sql: str, *parameters: Any) -> None:
    assert engine.connection.execute(sql, parameters).rowcount


def flip_row(engine: Engine) -> None:
    """Damages the title of T1 in the column and in the image, as one flipped bit in each."""
    ((image,),) = engine.query("SELECT image FROM task WHERE id = 'T1'")
    change(engine, "UPDATE task SET title = 'sekond', image = ? WHERE id = 'T1'", image.replace(b"second", b"sekond"))


def lose_history(engine: Engine) -> None:
    """Damages all images of T1 in the history."""
    change(engine, "UPDATE changes SET image = CAST(substr(image, 1, length(image) - 1) || x'00' AS BLOB) WHERE id = 'T1'")


def whole(**fields: Any) -> Update:
    return Update(TASK, record_pb2.Task(id="T1", **fields), settable(TASK), 0)


def task(engine: Engine) -> record_pb2.Task:
    return engine.records.get(pb.StoreServiceGetRequest(kind="task", id="T1"), Call()).record.task


def problems(engine: Engine) -> list[tuple[str, str]]:
    frames = engine.parts.admin.verify(admin_service_pb2.AdminServiceVerifyRequest(), Call())
    return [(each.reason, each.subject) for frame in frames for each in frame.problems]


@pytest.mark.parametrize("column", ["title = 'sekond'", "title = x'ff'", "title = CAST(x'ff41' AS TEXT)", "checksum = 5"])
def test_a_damaged_row_is_taken_from_the_history(engine: Engine, column: str) -> None:
    flip_row(engine)
    change(engine, f"UPDATE task SET {column} WHERE id = 'T1'")
    change(engine, "UPDATE task_tags SET value = 'x' WHERE id = 'T1' AND ordinal = 0")
    with pytest.raises(DataLoss):
        task(engine)
    engine.submit(update_task("T1", 2, status="running"))
    found = task(engine)
    assert (found.title, found.status, found.version, list(found.tags)) == ("second", "running", 3, ["b", "a"])
    assert problems(engine) == []


def test_a_damaged_image_is_made_of_the_columns_that_fit_its_checksum(engine: Engine) -> None:
    lose_history(engine)
    change(engine, "UPDATE task SET image = x'00' WHERE id = 'T1'")
    engine.submit(update_task("T1", 2, status="running"))
    assert (task(engine).title, list(task(engine).tags)) == ("second", ["b", "a"])


def test_an_update_of_some_fields_is_refused_when_no_copy_is_intact(engine: Engine) -> None:
    flip_row(engine)
    lose_history(engine)
    before = engine.query("SELECT image, checksum FROM task")
    with pytest.raises(DataLoss, match="Write all its fields, delete it, or restore a backup") as refused:
        engine.submit(update_task("T1", status="running"))
    assert (refused.value.reason, refused.value.metadata["id"]) == ("RECORD_DAMAGED", "T1")
    assert engine.query("SELECT image, checksum FROM task") == before
    with pytest.raises(DataLoss):
        task(engine)


def test_an_older_image_is_not_taken_for_the_newest(engine: Engine) -> None:
    flip_row(engine)
    change(engine, "UPDATE changes SET image = x'00' WHERE id = 'T1' AND version = 2")
    with pytest.raises(DataLoss):
        engine.submit(update_task("T1", status="running"))


@pytest.mark.parametrize("damage", [lambda engine: None, lose_history])
def test_an_update_of_all_fields_replaces_a_damaged_record(engine: Engine, damage: Any) -> None:
    created = task(engine).create_time
    flip_row(engine)
    damage(engine)
    with pytest.raises(VersionMismatch):
        engine.submit(Update(TASK, record_pb2.Task(id="T1"), settable(TASK), 7))
    engine.submit(whole(title="written again", status="running"))
    found = task(engine)
    assert (found.title, found.version, list(found.tags), list(found.blocked_by)) == ("written again", 3, [], [])
    assert found.create_time == created
    assert engine.query("SELECT value FROM task_tags") == []


def test_a_damaged_record_can_be_deleted_and_the_history_does_not_get_its_damage(engine: Engine) -> None:
    flip_row(engine)
    lose_history(engine)
    engine.submit(delete("task", "T1"))
    assert engine.query("SELECT count(*) FROM task") == [(1,)]
    ((image,),) = engine.query("SELECT image FROM changes WHERE id = 'T1' AND action = 3")
    assert record_pb2.Task.FromString(image) == record_pb2.Task(id="T1", version=2)


def test_a_cascade_does_not_write_a_damaged_dependent(engine: Engine) -> None:
    flip_row(engine)
    lose_history(engine)
    with pytest.raises(DataLoss):
        engine.submit(delete("task", "T0", cascade=True))
    assert engine.query("SELECT count(*) FROM task") == [(2,)]
