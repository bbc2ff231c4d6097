"""What the power-cut tier takes for durable, and what it makes of the rest, tried on logs written by hand."""

from __future__ import annotations

import random
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.durability.ledger import DONE, TRIED
from tests.powerfail import records
from tests.powerfail.campaign import SHARES, sorts
from tests.powerfail.cuts import plan
from tests.powerfail.disk import Disk
from tests.powerfail.recordings import SCENARIOS
from tests.powerfail.records import (
    ROOT,
    Began,
    LedgersSoFar,
    Log,
    Made,
    Noted,
    Record,
    Removed,
    Renamed,
    SyncBegan,
    SyncEnded,
    Truncated,
    Written,
)
from tests.powerfail.states import MODES, SECTOR, Tree, draw, pieces, write_out

FILE, DIRECTORY = stat.S_IFREG | 0o600, stat.S_IFDIR | 0o700
EMPTY = Began({ROOT: (DIRECTORY, {})})
A_FILE = Began({ROOT: (DIRECTORY, {"f": 2}), 2: (FILE, b"old")})
TWO_DIRECTORIES = Began({ROOT: (DIRECTORY, {"a": 2, "b": 3}), 2: (DIRECTORY, {"f": 4}), 3: (DIRECTORY, {}), 4: (FILE, b"x")})
SEEDS = range(60)


def synced(ino: int, token: int = 1) -> list[Record]:
    return [SyncBegan(ino, token), SyncEnded(token)]


def plain(tree: Tree) -> dict[str, Any]:
    """The tree without modes."""
    return {name: plain(content) if isinstance(content, dict) else bytes(content) for name, (_, content) in tree.items()}


def drawn(log: Log, mode: str, seed: int = 0) -> dict[str, Any]:
    disk = Disk(log)
    disk.advance(len(log))
    return plain(draw(disk, mode, seed))


def all_drawn(log: Log, mode: str) -> list[dict[str, Any]]:
    """The different states of many seeds."""
    found: list[dict[str, Any]] = []
    for seed in SEEDS:
        if (state := drawn(log, mode, seed)) not in found:
            found.append(state)
    return found


@pytest.mark.parametrize("mode", MODES)
def test_what_was_synced_is_in_every_state(mode: str) -> None:
    log = [EMPTY, Made(ROOT, "f", 2, FILE), Written(2, 0, b"synced"), *synced(2, 1), *synced(ROOT, 2)]
    assert all_drawn(log, mode) == [{"f": b"synced"}]


def test_nothing_else_is_kept_in_synced_and_everything_in_all() -> None:
    log = [EMPTY, Made(ROOT, "f", 2, FILE), *synced(ROOT), Written(2, 0, b"lost"), Made(ROOT, "g", 3, FILE)]
    assert drawn(log, "synced") == {"f": b""}
    assert drawn(log, "all") == {"f": b"lost", "g": b""}


def test_a_sync_of_the_file_does_not_make_its_name_durable() -> None:
    log = [EMPTY, Made(ROOT, "f", 2, FILE), Written(2, 0, b"synced"), *synced(2)]
    assert drawn(log, "nonames") == {}
    assert drawn(log, "nodata") == {"f": b"synced"}


def test_a_sync_of_the_directory_does_not_make_data_durable() -> None:
    log = [EMPTY, Made(ROOT, "f", 2, FILE), Written(2, 0, b"lost"), *synced(ROOT)]
    assert drawn(log, "nodata") == {"f": b""}


def test_a_directory_is_gone_with_all_that_was_synced_in_it_when_its_own_name_was_not() -> None:
    log = [EMPTY, Made(ROOT, "d", 2, DIRECTORY), Made(2, "f", 3, FILE), *synced(3, 1), *synced(2, 2)]
    assert drawn(log, "nonames") == {}
    assert drawn([*log, *synced(ROOT, 3)], "nonames") == {"d": {"f": b""}}


def test_a_sync_covers_only_what_came_before_its_begin() -> None:
    log = [A_FILE, Written(2, 0, b"new"), SyncBegan(2, 1), Written(2, 0, b"too late"), SyncEnded(1)]
    assert drawn(log, "synced") == {"f": b"new"}


def test_a_sync_that_has_not_ended_covers_nothing() -> None:
    assert drawn([A_FILE, Written(2, 0, b"new"), SyncBegan(2, 1)], "synced") == {"f": b"old"}


