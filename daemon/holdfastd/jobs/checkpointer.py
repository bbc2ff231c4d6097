"""The job `checkpoint`, and the last checkpoint when the daemon stops: they copy the write-ahead log into the database.

SQLite's own checkpoints are off, because they would run inside some caller's commit. The job runs a PASSIVE checkpoint
beside the writer, which waits for nobody. When the log had grown past LOG_REUSE_BYTES, a second one follows in the writer's
turn, so that no commit adds a page meanwhile; past LOG_MAX_BYTES that second one is a TRUNCATE, which cuts the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from holdfastd import logs
from holdfastd.errors import DataLoss, DiskFull
from holdfastd.jobs.scheduler import JobRun
from holdfastd.model.call import Call
from holdfastd.store.sqlite.checkpoint import Checkpointed, Checkpointer

# SQLite starts the log over from its beginning only when every page of it has been copied. Under a steady load a page is
# always added during a passive checkpoint, so the log would grow without end, and a commit that lengthens the file syncs in
# 345 us where one that overwrites it takes 178. The checkpoint in the writer's turn has few pages left to copy.
LOG_REUSE_BYTES = 8 * 2**20
LOG_MAX_BYTES = 512 * 2**20  # a reader that held its snapshot for long lets the log grow this far

RunExclusively = Callable[[Callable[[], Checkpointed], Call], Checkpointed]
"""Runs the work in the writer's turn, while no transaction is open."""

log = logs.logger(__name__)


class CheckpointJob:
    """The job `checkpoint`. Due when the log was written since the last run, or when that run could not copy all of it."""

    def __init__(
        self,
        database: Path,
        checkpointer: Checkpointer,
        run_exclusively: RunExclusively,
        on_sync_failure: Callable[[BaseException], None],
    ) -> None:
        self._log_file = database.with_name(database.name + "-wal")
        self._checkpointer = checkpointer
        self._run_exclusively = run_exclusively
        self._on_sync_failure = on_sync_failure
        self._seen: tuple[int, int] | None = None

    def is_due(self) -> bool:
        return self._look() != self._seen

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Copies as many pages as readers allow. Counts: `pages_in_log`, `pages_copied`; a dry run's: `log_bytes`."""
        looked = self._look()
        if run.dry_run:
            return {"log_bytes": looked[0]}
        try:
            done = self._checkpointer.passive()
            if looked[0] > LOG_MAX_BYTES:
                done = self._run_exclusively(self._checkpointer.truncate, run.call)
            elif looked[0] > LOG_REUSE_BYTES:
                done = self._run_exclusively(self._checkpointer.passive, run.call)
        except DataLoss as error:
            self._on_sync_failure(error)
            raise
        self._seen = looked if done.complete else None
        return {"pages_in_log": done.pages_in_log, "pages_copied": done.pages_copied}

    def _look(self) -> tuple[int, int]:
        """Size and modification time of the log."""
        try:
            found = os.stat(self._log_file)
        except FileNotFoundError:
            return (0, 0)
        return (found.st_size, found.st_mtime_ns)


def empty_log(checkpointer: Checkpointer, on_sync_failure: Callable[[BaseException], None]) -> None:
    """The last checkpoint, when writer and readers are gone; after it the database file alone is the whole store.

    When it cannot copy everything, the log stays and the next daemon continues with it.
    """
    try:
        done = checkpointer.truncate()
    except DiskFull:
        log.warning("log_not_emptied", extra={"reason": DiskFull.reason})
        return
    except DataLoss as error:
        on_sync_failure(error)
        raise
    if not done.complete:
        log.warning("log_not_emptied", extra={"pages_in_log": done.pages_in_log, "pages_copied": done.pages_copied})
