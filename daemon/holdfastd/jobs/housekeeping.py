"""Forgets what is kept for a while only, and gives back the space of what was deleted. A bounded piece in each writer's turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from holdfastd.jobs.scheduler import Job, JobRun
from holdfastd.model.call import Call
from holdfastd.model.commands import ExpireRequests, FreePages

REQUESTS_A_TURN = 5_000
PAGES_A_TURN = 500


class HousekeepingJob:
    """The job `housekeeping`.

    `submit` hands a command to the writer and waits, `revision` and `empty_pages` tell about the store. Answers go when
    they are older than `retention_s` or lie more than `retention_commits` back.
    """

    def __init__(
        self,
        submit: Callable[[ExpireRequests | FreePages, Call], int],
        revision: Callable[[], int],
        empty_pages: Callable[[], int],
        retention_s: float,
        retention_commits: int,
    ) -> None:
        self._submit = submit
        self._revision = revision
        self._empty_pages = empty_pages
        self._retention_s = retention_s
        self._retention_commits = retention_commits

    def job(self, interval_s: float) -> Job:
        return Job("housekeeping", self.run, interval_s)

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Counts: `requests_expired`, `pages_freed` (in a dry run only the pages are counted)."""
        if run.dry_run:
            return {"requests_expired": 0, "pages_freed": self._empty_pages()}
        return {"requests_expired": self._expire(run), "pages_freed": self._free(run)}

    def _expire(self, run: JobRun) -> int:
        command = ExpireRequests(
            before_time=time.time_ns() - int(self._retention_s * 1e9),
            before_revision=max(0, self._revision() - self._retention_commits),
            limit=REQUESTS_A_TURN,
        )
        expired = 0
        while (some := self._submit(command, run.call)) > 0:
            expired += some
            run.progress("forget requests", expired, 0)
        return expired

    def _free(self, run: JobRun) -> int:
        left = before = self._empty_pages()
        while left and (now := self._submit(FreePages(PAGES_A_TURN), run.call)) < left:
            left = now
            run.progress("free pages", before - left, before)
        return before - left
