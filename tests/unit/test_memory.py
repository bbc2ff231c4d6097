"""The memory that the daemon may use, by the machine and by control groups, and how it is divided."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfastd.errors import SetupError
from holdfastd.jobs.trimming import USED_BYTES, TrimJob
from holdfastd.memory import MIN_MEMORY_BYTES, Memory, available_bytes, default_memory_bytes, resident_bytes, trim_allocator
from holdfastd.model.budget import Budget, Claim
from holdfastd.model.call import OWN, Call
from holdfastd.model.jobs import JobRun
from holdfastd.rpc.request_sizes import QUICK_BYTES, is_quick, memory_of, memory_of_fields, small_fields
from holdfastd.settings import load_settings

MIB = 2**20


def limited(tmp_path: Path, own: str, **files: str) -> int:
    (tmp_path / "own").write_text(own)
    for name, content in files.items():
        path = tmp_path / "cgroups" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return available_bytes(tmp_path / "own", tmp_path / "cgroups")


def test_a_limit_of_the_control_group_or_of_one_around_it_counts(tmp_path: Path) -> None:
    files = {"user__app__memory.max": "max\n", "user__memory.max": "734003200\n", "memory.max": "999999999\n"}
    assert limited(tmp_path, "0::/user/app\n", **files) == 700 * MIB


def test_a_limit_of_version_1_counts(tmp_path: Path) -> None:
    own = "5:cpu:/x\n4:cpuset,memory:/box\n0::/\n"
    assert limited(tmp_path, own, **{"memory__box__memory.limit_in_bytes": "314572800\n"}) == 300 * MIB


def test_without_limits_the_machine_counts(tmp_path: Path) -> None:
    assert limited(tmp_path, "0::/\n") == available_bytes(tmp_path / "missing", tmp_path)
    assert 256 * MIB <= default_memory_bytes() <= 1024 * MIB


@pytest.mark.parametrize("limit", [MIN_MEMORY_BYTES, 512 * MIB, 2**30, 2**36])
def test_the_parts_are_no_more_than_the_limit_and_the_largest_commit_fits(limit: int) -> None:
    message, built = 18 * MIB, 54 * MIB
    memory = Memory.divided(limit, message, built)
    assert memory.permits * message + memory.cache_bytes + built + memory.budget.limit_bytes == limit
    assert memory.permits >= 2
    assert memory.budget.limit_bytes * 3 // 4 >= memory_of(bytes(16 * MIB))


@pytest.mark.parametrize("value", ["1", "1000000", "-1", "a lot"])
def test_a_limit_that_is_too_small_is_refused(value: str) -> None:
    with pytest.raises(SetupError, match="0 or a size from 256 MiB"):
        load_settings({}, {"HOLDFAST_MEMORY_MAX_BYTES": value})
    assert load_settings({}, {"HOLDFAST_MEMORY_MAX_BYTES": "0"}).memory_max_bytes == 0


def test_short_fields_are_counted_in_any_size_of_request() -> None:
    assert small_fields(b"plain text " * 100) == 0
    assert small_fields(b"\x0a\x00" * 50) == 100
    assert small_fields(b"\x0a\x00" * 500_000) == 1_000_000
    assert memory_of_fields(b"\x0a\x00" * 500_000) >= 30 * 1_000_000


def test_requests_that_take_long_to_check_are_not_quick() -> None:
    assert is_quick(b"an append of one long text " * 150)
    assert not is_quick(b"x" * (QUICK_BYTES + 1))
    assert not is_quick(b"\x0a\x01x" * 200)
    assert is_quick(b"[" * 256 + b"]" * 256)
    assert not is_quick(b"[" * 1_000 + b"]" * 1_000)
    assert not is_quick(b'{"a":1,' * 300)


def test_memory_is_trimmed_when_much_was_used_and_most_is_free_again() -> None:
    budget, trimmed = Budget(1024 * MIB), []
    job = TrimJob(budget, lambda: trimmed.append(1) or 5 * MIB)
    claim = Claim(budget, OWN)
    claim.take(USED_BYTES - 1)
    claim.release()
    assert not job.is_due()
    claim.take(8 * USED_BYTES)
    assert not job.is_due()
    claim.give(7 * USED_BYTES)
    assert job.is_due()
    assert job.run(JobRun(Call(), dry_run=True)) == {"bytes_used": 8 * USED_BYTES, "bytes_returned": 0}
    assert job.is_due()
    assert job.run(JobRun(Call())) == {"bytes_used": 8 * USED_BYTES, "bytes_returned": 5 * MIB}
    assert (job.is_due(), trimmed, budget.highest_bytes) == (False, [1], USED_BYTES)


def test_trimming_returns_free_memory_to_the_system() -> None:
    kept = []
    for _ in range(400):  # blocks below the size from which glibc maps each on its own, with used ones between them
        block = [bytes(100_000) for _ in range(4)]
        kept.append(block.pop())
        del block
    before = resident_bytes()
    del kept[:-1]
    trim_allocator()
    assert resident_bytes() < before - 10 * MIB
