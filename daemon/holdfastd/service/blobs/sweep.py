"""The operations of the sweep and of the recovery after an unclean stop. `jobs/sweep.py` calls them in order.

One transaction deletes the row and puts its path into the trash; the file is unlinked after it. A crash in between leaves the
path in the trash, and the next run unlinks the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfastd import failpoints
from holdfastd.blobs.files import BlobFiles
from holdfastd.errors import VERIFY_AND_RESTORE, DataLoss
from holdfastd.model.blobs import BlobProblem
from holdfastd.model.call import Call
from holdfastd.model.commands import DiscardFile, EmptyTrash, SweepBlobs, SweepCounts
from holdfastd.service.blobs.orphans import orphans
from holdfastd.store import blob_checks
from holdfastd.store import blobs as rows
from holdfastd.store.engine import Readers
from holdfastd.writer.writer import Writer

_PAGE = 500


class BlobSweep:
    """Removes blobs that nothing needs, and files that no row names. Thread-safe; safe beside Puts and Gets."""

    def __init__(self, writer: Writer, readers: Readers, files: BlobFiles, clock_ns: Callable[[], int]) -> None:
        self._writer = writer
        self._readers = readers
        self._files = files
        self._clock_ns = clock_ns
        self.recovery_is_due = False  # set after an unclean stop, until a recovery has ended
        self.keeps_orphans = False  # whether the last recovery deleted nothing, because the database is damaged

    def delete_rows(self, limit: int, call: Call) -> SweepCounts:
        """Examines up to `limit` candidates. Deletes the rows of those that nothing needs and puts their files into the trash."""
        counts = self._writer.submit(SweepBlobs(limit), call)
        failpoints.hit("sweep.after_commit")
        return counts

    def preview(self, call: Call) -> SweepCounts:
        """What a sweep would delete now. Writes nothing."""
        with self._readers.snapshot(call) as connection:
            return rows.preview_sweep(connection, self._clock_ns())

    def trash_count(self, call: Call) -> int:
        """How many files wait to be unlinked."""
        with self._readers.snapshot(call) as connection:
            return rows.trash_count(connection)

    def empty_trash(self, call: Call) -> int:
        """Unlinks the files in the trash, then deletes their paths from it. Returns the number of paths.

        After a crash in between, the trash names files that no longer exist; unlinking them again does nothing.
        """
        emptied, last = 0, tuple[str, ...]()
        while paths := self._trash(call):
            if paths == last:
                raise DataLoss(
                    f"An index does not find the path {paths[0]} in the trash. {VERIFY_AND_RESTORE}", reason="INDEX_DAMAGED"
                )
            last = paths
            for path in paths:
                self._files.unlink(path)
                failpoints.hit("sweep.after_unlink")
            self._writer.submit(EmptyTrash(paths), call)
            failpoints.hit("sweep.after_trash_emptied")
            emptied += len(paths)
        return emptied

    @property
    def needs_recovery(self) -> bool:
        """Whether files may be left that only `recover` finds. A stop then counts as unclean.

        They are left by uploads that have not ended, by Puts with unknown outcome, and by a recovery that was interrupted.
        """
        return self.recovery_is_due or bool(self._files.live or self._files.doubtful)

    def is_deleting_orphans(self) -> bool:
        """Whether orphans are still to be deleted, so that verify need not list them."""
        return self.recovery_is_due and not self.keeps_orphans

    def sync_unlinks(self) -> None:
        """Makes all unlinks of this process durable. Runs before a stop is marked clean: the next start looks for no orphans.

        Before that, the rows of the trash may be deleted first: an unlink that a power cut undoes leaves an orphan for `recover`.
        """
        self._files.sync_unlinks()

    def discard_doubtful(self, call: Call) -> int:
        """Puts the files of Puts with unknown outcome into the trash, unless a row names them. Returns how many."""
        discarded = 0
        for path, stored_bytes in list(self._files.doubtful.items()):
            discarded += self._writer.submit(DiscardFile(path, stored_bytes), call)
            self._files.doubtful.pop(path, None)
        return discarded

    def temporary_count(self) -> int:
        """The number of temporary files that earlier processes left."""
        return len(self._files.dead_temporary_files())

    def remove_temporary_files(self) -> int:
        """Removes the temporary files that earlier processes left. Returns how many."""
        removed = sum(self._files.unlink(path) for path in self._files.dead_temporary_files())
        failpoints.hit("sweep.after_temporary_removed")
        return removed

    def orphans(self, call: Call) -> list[str]:
        """As `orphans.orphans`."""
        return orphans(self._readers, self._files, call)

    def untrusted_rows(self, orphans: Sequence[str], call: Call) -> list[BlobProblem]:
        """As `blob_checks.untrusted_rows` for the orphans and the trash; empty at once when there are neither."""
        paths = {*orphans, *self._trash(call)}
        if not paths:
            return []
        with self._readers.snapshot(call) as connection:
            return blob_checks.untrusted_rows(connection, paths)

    def hidden_needs(self, call: Call) -> list[BlobProblem]:
        """As `blob_checks.hidden_needs`; empty at once when no candidate is due."""
        with self._readers.snapshot(call) as connection:
            return blob_checks.hidden_needs(connection) if rows.is_sweep_due(connection, self._clock_ns()) else []

    def discard(self, orphans: Sequence[str], call: Call) -> int:
        """Puts the orphans into the trash. Returns how many. Called at the start after an unclean stop."""
        return sum(self._writer.submit(DiscardFile(path, self._size(path)), call) for path in orphans)

    def _trash(self, call: Call) -> tuple[str, ...]:
        with self._readers.snapshot(call) as connection:
            return tuple(rows.trash(connection, _PAGE))

    def _size(self, path: str) -> int:
        try:
            return self._files.size(path)
        except FileNotFoundError:
            return 0
