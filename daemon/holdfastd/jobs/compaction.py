"""The job `compact`: says how far back a watch may resume. Deletes nothing, for history outlives watches.

`RunJob(job="compact", options={"revision": "1200"})`; without the option, the present.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfastd.errors import InvalidArgument
from holdfastd.jobs.scheduler import JobRun
from holdfastd.model.call import Call
from holdfastd.model.commands import CompactWatches


class CompactionJob:
    """`submit` hands a command to the writer and waits, `revision` tells the newest one."""

    def __init__(self, submit: Callable[[CompactWatches, Call], int], revision: Callable[[], int]) -> None:
        self._submit = submit
        self._revision = revision

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Counts: `oldest_revision`, after it."""
        text = run.options.get("revision", "")
        if text and not text.isdecimal():
            raise InvalidArgument(f"The option revision is a number, not {text!r}.", reason="VALUE_INVALID", field="revision")
        revision = min(int(text), self._revision()) if text else self._revision()
        if run.dry_run:
            return {"oldest_revision": revision}
        return {"oldest_revision": self._submit(CompactWatches(revision), run.call)}
