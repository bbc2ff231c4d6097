"""The image stored with a record's columns: reads use it, fall back to the columns without it, and report a damaged one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.contract.kinds import KINDS
from holdfast.v1 import record_pb2
from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import DataLoss, InvalidArgument
from holdfastd.model.call import Call
from holdfastd.store import verify
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import find_migrations, migrate
from tests.support.engine import Engine, answered, delete, insert_task, update_task

TASK = KINDS["task"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    made.submit(insert_task("T1", title="one", tags=["b", "a"], metadata='{"n":1}'))
    made.submit(insert_task("T2", title="two", blocked_by=["T1"]))
    made.submit(update_task("T2", 1, title="second"))
    yield made
    made.close()


def listed(engine: Engine, **fields: Any) -> pb.StoreServiceListResponse:
    return engine.records.list(pb.StoreServiceListRequest(kind="task", **fields), Call())


def found(engine: Engine) -> list[tuple[str, str]]:
    return [(each.reason, each.subject) for each in verify.images(TASK)(engine.connection)]


def damage(engine: Engine, value: bytes | None, id: str = "T1") -> None:
    engine.connection.execute("UPDATE task SET image = ? WHERE id = ?", (value, id))


def test_every_way_of_reading_gives_what_the_newest_change_says(engine: Engine) -> None:
    (newest,) = engine.query("SELECT image FROM changes WHERE id = 'T2' ORDER BY revision DESC LIMIT 1")
    task = record_pb2.Task.FromString(newest[0])
    assert (task.title, task.version, list(task.blocked_by)) == ("second", 2, ["T1"])
    get = engine.records.get(pb.StoreServiceGetRequest(kind="task", id="T2"), Call())
    batch = engine.records.batch_get(pb.StoreServiceBatchGetRequest(keys=[pb.RecordKey(kind="task", id="T2")]), Call())
    assert get.record.task == batch.records[0].task == listed(engine).records[1].task == task
    assert (get.record.kind, get.record.id, get.record.version) == ("task", "T2", 2)
    assert found(engine) == []


def test_a_record_without_an_image_is_read_from_its_columns_until_it_is_written(engine: Engine) -> None:
    before = listed(engine)
    damage(engine, None)
    assert listed(engine) == before
    assert engine.records.get(pb.StoreServiceGetRequest(kind="task", id="T1"), Call()).record == before.records[0]
    keys = [pb.RecordKey(kind="task", id="T1")]
    assert engine.records.batch_get(pb.StoreServiceBatchGetRequest(keys=keys), Call()).records[0] == before.records[0]
    assert found(engine) == []
    engine.submit(update_task("T1", 1, title="new"))
    assert engine.query("SELECT count(*) FROM task WHERE image IS NULL") == [(0,)]
    assert listed(engine).records[0].task.tags == ["b", "a"]


def test_a_page_reports_a_damaged_image_and_returns_the_other_records(engine: Engine) -> None:
    damage(engine, b"\xff\xff")
    page = listed(engine)
    assert [(each.kind, each.id, each.reason) for each in page.unreadable] == [("task", "T1", "its image is damaged")]
    assert [each.id for each in page.records] == ["T2"]
    keys = [pb.RecordKey(kind="task", id=id) for id in ("T1", "T2", "T3")]
    batch = engine.records.batch_get(pb.StoreServiceBatchGetRequest(keys=keys), Call())
    assert [each.id for each in batch.unreadable] == ["T1"]
    assert [each.id for each in batch.records] == ["T2"]
    assert [each.id for each in batch.missing] == ["T3"]
    assert [each.id for each in listed(engine, page_size=1).unreadable] == ["T1"]
    assert listed(engine, page_size=1).next_page_token


def test_a_damaged_image_is_mended_by_the_next_write(engine: Engine) -> None:
    other = engine.query("SELECT image FROM task WHERE id = 'T2'")[0][0]
    for bad in (b"\xff\xff", other, "text"):
        damage(engine, bad)  # type: ignore[arg-type]
        with pytest.raises(DataLoss):
            engine.records.get(pb.StoreServiceGetRequest(kind="task", id="T1"), Call())
        assert [each.id for each in listed(engine).unreadable] == ["T1"]
        engine.submit(update_task("T1", title="mended"))
        assert engine.records.get(pb.StoreServiceGetRequest(kind="task", id="T1"), Call()).record.task.tags == ["b", "a"]
        assert found(engine) == []
    damage(engine, b"\xff\xff")
    engine.submit(delete("task", "T1", cascade=True))


def test_verify_goes_on_behind_damaged_history(engine: Engine) -> None:
    engine.connection.execute("UPDATE changes SET image = x'ffff' WHERE id = 'T1'")
    assert found(engine) == [("history_damaged", "task/T1")]


def test_verify_holds_columns_and_image_against_the_newest_change(engine: Engine) -> None:
    damage(engine, b"")
    assert found(engine) == [("image_differs", "task/T1")]
    engine.connection.execute("UPDATE task SET title = 'other' WHERE id = 'T1'")
    assert found(engine) == [("record_differs", "task/T1")]
    engine.connection.execute("UPDATE task SET title = x'ff' WHERE id = 'T2'")
    assert ("record_damaged", "task/T2") in found(engine)


def test_a_store_from_before_gets_its_images_from_its_history(engine: Engine, tmp_path: Path) -> None:
    database = Database(tmp_path / "old.db").open_writer()
    migrate(database, tmp_path, find_migrations()[:4])
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if name != "meta"]
    database.execute("ATTACH ? AS new", (str(tmp_path / "holdfast.db"),))
    database.execute("PRAGMA foreign_keys = OFF")
    for name in names:
        if not name.startswith(("sqlite_", "schema_")):
            columns = ", ".join(row[1] for row in database.execute(f"PRAGMA main.table_info({name})"))
            database.execute(f"INSERT OR IGNORE INTO main.{name} ({columns}) SELECT {columns} FROM new.{name}")
    database.execute("DETACH new")
    migrate(database, tmp_path)
    assert [each.reason for each in verify.images(TASK)(database)] == []
    assert database.execute("SELECT id, image FROM task ORDER BY id").fetchall() == engine.query(
        "SELECT id, image FROM task ORDER BY id"
    )
    database.close()


def test_a_field_that_the_daemon_does_not_know_is_refused_not_lost(engine: Engine) -> None:
    newer = record_pb2.Task.FromString(record_pb2.Task(title="t").SerializeToString() + b"\xf8\x3f\x01")
    insert = pb.Mutation(insert=pb.Insert(record=record_pb2.Record(task=newer)))
    with pytest.raises(InvalidArgument) as caught:
        answered(engine.commits.commit(pb.StoreServiceCommitRequest(mutations=[insert]), Call()))
    assert caught.value.reason == "FIELD_UNKNOWN"
    assert caught.value.metadata["field"] == "1023"
    odd = record_pb2.Session(title="s")
    odd.start_time.MergeFromString(b"\x08\x05\xf8\x3f\x01")  # a field that Timestamp does not have
    insert = pb.Mutation(insert=pb.Insert(record=record_pb2.Record(session=odd)))
    with pytest.raises(InvalidArgument):
        answered(engine.commits.commit(pb.StoreServiceCommitRequest(mutations=[insert]), Call()))