def test_overlapping_syncs_of_a_file_end_in_any_order() -> None:
    log = [A_FILE, SyncBegan(2, 1), Written(2, 0, b"new"), SyncBegan(2, 2), SyncEnded(2), SyncEnded(1)]
    assert drawn(log, "synced") == {"f": b"new"}


def test_a_truncated_file_may_be_short_or_as_it_was() -> None:
    log = [A_FILE, Truncated(2, 0), Written(2, 0, b"n")]
    assert drawn(log, "nodata") == {"f": b"old"}
    assert {bytes(each["f"]) for each in all_drawn(log, "random")} == {b"old", b"", b"n", b"nld"}


def test_an_unlink_that_was_not_synced_may_be_undone() -> None:
    assert drawn([A_FILE, Removed(ROOT, "f")], "synced") == {"f": b"old"}
    assert drawn([A_FILE, Removed(ROOT, "f"), *synced(ROOT)], "synced") == {}


def test_a_rename_in_a_directory_is_kept_whole_or_not_at_all() -> None:
    log = [A_FILE, Renamed(ROOT, "f", ROOT, "g", 2)]
    for mode in ("names", "random"):
        assert all_drawn(log, mode) in ([{"f": b"old"}, {"g": b"old"}], [{"g": b"old"}, {"f": b"old"}])


def test_only_names_may_split_a_rename_between_directories() -> None:
    log = [TWO_DIRECTORIES, Renamed(2, "f", 3, "f", 4)]
    whole = [{"a": {"f": b"x"}, "b": {}}, {"a": {}, "b": {"f": b"x"}}]
    split = [{"a": {"f": b"x"}, "b": {"f": b"x"}}, {"a": {}, "b": {}}]
    found = all_drawn(log, "names")
    assert all(each in found for each in whole + split)
    assert all(each in whole for each in all_drawn(log, "random"))


def test_a_sync_of_either_directory_makes_a_rename_durable_unless_it_is_split() -> None:
    log = [TWO_DIRECTORIES, Renamed(2, "f", 3, "f", 4), *synced(3)]
    assert drawn(log, "synced") == {"a": {}, "b": {"f": b"x"}}
    assert {"a": {"f": b"x"}, "b": {"f": b"x"}} in all_drawn(log, "names")


def test_a_later_name_in_a_directory_is_durable_before_an_earlier_one() -> None:
    """A sync that began between two changes covers the first only, although both are pending."""
    log = [EMPTY, Made(ROOT, "f", 2, FILE), SyncBegan(ROOT, 1), Made(ROOT, "g", 3, FILE), SyncEnded(1)]
    assert drawn(log, "synced") == {"f": b""}


def test_journal_keeps_the_names_before_any_sync() -> None:
    log = [EMPTY, Made(ROOT, "f", 2, FILE), Made(ROOT, "g", 3, FILE), *synced(3), Made(ROOT, "h", 4, FILE)]
    assert {tuple(each) for each in all_drawn(log, "journal")} == {("f", "g")}
    assert () in {tuple(each) for each in all_drawn(log, "names")}


def test_prefix_keeps_what_came_before_a_point() -> None:
    log = [EMPTY, *(Made(ROOT, name, ino, FILE) for ino, name in enumerate("abcd", start=2))]
    assert {"".join(each) for each in all_drawn(log, "prefix")} == {"", "a", "ab", "abc"}


def test_torn_writes_are_cut_at_sectors() -> None:
    log = [Began({ROOT: (DIRECTORY, {"f": 2}), 2: (FILE, b"o" * 8 * SECTOR)}), Written(2, 0, b"n" * 8 * SECTOR)]
    contents = [each["f"] for each in all_drawn(log, "torn")]
    assert any(b"o" in each and b"n" in each for each in contents)
    for content in contents:
        assert all(len(set(content[at : at + SECTOR])) == 1 for at in range(0, len(content), SECTOR))


def test_new_space_that_was_not_written_is_noise_in_garbage_and_zeros_in_torn() -> None:
    log = [EMPTY, Made(ROOT, "f", 2, FILE), *synced(ROOT), Truncated(2, 2 * SECTOR)]
    zeros = bytes(2 * SECTOR)
    assert {each["f"] for each in all_drawn(log, "torn")} == {b"", zeros}
    assert all(each["f"] == b"" or (len(each["f"]) == len(zeros) and each["f"] != zeros) for each in all_drawn(log, "garbage"))


