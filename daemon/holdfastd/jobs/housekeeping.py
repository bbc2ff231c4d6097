"""The job `housekeeping`: expires remembered answers to request ids, and gives free database pages back to the file system.

Each of its commands does a bounded amount of work, so that callers' commits run in between.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from holdfastd.model.commands import ExpireRequests, FreePages
from holdfastd.model.jobs import JobRun
from holdfastd.service.reading import Reading
from holdfastd.store.engine import Readers
from holdfastd.writer.writer import Writer

REQUESTS_A_TURN = 5_000
PAGES_A_TURN = 500


class HousekeepingJob:
    """The job `housekeeping`. An answer expires after `retention_s` seconds or `retention_commits` later commits."""

    def __init__(self, writer: Writer, reading: Reading, readers: Readers, retention_s: float, retention_commits: int) -> None:
        self._writer = writer
        self._reading = reading
        self._readers = readers
        self._retention_s = retention_s
        self._retention_commits = retention_commits

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Counts: `requests_expired`, `pages_freed`. A dry run counts only the pages."""
        if run.dry_run:
            return {"requests_expired": 0, "pages_freed": self._empty_pages(run)}
        return {"requests_expired": self._expire(run), "pages_freed": self._free(run)}

    def _empty_pages(self, run: JobRun) -> int:
        with self._readers.snapshot(run.call) as connection:
            return connection.engine.empty_pages(connection)

    def _expire(self, run: JobRun) -> int:
        command = ExpireRequests(
            before_time=time.time_ns() - int(self._retention_s * 1e9),
            before_revision=max(0, self._reading.revision(run.call) - self._retention_commits),
            limit=REQUESTS_A_TURN,
        )
        expired = 0
        while (some := self._writer.submit(command, run.call)) > 0:
            expired += some
            run.progress("forget requests", expired, 0)
        return expired

    def _free(self, run: JobRun) -> int:
        left = before = self._empty_pages(run)
        while left and (now := self._writer.submit(FreePages(PAGES_A_TURN), run.call)) < left:
            left = now
            run.progress("free pages", before - left, before)
        return before - left
