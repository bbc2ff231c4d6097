"""Forgets what is kept for a while only: answers to request ids."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from holdfastd.jobs.scheduler import Job, JobRun
from holdfastd.model.call import Call
from holdfastd.model.commands import ExpireRequests


class HousekeepingJob:
    """The job `housekeeping`.

    `submit` hands a command to the writer and waits, `revision` tells the newest one. Answers go when they are older than
    `retention_s` or lie more than `retention_commits` back.
    """

    def __init__(
        self,
        submit: Callable[[ExpireRequests, Call], int],
        revision: Callable[[], int],
        retention_s: float,
        retention_commits: int,
    ) -> None:
        self._submit = submit
        self._revision = revision
        self._retention_s = retention_s
        self._retention_commits = retention_commits

    def job(self, interval_s: float) -> Job:
        return Job("housekeeping", self.run, interval_s)

    def run(self, run: JobRun) -> Mapping[str, int]:
        if run.dry_run:
            return {"requests_expired": 0}
        revision = self._revision()
        command = ExpireRequests(
            before_time=time.time_ns() - int(self._retention_s * 1e9), before_revision=max(0, revision - self._retention_commits)
        )
        return {"requests_expired": self._submit(command, run.call)}
