"""The job `compact`: raises the oldest revision after which a watch may resume. The history itself is kept.

`RunJob(job="compact", options={"revision": "1200"})`; without the option it is the newest revision.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfastd.errors import InvalidArgument
from holdfastd.model.commands import CompactWatches
from holdfastd.model.jobs import JobRun
from holdfastd.service.reading import Reading
from holdfastd.writer.writer import Writer


class CompactionJob:
    """The job `compact`. Runs on demand only."""

    def __init__(self, writer: Writer, reading: Reading) -> None:
        self._writer = writer
        self._reading = reading

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Counts: `oldest_revision` after the run."""
        text = run.options.get("revision", "")
        if text and not text.isdecimal():
            raise InvalidArgument(f"The option revision is a number, not {text!r}.", reason="VALUE_INVALID", field="revision")
        newest = self._reading.revision(run.call)
        revision = min(int(text), newest) if text else newest
        if run.dry_run:
            return {"oldest_revision": revision}
        return {"oldest_revision": self._writer.submit(CompactWatches(revision), run.call)}
