"""Verify goes on behind a page of the database that cannot be read, and names the entries on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.v1 import admin_service_pb2
from holdfastd.model.call import Call
from tests.support.engine import Engine, append, insert_session

PAGE_BYTES = 4096


def numbers(detail: str) -> set[int]:
    """The numbers in "transcript entries 3 to 9: …"."""
    first, last = re.findall(r"\d+", detail)[0], re.findall(r"\d+", detail)[-1]
    return set(range(int(first), int(last) + 1))


@pytest.mark.parametrize("damage", [bytes(PAGE_BYTES), b"\xa5" * PAGE_BYTES], ids=["zeros", "rubbish"])
def test_verify_goes_on_behind_an_unreadable_page(tmp_path: Path, damage: bytes) -> None:
    engine = Engine(tmp_path)
    engine.submit(insert_session("S"), insert_session("U"))
    for start in range(0, 400, 10):
        engine.submit(append("S", *(f"mark-{number:04d} " + "x" * 100 for number in range(start, start + 10))))
    engine.submit(append("U", "one", "two"))
    engine.connection.execute("UPDATE transcript SET content = 'other' WHERE content = 'two'")
    engine.connection.execute("UPDATE transcript SET content = 'other' WHERE content LIKE 'mark-0399%'")
    engine.close()
    path = tmp_path / "holdfast.db"
    data = bytearray(path.read_bytes())
    pages = [start for start in range(0, len(data), PAGE_BYTES) if b"mark-0200" in data[start : start + PAGE_BYTES]]
    lost = {int(found) + 1 for found in re.findall(rb"mark-(\d{4})", data[pages[0] : pages[0] + PAGE_BYTES])}
    data[pages[0] : pages[0] + PAGE_BYTES] = damage
    path.write_bytes(data)
    engine = Engine(tmp_path)
    frames = engine.parts.admin.verify(admin_service_pb2.AdminServiceVerifyRequest(), Call())
    problems = [each for frame in frames for each in frame.problems]
    [unreadable] = [each for each in problems if each.reason == "entry_unreadable"]
    assert (unreadable.subject, numbers(unreadable.detail)) == ("session/S", lost)
    damaged = {each.subject: each.detail for each in problems if each.reason == "entry_damaged"}
    assert damaged["session/U"] == "transcript entry 2: its columns differ from its image"
    assert damaged["session/S"] == "transcript entry 400: its columns differ from its image"
    assert [each.detail for each in problems if "restore a backup" in each.detail or "Run verify" in each.detail] == []
    engine.close()
