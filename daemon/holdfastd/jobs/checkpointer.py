"""Moves what the write-ahead log holds into the database, on a connection of its own.

SQLite's own checkpoints are off: they would run inside some caller's commit. PASSIVE never waits for readers nor keeps the
writer waiting; TRUNCATE only runs at stop, when both are gone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from holdfastd.errors import DataLoss
from holdfastd.jobs.scheduler import Job, JobRun
from holdfastd.model.call import Call
from holdfastd.store.sqlite.checkpoint import Checkpointed, Checkpointer

# Under a steady load there is always a page that came after a checkpoint began, and then SQLite never begins the log anew:
# it grows without end, and a commit that makes the file longer takes twice as long to sync (345 against 178 us here). So
# what is left after a checkpoint is copied in the writer's turn, which takes a moment, and the next commit begins anew.
LOG_REUSE_BYTES = 8 * 2**20
LOG_MAX_BYTES = 512 * 2**20  # a log that some reader let grow so far is cut

Alone = Callable[[Callable[[], Checkpointed], Call], Checkpointed]


class CheckpointJob:
    """The job `checkpoint`. Due when the log was written since the last run, or that run could not finish."""

    def __init__(
        self, database: Path, checkpointer: Checkpointer, alone: Alone, on_sync_failure: Callable[[BaseException], None]
    ) -> None:
        self._log_file = database.with_name(database.name + "-wal")
        self._checkpointer = checkpointer
        self._alone = alone
        self._on_sync_failure = on_sync_failure
        self._seen: tuple[int, int] | None = None

    def job(self, interval_s: float) -> Job:
        return Job("checkpoint", self.run, interval_s, self.is_due, log_level=logging.DEBUG)

    def is_due(self) -> bool:
        return self._look() != self._seen

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Copies as many pages as readers allow."""
        looked = self._look()
        if run.dry_run:
            return {"log_bytes": looked[0]}
        try:
            done = self._checkpointer.passive()
            if looked[0] > LOG_MAX_BYTES:
                done = self._alone(self._checkpointer.truncate, run.call)
            elif looked[0] > LOG_REUSE_BYTES:
                done = self._alone(self._checkpointer.passive, run.call)
        except DataLoss as error:
            self._on_sync_failure(error)
            raise
        self._seen = looked if done.complete else None
        return {"pages_in_log": done.pages_in_log, "pages_copied": done.pages_copied}

    def _look(self) -> tuple[int, int]:
        try:
            found = os.stat(self._log_file)
        except FileNotFoundError:
            return (0, 0)
        return (found.st_size, found.st_mtime_ns)
