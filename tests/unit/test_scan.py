"""Scan returns whole lists as of one revision while others write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import Exhausted, HoldfastError, InvalidArgument, NotFound
from holdfastd.model.call import Call
from holdfastd.service import records
from tests.support.engine import Engine, insert_session, insert_task, update_task


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    made.submit(*[insert_task(f"T{number}", title="x" * 100) for number in range(30)])
    made.submit(insert_session("S"))
    yield made
    made.close()


def scan(engine: Engine, *lists: Any, **fields: Any) -> list[pb.StoreServiceScanResponse]:
    asked = [pb.ScanList(kind=kind, filter=filter, order_by=order) for kind, filter, order in lists]
    return list(engine.records.scan(pb.StoreServiceScanRequest(lists=asked, **fields), Call(30.0)))


def test_each_list_is_whole_in_its_order_and_named(engine: Engine) -> None:
    frames = scan(engine, ("task", "", "id desc"), ("session", "", ""), ("task", 'id = "T7"', ""), ("bug", "", ""))
    assert [each.list for each in frames] == [0, 1, 2, 3]
    assert [each.id for each in frames[0].records] == sorted((f"T{number}" for number in range(30)), reverse=True)
    assert [each.session.id for each in frames[1].records] == ["S"]
    assert [each.id for each in frames[2].records] == ["T7"]
    assert not frames[3].records
    assert {each.revision for each in frames} == {2}


def test_what_is_written_between_two_frames_is_not_seen(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [pb.ScanList(kind="session"), pb.ScanList(kind="task")]
    frames = engine.records.scan(pb.StoreServiceScanRequest(lists=asked), Call(30.0))
    first = next(frames)
    engine.submit(update_task("T1", title="later"), insert_task("T99"))
    rest = list(frames)
    assert {each.revision for each in (first, *rest)} == {2}
    assert {each.task.title for frame in rest for each in frame.records} == {"x" * 100}


def test_no_frame_is_larger_than_an_answer(engine: Engine) -> None:
    engine.submit(*[insert_task(f"L{number}", description="y" * 1_000_000) for number in range(8)])
    frames = scan(engine, ("task", "", ""), ("session", "", ""))
    assert len(frames) > 3
    assert max(each.ByteSize() for each in frames) <= 3 * 2**20
    assert sum(len(each.records) for each in frames if each.list == 0) == 38


def test_more_than_fits_into_memory_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_SCAN_BYTES", 2_000)
    with pytest.raises(Exhausted) as caught:
        scan(engine, ("task", "", ""))
    assert (caught.value.reason, caught.value.metadata) == ("SCAN_TOO_LARGE", {"limit": "2000"})
    assert caught.value.retry_delay_s == 0  # no retry: the scan would be as large again
    assert len(scan(engine, ("task", 'id = "T1"', ""))) == 1


def test_a_damaged_record_is_named(engine: Engine) -> None:
    engine.connection.execute("UPDATE task SET image = x'ffff' WHERE id = 'T3'")
    (frame,) = scan(engine, ("task", 'id = "T3" OR id = "T4"', ""))
    assert [each.id for each in frame.unreadable] == ["T3"]
    assert [each.id for each in frame.records] == ["T4"]


@pytest.mark.parametrize(
    ("lists", "fields", "error", "reason"),
    [
        ([], {}, InvalidArgument, "FIELD_REQUIRED"),
        ([("nothing", "", "")], {}, InvalidArgument, "KIND_UNKNOWN"),
        ([("task", "status =", "")], {}, InvalidArgument, "FILTER_INVALID"),
        ([("task", "", "nothing")], {}, InvalidArgument, "ORDER_BY_INVALID"),
        ([("task", "", "")] * 101, {}, InvalidArgument, "TOO_LARGE"),
        ([("task", "", "")], {"workspace": "nowhere"}, NotFound, "WORKSPACE_NOT_FOUND"),
        ([("task", "", "")], {"min_revision": 99}, HoldfastError, "REVISION_IN_FUTURE"),
    ],
)
def test_an_invalid_scan_is_refused(
    engine: Engine, lists: list[Any], fields: dict[str, Any], error: type[HoldfastError], reason: str
) -> None:
    with pytest.raises(error) as caught:
        scan(engine, *lists, **fields)
    assert caught.value.reason == reason
