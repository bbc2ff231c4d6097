"""The job `checksums`: fills in the checksums of rows and raw files that an earlier version of the daemon wrote.

It runs at each start until it has ended once. Its commands are small, so that callers' commits run in between. Until it has
ended, reads check what has a checksum; for a range of a raw file without checksums the whole file is read and checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfastd.model.commands import FillChecksums, FinishChecksums, StoreBlockChecksums
from holdfastd.model.jobs import JobRun
from holdfastd.service.blobs.calls import Blobs
from holdfastd.store import checksum_fill
from holdfastd.store.engine import Readers
from holdfastd.writer.writer import Writer

ROWS_A_TURN = 500


class ChecksumsJob:
    """The job `checksums`."""

    def __init__(self, writer: Writer, blobs: Blobs, readers: Readers) -> None:
        self._writer = writer
        self._blobs = blobs
        self._readers = readers

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Counts: `rows_examined`, `files_examined`, `files_damaged`. A dry run reads no file, so it counts none as damaged."""
        if run.dry_run:
            with self._readers.snapshot(run.call) as connection:
                rows, files = checksum_fill.count(connection)
            return {"rows_examined": rows, "files_examined": files, "files_damaged": 0}
        rows = sum(self._fill(table, run) for table in checksum_fill.TABLES)
        files, damaged = self._fill_files(run)
        self._writer.submit(FinishChecksums(), run.call)
        return {"rows_examined": rows, "files_examined": files, "files_damaged": damaged}

    def _fill(self, table: str, run: JobRun) -> int:
        examined = 0
        after: tuple[Any, ...] | None = ()
        while after is not None:
            filled = self._writer.submit(FillChecksums(table, after, ROWS_A_TURN), run.call)
            examined, after = examined + filled.examined, filled.after
            run.progress(table, examined, 0)
        return examined

    def _fill_files(self, run: JobRun) -> tuple[int, int]:
        files = damaged = 0
        for digest, checksums in self._blobs.missing_checksums(run.call):
            files += 1
            if checksums is None:
                damaged += 1
            else:
                self._writer.submit(StoreBlockChecksums(digest, checksums), run.call)
            run.progress("files", files, 0)
        return files, damaged
