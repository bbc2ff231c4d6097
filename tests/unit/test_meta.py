"""Damaged values of the table `meta` and damaged commit times: clear errors or replaced values, and verify names each."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from holdfast.v1 import admin_service_pb2
from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import DataLoss
from holdfastd.model.call import Call
from holdfastd.store import changes, meta
from holdfastd.store.sqlite.log_stamp import DAMAGED, Stamp, belongs, read_stamp
from tests.support.engine import Engine, insert_task


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    engine = Engine(tmp_path)
    for number in (1, 2, 3):
        engine.submit(insert_task(f"T{number}", title="t"))
    engine.close()
    return tmp_path


def opened(directory: Path, sql: str, *parameters: object) -> Engine:
    """The store opened after a change of its database."""
    engine = Engine(directory)
    assert engine.connection.execute(sql, parameters).rowcount
    engine.close()
    return Engine(directory)


def damaged(directory: Path, name: str, value: object) -> Engine:
    change = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    return opened(directory, change, name, value)


def problems(engine: Engine) -> list[tuple[str, str]]:
    frames = engine.parts.admin.verify(admin_service_pb2.AdminServiceVerifyRequest(), Call())
    return [(each.reason, each.subject) for frame in frames for each in frame.problems]


def warnings(engine: Engine) -> list[str]:
    return list(engine.parts.admin.get_status(admin_service_pb2.AdminServiceGetStatusRequest(), Call()).warnings)


@pytest.mark.parametrize("value", ["1p", "", "-1", "99", "1 2", b"1", "9" * 5000])
def test_a_damaged_oldest_revision_is_data_loss_of_a_watch(directory: Path, value: object) -> None:
    engine = damaged(directory, "oldest_revision", value)
    if value == "":
        assert len(engine.changes()) == 3
    else:
        with pytest.raises(DataLoss) as lost:
            engine.changes()
        assert (lost.value.reason, lost.value.metadata["name"]) == ("META_DAMAGED", "oldest_revision")
        assert any("oldest_revision" in each for each in warnings(engine))
    assert ("meta_damaged", "meta/oldest_revision") in problems(engine)
    engine.close()


@pytest.mark.parametrize("value", ["2q", "3 2", "99999999999999999999", b"\xff", "7", "2  3"])
def test_a_damaged_list_of_eras_is_made_again_from_the_commits(
    directory: Path, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    opened(directory, "UPDATE commits SET commit_time = 4000000000000000000 WHERE revision = 2").close()
    engine = damaged(directory, "clock_set_back", value)
    assert [each.levelno for each in caplog.records if "clock_set_back" in each.message] == [logging.WARNING] * 1
    assert ("meta_damaged", "meta/clock_set_back") in problems(engine)
    assert changes.clock_set_back(engine.connection) == [3]
    assert "set back before revision 3" in warnings(engine)[0]
    engine.submit(insert_task("T4", title="t"))
    assert engine.query("SELECT value FROM meta WHERE name = 'clock_set_back'") == [("3",)]
    assert ("meta_damaged", "meta/clock_set_back") not in problems(engine)
    engine.close()


def test_a_list_of_eras_where_there_was_none_is_removed(directory: Path) -> None:
    engine = damaged(directory, "clock_set_back", "2q")
    engine.submit(insert_task("T4", title="t"))
    assert engine.query("SELECT value FROM meta WHERE name = 'clock_set_back'") == []
    assert problems(engine) == []
    engine.close()


@pytest.mark.parametrize("value", ["a b c d e", "0123456789abcdef - -  -", b"\xff\xff", "", "x" * 84])
def test_a_damaged_stamp_refuses_no_log_and_is_replaced(directory: Path, value: object, caplog: pytest.LogCaptureFixture) -> None:
    engine = damaged(directory, "log_stamp", value)
    assert read_stamp(engine.connection) == DAMAGED  # type: ignore[arg-type]
    assert belongs(DAMAGED, Stamp(), "-")
    assert belongs(Stamp(), DAMAGED, "-")
    engine.submit(insert_task("T4", title="t"))
    engine.submit(insert_task("T5", title="t"))
    assert read_stamp(engine.connection) != DAMAGED  # type: ignore[arg-type]
    assert sum("log_stamp" in each.message for each in caplog.records) == 1
    engine.close()


@pytest.mark.parametrize("value", ["zz", b"\x01"])
def test_a_commit_goes_on_behind_a_damaged_time(directory: Path, value: object) -> None:
    engine = opened(directory, "UPDATE commits SET commit_time = ? WHERE revision = 3", value)
    assert warnings(engine) == []
    engine.submit(insert_task("T4", title="t"))
    request = pb.StoreServiceWatchRequest(after_revision=0, replay_only=True)
    frames = list(engine.watches.watch(request, Call()))
    assert [each.id for frame in frames for each in frame.changes] == ["T1", "T2", "T4"]
    assert [(each.revision, each.ordinal) for frame in frames for each in frame.unreadable] == [(3, 0)]
    with pytest.raises(DataLoss, match="Change 0 of revision 3"):
        list(engine.watches.watch(request, Call(api_version=3)))
    assert ("history_damaged", "task/T3") in problems(engine)
    with pytest.raises(DataLoss, match="Change 0 of revision 3"):
        changes.time_of(engine.connection, 3)
    assert len(engine.records.list(pb.StoreServiceListRequest(kind="task"), Call()).records) == 4
    engine.close()


def test_a_damaged_newest_revision_is_data_loss_at_the_start(directory: Path) -> None:
    with pytest.raises(DataLoss, match="newest revision"):
        opened(directory, "UPDATE commits SET revision = 'x' WHERE revision = 3")


def test_verify_names_every_value_that_this_store_cannot_have(directory: Path) -> None:
    engine = opened(directory, "INSERT INTO meta (name, value) VALUES ('oldest_revisioo', '1')")
    engine.connection.execute("UPDATE meta SET value = 'd' || value WHERE name = 'store_id'")
    meta.write(engine.connection, meta.CHECKSUMS, "complet")
    assert sorted(subject for reason, subject in problems(engine) if reason == "meta_damaged") == [
        "meta/checksums",
        "meta/oldest_revisioo",
        "meta/store_id",
        "meta/store_id",
    ]
    engine.close()
