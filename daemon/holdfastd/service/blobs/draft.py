"""Collects the stored bytes of one blob and makes them durable. `Draft.commit` has the order of the steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from holdfastd import failpoints
from holdfastd.blobs.codec import Encoder
from holdfastd.blobs.files import BlobFiles, FileDraft
from holdfastd.blobs.room import Room
from holdfastd.blobs.spool import Spool
from holdfastd.errors import NotFound
from holdfastd.model.call import Call
from holdfastd.model.commands import RenewBlob, StoreBlob, StoredBlob
from holdfastd.service.blobs.contents import BlobContents
from holdfastd.store.engine import Readers
from holdfastd.writer.writer import Writer

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class BlobSettings:
    """Limits of blobs, in bytes unless named otherwise."""

    inline_max_bytes: int = 32 * 1024  # up to this many stored bytes are kept in the database; 0: every blob has a file
    delta: bool = True
    lease_s: float = 3600.0
    max_blob_bytes: int = 16 * GIB
    delta_max_bytes: int = 64 * MIB  # limit of content and of base: encoding a delta needs both in memory
    cache_bytes: int = 64 * MIB

    @property
    def lease_ns(self) -> int:
        return int(self.lease_s * 1e9)


@dataclass(frozen=True, slots=True)
class Uploads:
    """The parts and settings that all uploads of one store share. Thread-safe."""

    writer: Writer
    readers: Readers
    files: BlobFiles
    contents: BlobContents
    settings: BlobSettings
    room: Room

    def renew(self, digest: str, call: Call) -> StoredBlob | None:
        """Renews the lease of a blob; None when there is no such blob."""
        return self.writer.submit(RenewBlob(digest, self.settings.lease_ns), call)

    def renew_stored(self, digest: str, call: Call) -> StoredBlob | None:
        """Renews the lease of a blob that has its bytes; None when the caller must store them."""
        return self.renew(digest, call) if self.contents.is_stored(digest, call) else None


class Draft:
    """The stored bytes of one blob until they are committed. Used by one thread. Always end it with `discard`."""

    def __init__(self, uploads: Uploads) -> None:
        self._writer = uploads.writer
        self._contents = uploads.contents
        self._spool = Spool(uploads.files.create, uploads.settings.inline_max_bytes, uploads.room)

    def write(self, data: bytes) -> None:
        """Appends the next stored bytes, to memory or to the temporary file. Raises DiskFull."""
        self._spool.write(data)

    def commit(self, blob: StoreBlob, call: Call) -> StoredBlob:
        """Makes the written bytes durable, then the row that names them. Each step ends before the next begins:

        1. `write` has put the bytes into a temporary file. (Up to `inline_max_bytes` they are in memory; go to step 5.)
        2. Sync the temporary file.
        3. Rename it to its final path.
        4. Sync the directory.
        5. Commit the row with the path, or with the bytes.

        `blob` is the row without `path` and `content`. When the digest has a row already, that row's lease is renewed and the
        file is removed; but when the row's bytes are lost or damaged, a whole blob takes their place. Raises NOT_FOUND
        (BASE_NOT_FOUND) when the base of a delta is gone; the file is removed. Raises DiskFull or SyncFailed in steps 2 to 4.
        After any other error of the writer the file is doubtful: the sweep decides about it.
        """
        file = self._spool.file()
        if file is None:
            blob = replace(blob, content=self._spool.content())
        else:
            failpoints.hit("blobs.before_sync")
            file.sync()
            failpoints.hit("blobs.after_sync")
            path = file.rename(blob.digest, blob.codec)
            failpoints.hit("blobs.after_rename")
            file.sync_directory()
            failpoints.hit("blobs.after_directory_sync")
            blob = replace(blob, path=path)
        stored = self._commit_row(blob, file, call)
        failpoints.hit("blobs.after_commit")
        if file is not None and stored.existed:
            file.remove()
        elif file is not None:
            file.settle()
        return stored

    def discard(self) -> None:
        """Drops the bytes and removes the temporary file. A file that was renamed stays."""
        self._spool.discard()

    def _commit_row(self, blob: StoreBlob, file: FileDraft | None, call: Call) -> StoredBlob:
        try:
            stored = self._writer.submit(blob, call)
            if stored.existed and blob.base_digest is None and not self._contents.is_stored(blob.digest, call):
                stored = self._writer.submit(replace(blob, in_place_of=stored.row.path), call)
                self._contents.forget_damage(blob.digest)
            return stored
        except NotFound:
            if file is not None:
                file.remove()  # the writer refused the row, so nothing names the file
            raise
        except BaseException:
            if file is not None:
                file.doubt(blob.stored_bytes)
            raise


class WholeDraft:
    """A blob that is stored whole: each chunk is hashed, compressed and written as it arrives. Used by one thread."""

    def __init__(self, uploads: Uploads) -> None:
        self._lease_ns = uploads.settings.lease_ns
        self._draft = Draft(uploads)
        self.encoder = Encoder(self._draft)

    def commit(self, call: Call) -> StoredBlob:
        """Stores the encoder's output. Call `encoder.finish` first. Raises as `Draft.commit`."""
        encoder = self.encoder
        blob = StoreBlob(
            digest=encoder.digest,
            size_bytes=encoder.size_bytes,
            stored_bytes=encoder.stored_bytes,
            stored_digest=encoder.stored_digest,
            codec=encoder.codec,
            path="",
            content=None,
            lease_ns=self._lease_ns,
        )
        return self._draft.commit(blob, call)

    def discard(self) -> None:
        """As `Draft.discard`."""
        self._draft.discard()
