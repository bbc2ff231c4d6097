"""What the sweep and the recovery after an unclean stop do, in the operations that `jobs/sweep.py` runs one after the other.

The row is deleted, and its path put into the trash, before the file is unlinked: a crash at any point leaves trash, which
the next run empties.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfastd import failpoints
from holdfastd.blobs.files import BlobFiles
from holdfastd.model.call import Call
from holdfastd.model.commands import DiscardFile, EmptyTrash, SweepBlobs, SweepCounts
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

    def delete_rows(self, limit: int, call: Call) -> SweepCounts:
        """Examines up to `limit` candidates and deletes the rows of those that nothing needs; their files are trash then."""
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
        """Unlinks the files in the trash and then forgets their paths; how many. After a crash in between, the trash names
        files that are gone."""
        emptied = 0
        while paths := self._trash(call):
            for path in paths:
                self._files.unlink(path)
                failpoints.hit("sweep.after_unlink")
            self._writer.submit(EmptyTrash(paths), call)
            failpoints.hit("sweep.after_trash_emptied")
            emptied += len(paths)
        return emptied

    @property
    def has_doubtful_files(self) -> bool:
        """Whether a Put of unknown outcome waits for the sweep. A stop then counts as unclean."""
        return bool(self._files.doubtful)

    def discard_doubtful(self, call: Call) -> int:
        """Puts the files of Puts of unknown outcome into the trash unless a row names them; how many."""
        discarded = 0
        for path, stored_bytes in list(self._files.doubtful.items()):
            discarded += self._writer.submit(DiscardFile(path, stored_bytes), call)
            self._files.doubtful.pop(path, None)
        return discarded

    def temporary_count(self) -> int:
        """How many temporary files an earlier process left."""
        return len(self._files.dead_temporary_files())

    def remove_temporary_files(self) -> int:
        """Removes the temporary files that an earlier process left; how many."""
        removed = sum(self._files.unlink(path) for path in self._files.dead_temporary_files())
        failpoints.hit("sweep.after_temporary_removed")
        return removed

    def orphans(self, call: Call) -> list[str]:
        """The published files that no row names: a crash between rename and commit leaves them.

        Files are listed first, then it is asked which are live, then which are doubtful, and the rows are read last: in this
        order a Put that runs meanwhile is never taken for an orphan.
        """
        ended = [path for path in list(self._files.scan()) if not self._files.is_live(path)]
        paths = [path for path in ended if path not in self._files.doubtful]
        return [path for start in range(0, len(paths), _PAGE) for path in self._unnamed(paths[start : start + _PAGE], call)]

    def discard_orphans(self, call: Call) -> int:
        """Puts the orphans into the trash; how many. For the start after an unclean stop."""
        return sum(self._writer.submit(DiscardFile(path, self._size(path)), call) for path in self.orphans(call))

    def _trash(self, call: Call) -> tuple[str, ...]:
        with self._readers.snapshot(call) as connection:
            return tuple(rows.trash(connection, _PAGE))

    def _unnamed(self, paths: list[str], call: Call) -> list[str]:
        with self._readers.snapshot(call) as connection:
            named = rows.named_paths(connection, paths)
        return [path for path in paths if path not in named]

    def _size(self, path: str) -> int:
        try:
            return self._files.size(path)
        except FileNotFoundError:
            return 0
