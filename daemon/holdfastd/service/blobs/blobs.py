"""The use cases of blobs: Put, Get, Stat, sweep and what comes after a crash.

`rpc/` and `jobs/` call it. It never holds a snapshot while it yields, and it writes rows through the writer only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdfastd import failpoints
from holdfastd.blobs.cache import ContentCache
from holdfastd.blobs.files import BlobFiles
from holdfastd.errors import NotFound
from holdfastd.model.blobs import BlobProblem, BlobStat, BlobTotals, PutHeader, TrashedFile, check_digest
from holdfastd.model.call import Call
from holdfastd.model.commands import DiscardFile, EmptyTrash, RenewBlob, SweepBlobs, SweepCounts
from holdfastd.service.blobs.contents import BlobContents, Reading
from holdfastd.service.blobs.draft import Uploading
from holdfastd.service.blobs.ports import BlobSettings, Snapshots, Submits
from holdfastd.service.blobs.upload import DeltaUpload, GatheredUpload, KnownUpload, StreamUpload, Upload
from holdfastd.service.blobs.verify import Report, verify_blobs
from holdfastd.store import blobs as rows

_PAGE = 500


class Blobs:
    """The blobs of one store. Thread-safe."""

    def __init__(
        self, writer: Submits, readers: Snapshots, files: BlobFiles, settings: BlobSettings, clock_ns: Callable[[], int]
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._files = files
        self._settings = settings
        self._clock_ns = clock_ns
        self._contents = BlobContents(readers, files, ContentCache(settings.cache_bytes))
        self._uploading = Uploading(writer, files, self._contents, settings)

    def begin(self, header: PutHeader, call: Call) -> Upload:
        """Begins a Put. The caller feeds it, and ends it by `finish` or `abort`.

        Raises INVALID_ARGUMENT (VALUE_INVALID, TOO_LARGE, SIZE_MISMATCH), and for a delta NOT_FOUND (BASE_NOT_FOUND): then
        the whole must be sent.
        """
        self._check(header)
        if header.delta is not None:
            return DeltaUpload(self._uploading, header, call)
        if header.digest and self._renew(header.digest, call):
            return KnownUpload(self._uploading, header)
        if header.base_digest and self._settings.delta:
            return GatheredUpload(self._uploading, header)
        return StreamUpload(self._uploading, header)

    def read(self, digest: str, offset: int, length: int, call: Call) -> Reading:
        """The chunks of a range, up to 1 MiB each; `length` 0 means to the end. `Reading.size_bytes` is the whole blob's.

        Raises NOT_FOUND (BLOB_NOT_FOUND), OUT_OF_RANGE; here or with any chunk DATA_LOSS (BLOB_DAMAGED; metadata `digest`
        asked for, `damaged_digest` found out). What came before it must not be trusted.
        """
        return self._contents.read(check_digest(digest), offset, length, call)

    def stat(self, digest: str, call: Call) -> BlobStat:
        """The row and its number of references. Raises NOT_FOUND (BLOB_NOT_FOUND)."""
        check_digest(digest)
        with self._readers.snapshot(call) as connection:
            found = rows.stat(connection, digest)
        if found is None:
            raise NotFound(f"There is no blob {digest}.", reason="BLOB_NOT_FOUND", digest=digest)
        return found

    def totals(self, call: Call) -> BlobTotals:
        """Number and size of all blobs."""
        with self._readers.snapshot(call) as connection:
            return rows.totals(connection)

    def verify(self, read_blobs: bool, report: Report, call: Call) -> Iterator[BlobProblem]:
        """What is wrong with rows, files and references; with `read_blobs` also with every content. Changes nothing."""
        uncached = BlobContents(self._readers, self._files, ContentCache(0))
        return verify_blobs(self._readers, uncached, self._files, read_blobs, report, call)

    # The sweep, in the steps that `jobs/sweep.py` makes

    def sweep_batch(self, limit: int, call: Call) -> SweepCounts:
        """Deletes the rows of up to `limit` blobs that nothing needs; their files are trash then."""
        counts = self._writer.submit(SweepBlobs(limit), call)
        failpoints.hit("sweep.after_commit")
        return counts

    def preview_sweep(self, call: Call) -> SweepCounts:
        """What a sweep would delete now. Writes nothing."""
        with self._readers.snapshot(call) as connection:
            return rows.preview_sweep(connection, self._clock_ns())

    def trash(self, call: Call, after: str = "") -> list[TrashedFile]:
        """A page of the files whose rows are gone."""
        with self._readers.snapshot(call) as connection:
            return rows.trash(connection, after, _PAGE)

    def trash_count(self, call: Call) -> int:
        """How many files wait to be unlinked."""
        with self._readers.snapshot(call) as connection:
            return rows.trash_count(connection)

    def empty_trash(self, files: list[TrashedFile], call: Call) -> None:
        """Unlinks these files of the trash, then forgets them. A crash in between leaves paths of files that are gone."""
        for each in files:
            self._files.unlink(each.path)
            failpoints.hit("sweep.after_unlink")
        self._writer.submit(EmptyTrash(tuple(each.path for each in files)), call)
        failpoints.hit("sweep.after_trash_emptied")

    def discard_doubtful(self, call: Call) -> int:
        """Makes trash of files that Puts of unknown outcome left and no row names; how many."""
        discarded = 0
        for path, stored_bytes in list(self._uploading.doubtful.items()):
            discarded += self._writer.submit(DiscardFile(path, stored_bytes), call)
            self._uploading.doubtful.pop(path, None)
        return discarded

    @property
    def has_doubtful_files(self) -> bool:
        """Whether a Put of unknown outcome waits for the sweep: at a stop it counts as unclean."""
        return bool(self._uploading.doubtful)

    def dead_temporary_files(self) -> list[str]:
        """Temporary files that no Put of this process writes."""
        return self._files.dead_temporary_files()

    def remove_temporary_files(self, paths: list[str]) -> int:
        """Removes dead temporary files; how many there were."""
        removed = sum(self._files.unlink(path) for path in paths)
        failpoints.hit("sweep.after_temporary_removed")
        return removed

    def orphans(self, call: Call) -> list[str]:
        """The files that no row names: a crash between rename and commit leaves them.

        Safe at any time: what is under way is looked up after the files and before the rows.
        """
        found = list(self._files.scan())
        live = self._files.live()
        doubtful = set(self._uploading.doubtful)
        paths = [path for path in found if path not in live and path not in doubtful]
        unnamed: list[str] = []
        for start in range(0, len(paths), _PAGE):
            some = paths[start : start + _PAGE]
            with self._readers.snapshot(call) as connection:
                named = rows.named_paths(connection, some)
            unnamed += [path for path in some if path not in named]
        return unnamed

    def discard_orphans(self, call: Call) -> int:
        """Makes trash of the files that no row names; how many. For after an unclean stop."""
        return sum(self._writer.submit(DiscardFile(path, self._size(path)), call) for path in self.orphans(call))

    def _size(self, path: str) -> int:
        try:
            return self._files.size(path)
        except FileNotFoundError:
            return 0

    def _check(self, header: PutHeader) -> None:
        if header.digest:
            check_digest(header.digest)
        if header.base_digest or header.delta is not None:
            check_digest(header.base_digest, "base_digest")
        if header.size_bytes is not None and header.size_bytes > self._settings.max_blob_bytes:
            raise self._uploading.too_large(header.size_bytes)

    def _renew(self, digest: str, call: Call) -> bool:
        """Whether the blob is there, leased anew if so, which keeps it through the upload."""
        if not self._contents.exists(digest, call):
            return False
        renewed = self._writer.submit(RenewBlob(digest, self._settings.lease_ns), call)
        return renewed is not None
