"""What a full disk's messages promise: each remedy that they name helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfastd import filesystem
from holdfastd.filesystem import DiskRoom, low_disk_warnings
from holdfastd.settings import Settings

KIB, MIB = 2**10, 2**20
CHECKPOINT, DELETES, OUTSIDE = "The next checkpoint", "Delete records and run the sweep", "outside the store"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Free bytes and the size of the log, which the tests change."""
    sizes = {"free": 0, "log": 0}
    monkeypatch.setattr(filesystem, "_free_bytes", lambda directory: sizes["free"])
    return sizes


@pytest.mark.parametrize(
    ("free", "log", "works", "for_write", "for_delete"),
    [
        (0, 0, "deletes are refused too", {OUTSIDE}, {OUTSIDE}),
        (200 * KIB, 4 * KIB, "deletes are refused too", {OUTSIDE}, {OUTSIDE}),
        (200 * KIB, 100 * KIB, "deletes are refused too", {OUTSIDE}, {CHECKPOINT, OUTSIDE}),
        (300 * KIB, 100 * KIB, "deletes are refused too", {OUTSIDE}, {CHECKPOINT}),
        (MIB, 0, "only reads and deletes work", {DELETES, OUTSIDE}, set()),
        (MIB, 700 * KIB, "only reads and deletes work", {DELETES, OUTSIDE}, set()),
        (3 * MIB, 2 * MIB, "only reads and deletes work", {CHECKPOINT}, set()),
        (3 * MIB, MIB, "", set(), set()),
    ],
)
def test_the_messages_name_what_works_and_what_makes_room(
    disk: dict[str, int], tmp_path: Path, free: int, log: int, works: str, for_write: set[str], for_delete: set[str]
) -> None:
    disk |= {"free": free, "log": log}
    room = DiskRoom(tmp_path, lambda: disk["log"])
    [warning] = low_disk_warnings(Settings(data_dir=tmp_path, socket=tmp_path / "s"), room)
    assert works in warning
    assert ("is full:" in warning) == bool(works)
    assert room.has_room() == (not works)
    for frees, remedies, reserve in ((False, for_write, "2,048 KiB"), (True, for_delete, "256 KiB")):
        if not remedies:
            continue
        message = room.refusal(frees=frees).message
        assert {each for each in (CHECKPOINT, DELETES, OUTSIDE) if each in message} == remedies
        assert f"{free // KIB:,} KiB are free; {reserve} and the size of the log" in message
