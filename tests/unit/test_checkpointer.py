"""The job `checkpoint`: when it is due, and the log sizes at which it runs in the writer's thread and truncates the log."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfastd.errors import DataLoss
from holdfastd.model.call import Call
from holdfastd.model.jobs import JobRun
from holdfastd.store.sqlite.checkpoint import LOG_MAX_BYTES, LOG_REUSE_BYTES, LogCheckpoint, LogCheckpointer, LogCheckpointJob

DONE, BEHIND = LogCheckpoint(10, 10, busy=False), LogCheckpoint(10, 7, busy=False)


class Noting(LogCheckpointer):
    """Records its calls, and whether the writer is blocked during each."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.outcome: LogCheckpoint | Exception = DONE
        self.is_alone = False

    def passive(self) -> LogCheckpoint:
        return self._noted("passive")

    def truncate(self) -> LogCheckpoint:
        return self._noted("truncate")

    def alone(self, work: Callable[[], LogCheckpoint], call: Call) -> LogCheckpoint:
        self.is_alone = True
        try:
            return work()
        finally:
            self.is_alone = False

    def _noted(self, what: str) -> LogCheckpoint:
        self.asked.append(f"{what} alone" if self.is_alone else what)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Rig:
    """The job with a file of a given size as the log."""

    def __init__(self, directory: Path) -> None:
        self.checkpointer = Noting()
        self.failures: list[BaseException] = []
        self._log = directory / "holdfast.db-wal"
        self.job = LogCheckpointJob(
            directory / "holdfast.db", self.checkpointer, self.checkpointer.alone, lambda: True, self.failures.append
        )

    def write(self, size: int) -> None:
        """Sets the size of the log with a sparse file."""
        with self._log.open("ab") as file:
            file.truncate(size)
        stamp = os.stat(self._log).st_mtime_ns + 1_000_000
        os.utime(self._log, ns=(stamp, stamp))

    def run(self, *, dry_run: bool = False) -> dict[str, int]:
        return dict(self.job.run(JobRun(Call(), dry_run)))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_it_is_due_when_the_log_was_written_since_the_last_run(rig: Rig) -> None:
    assert rig.job.is_due()
    rig.run()
    assert not rig.job.is_due()
    rig.write(4096)
    assert rig.job.is_due()
    rig.run()
    assert not rig.job.is_due()
    rig.write(4096)  # the log is overwritten: same size, newer modification time
    assert rig.job.is_due()


def test_it_stays_due_when_a_run_could_not_finish(rig: Rig) -> None:
    rig.write(4096)
    rig.checkpointer.outcome = BEHIND
    assert rig.run() == {"pages_in_log": 10, "pages_copied": 7}
    assert rig.job.is_due()
    rig.checkpointer.outcome = DONE
    rig.run()
    assert not rig.job.is_due()


@pytest.mark.parametrize(
    ("size", "asked"),
    [
        (LOG_REUSE_BYTES, ["passive"]),
        (LOG_REUSE_BYTES + 1, ["passive", "passive alone"]),
        (LOG_MAX_BYTES, ["passive", "passive alone"]),
        (LOG_MAX_BYTES + 1, ["passive", "truncate alone"]),
    ],
)
def test_a_long_log_is_copied_in_the_writers_turn_and_a_very_long_one_is_cut(rig: Rig, size: int, asked: list[str]) -> None:
    rig.write(size)
    rig.run()
    assert rig.checkpointer.asked == asked


def test_the_bounds_are_those_that_were_measured() -> None:
    assert (LOG_REUSE_BYTES, LOG_MAX_BYTES) == (8 * 2**20, 512 * 2**20)


def test_a_dry_run_tells_how_long_the_log_is(rig: Rig) -> None:
    rig.write(4096)
    assert rig.run(dry_run=True) == {"log_bytes": 4096}
    assert rig.checkpointer.asked == []
    assert rig.job.is_due()


def test_a_disk_that_fails_ends_the_daemon(rig: Rig) -> None:
    rig.checkpointer.outcome = DataLoss("The disk reported an error.")
    with pytest.raises(DataLoss):
        rig.run()
    assert rig.failures == [rig.checkpointer.outcome]
