"""The job `trim`: gives memory back to the system after the daemon has used much of its budget.

glibc keeps freed blocks of less than 256 KiB in its arenas, which return only what is free at their end. gRPC receives messages
in such blocks, so after 300 commits of 16 MiB 190 MB remained, and 98 with this job. Other threads wait for the arenas while they
are trimmed, so the job runs only when the load has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfastd.model.budget import Budget
from holdfastd.model.jobs import JobRun

USED_BYTES = 16 * 2**20  # less than that is not worth it
INTERVAL_S = 1.5


class TrimJob:
    """The job `trim`. `trim` returns free memory to the system; it returns how many bytes it was."""

    def __init__(self, budget: Budget, trim: Callable[[], int]) -> None:
        self._budget = budget
        self._trim = trim

    def is_due(self) -> bool:
        """Whether much memory was used since the last run, and most of it is free again."""
        highest_bytes = self._budget.highest_bytes
        return highest_bytes >= USED_BYTES and 4 * self._budget.held_bytes <= highest_bytes

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Counts: `bytes_used`, the most since the last run; `bytes_returned`."""
        used = self._budget.highest_bytes
        if run.dry_run:
            return {"bytes_used": used, "bytes_returned": 0}
        self._budget.forget_highest()
        return {"bytes_used": used, "bytes_returned": self._trim()}