def test_the_same_seed_makes_the_same_state_again() -> None:
    log = [EMPTY, *(Made(ROOT, str(ino), ino, FILE) for ino in range(2, 40))]
    log += [Written(ino, 0, bytes([ino]) * 3000) for ino in range(2, 40)]
    for mode in MODES:
        assert drawn(log, mode, 5) == drawn(log, mode, 5)
    assert drawn(log, "random", 5) != drawn(log, "random", 6)


def test_a_state_leaves_the_disk_as_it_was() -> None:
    log = [A_FILE, Written(2, 1, b"?"), Renamed(ROOT, "f", ROOT, "g", 2)]
    disk = Disk(log)
    disk.advance(len(log))
    for mode in MODES:
        draw(disk, mode, 1)
    assert plain(draw(disk, "synced", 1)) == {"f": b"old"}


@given(st.integers(0, 3000), st.binary(max_size=3000), st.sampled_from([SECTOR, 8 * SECTOR]))
@settings(max_examples=50)
def test_pieces_are_the_whole_write(offset: int, data: bytes, size: int) -> None:
    found = list(pieces(Written(2, offset, data), size))
    assert b"".join(each.data for each in found) == data
    assert [each.offset for each in found[1:]] == [each.end for each in found[:-1]]
    assert all(each.offset // size == (each.end - 1) // size for each in found)


def test_a_state_is_written_out(tmp_path: Path) -> None:
    write_out({"d": (stat.S_IFDIR | 0o750, {"f": (stat.S_IFREG | 0o640, bytearray(b"content"))})}, tmp_path / "state")
    assert (tmp_path / "state/d/f").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "state/d").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "state/d/f").stat().st_mode) == 0o640


def test_a_log_is_read_back_without_the_half_record_at_its_end(tmp_path: Path) -> None:
    log: list[Record] = [A_FILE, Written(2, 0, b"new"), Noted("w", b"[]\n", 5), SyncBegan(2, 1)]
    with (tmp_path / "log").open("wb") as file:
        for each in log:
            records.append(file, each)
        file.truncate(file.tell() - 3)
    assert records.read(tmp_path / "log") == log[:-1]


def test_the_ledgers_have_what_was_written_before_the_point() -> None:
    tried, done = b'["tried","w-1","append",[],["w-1"],"s",false]\n', b'["done","w-1",{}]\n'
    log = [EMPTY, Noted("w", tried, 1), Noted("w", done[:5], 2), Noted("w", done[5:], 3)]
    ledgers = LedgersSoFar(log)
    ledgers.advance(3)
    assert ledgers.operations["w-1"].stage == TRIED
    ledgers.advance(4)
    assert ledgers.operations["w-1"].stage == DONE
    assert ledgers.acknowledged == 1
    assert records.time_of(log, 2) == 2
    assert records.time_of(log, 4) == records.FAR_FUTURE_NS


def test_a_plan_has_as_many_cuts_as_asked_for_and_looks_behind_every_type_of_record() -> None:
    writes: list[Record] = [Written(2, 0, b"x")] * 1000
    log = [A_FILE, *writes, Removed(ROOT, "f"), *writes, *synced(2), *writes, Noted("w", b"", 1), *writes]
    cuts = plan(log, 101, random.Random(1))
    assert len(cuts) == 101
    assert [each.point for each in cuts] == sorted(each.point for each in cuts)
    last = {type(log[each.point - 1]) for each in cuts}
    assert {Removed, SyncEnded, SyncBegan, Noted, Written} <= last
    assert cuts == plan(log, 101, random.Random(1))
    assert plan(log[:2], 50, random.Random(1))[-1].point == 2


def test_every_recording_has_a_share_of_the_states() -> None:
    assert SHARES.keys() == SCENARIOS.keys()
    assert sum(SHARES.values()) == pytest.approx(1)


def test_problems_are_counted_by_what_they_are_about() -> None:
    assert sorts(["LOST w-1 (append, done): was acknowledged", "verify: blob_missing", "verify: x"]) == ["LOST", "verify"]
    assert sorts(["leak: {'orphan_files': 1} after recovery"]) == ["leak"]
    assert sorts(["w-1 (plant, tried): was applied in part"]) == ["inconsistent"]
    assert sorts([]) == []
