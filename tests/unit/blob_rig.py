"""The rig of the blob tests: the blobs on a real database and real files, with the real writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfastd.blobs.files import BlobFiles
from holdfastd.jobs.sweep import RecoveryJob, SweepJob
from holdfastd.model.blobs import PutHeader, PutResult
from holdfastd.model.call import Call
from holdfastd.model.inline_limits import InlineLimits
from holdfastd.model.jobs import JobRun
from holdfastd.service.blobs.calls import Blobs
from holdfastd.service.blobs.draft import BlobSettings
from holdfastd.service.blobs.sweep import BlobSweep
from holdfastd.store import blobs as rows
from holdfastd.store.commands import handlers
from holdfastd.store.ledger import Ledger
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import migrate
from holdfastd.writer.batch import Batcher
from holdfastd.writer.writer import Writer

HOUR_NS = 3600 * 10**9


class Rig:
    """One store of blobs. `now_ns` is its clock."""

    def __init__(self, data_dir: Path, settings: BlobSettings) -> None:
        self.data_dir = data_dir
        self.settings = settings
        self.now_ns = time.time_ns()
        self.sync_failures: list[BaseException] = []
        database = Database(data_dir / "holdfast.db")
        self.connection: Connection = database.open_writer()
        migrate(self.connection, data_dir / "snapshots")
        ledger = Ledger(self.connection)
        batcher = Batcher(self.connection, ledger, handlers(ledger), lambda: self.now_ns, self.sync_failures.append)
        self.writer = Writer(batcher, lambda results: None, queue_max=100, batch_max=100)
        self.readers = database.open_readers(2)
        self.files = BlobFiles(data_dir, on_sync_failure=self.sync_failures.append)
        self.blobs = self.restarted()

    def restarted(self) -> Blobs:
        """The blobs as after a restart of the daemon, with empty caches."""
        self.files = BlobFiles(self.data_dir, on_sync_failure=self.sync_failures.append)
        self.blobs = Blobs(self.writer, self.readers, self.files, self.settings)
        self.blob_sweep = BlobSweep(self.writer, self.readers, self.files, lambda: self.now_ns)
        return self.blobs

    def put(self, content: bytes, *, base: str = "", digest: str = "") -> PutResult:
        return self.send(PutHeader(digest=digest, base_digest=base), [content])

    def send(self, header: PutHeader, chunks: Iterable[bytes]) -> PutResult:
        call = Call()
        upload = self.blobs.begin(header, call)
        try:
            for chunk in chunks:
                upload.feed(chunk)
            return upload.finish(call)
        except BaseException:
            upload.abort()
            raise

    def get(self, digest: str, offset: int = 0, length: int = 0) -> bytes:
        return b"".join(self.blobs.read(digest, offset, length, Call()))

    def refer(self, digest: str, id: str) -> None:
        self._in_transaction(lambda: rows.reference(self.connection, digest, "default", "artifact", id, "content_digest"))

    def release(self, digest: str, id: str) -> None:
        self._in_transaction(lambda: rows.unreference(self.connection, digest, "default", "artifact", id, "content_digest"))

    def sweep(self, *, dry_run: bool = False) -> dict[str, int]:
        return dict(SweepJob(self.blob_sweep).run(JobRun(Call(), dry_run)))

    def recover(self) -> dict[str, int]:
        return dict(RecoveryJob(self.blob_sweep).run(JobRun(Call())))

    def problems(self, *, read_blobs: bool = True) -> list[tuple[str, str]]:
        found = self.blobs.verify(read_blobs, lambda phase, done, total: None, Call())
        return [(problem.reason, problem.subject) for problem in found if problem.reason != "reference_unused"]

    def stored_files(self) -> list[str]:
        return sorted(self.files.scan())

    def temporary_files(self) -> list[str]:
        return sorted(each.name for each in (self.data_dir / "blobs" / "tmp").iterdir())

    def close(self) -> None:
        self.readers.close()
        self.connection.close()

    def _in_transaction(self, change: Callable[[], object]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        change()
        self.connection.execute("COMMIT")


@contextmanager
def rig(data_dir: Path, **settings: object) -> Iterator[Rig]:
    """Opens a rig and closes it at the end."""
    inline = InlineLimits(settings.pop("inline_max_bytes", 32 << 10), settings.pop("inline_by_kind", {}))  # type: ignore[arg-type]
    made = Rig(data_dir, BlobSettings(inline=inline, **settings))  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()
