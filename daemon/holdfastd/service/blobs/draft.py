"""Collects the stored bytes of one blob and makes them durable. `Draft.commit` has the order of the steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from holdfastd import failpoints
from holdfastd.blobs.codec import Encoder
from holdfastd.blobs.files import BlobFiles, FileDraft
from holdfastd.blobs.room import Room
from holdfastd.blobs.spool import Spool
from holdfastd.errors import NotFound
from holdfastd.model.call import Call
from holdfastd.model.commands import RenewBlob, StoreBlob, StoredBlob
from holdfastd.model.inline_limits import InlineLimits
from holdfastd.service.blobs.contents import BlobContents
from holdfastd.store.engine import Readers
from holdfastd.writer.writer import Writer

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class BlobSettings:
    """Limits of blobs, in bytes unless named otherwise."""

    inline: InlineLimits = field(default_factory=InlineLimits)  # up to how many stored bytes are kept in the database
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

    def renew_stored(self, digest: str, kind: str, call: Call) -> StoredBlob | None:
        """Renews the lease of a blob that has its bytes, where those of the kind are kept; None when they must be stored."""
        return self.renew(digest, call) if self.is_stored(digest, kind, call) else None

    def is_stored(self, digest: str, kind: str, call: Call) -> bool:
        """As `BlobContents.is_stored`. Not when they are in the database, but too many for the kind's own limit."""
        return self.contents.is_stored(digest, call, self.settings.inline.by_kind.get(kind))


class Draft:
    """The stored bytes of one blob until they are committed. Used by one thread. Always end it with `discard`."""

    def __init__(self, uploads: Uploads, kind: str) -> None:
        """kind: that of the record or entry that will refer to the blob; empty: not known."""
        self._uploads = uploads
        self._kind = kind
        self._spool = Spool(uploads.files.create, uploads.settings.inline.of(kind), uploads.room)

    def write(self, data: bytes) -> None:
        """Appends the next stored bytes, to memory or to the temporary file. Raises DiskFull."""
        self._spool.write(data)

    def commit(self, blob: StoreBlob, call: Call) -> StoredBlob:
        """Makes the written bytes durable, then the row that names them. Each step ends before the next begins:

        1. `write` has put the bytes into a temporary file. (Up to the limit of the kind they are in memory; go to step 5.)
        2. Sync the temporary file.
        3. Rename it to its final path.
        4. Sync the directory.
        5. Commit the row with the path, or with the bytes.

        `blob` is the row without `path` and `content`. When the digest has a row already, that row's lease is renewed and the
        file is removed; but when the row's bytes are lost or damaged, or must have a file and have none, a whole blob takes their
        place. Raises NOT_FOUND
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
            writer, uploads = self._uploads.writer, self._uploads
            stored = writer.submit(blob, call)
            if stored.existed and blob.base_digest is None and not uploads.is_stored(blob.digest, self._kind, call):
                stored = writer.submit(replace(blob, in_place_of=stored.row.path), call)
                uploads.contents.forget_damage(blob.digest)
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

    def __init__(self, uploads: Uploads, kind: str) -> None:
        """kind: as for `Draft`."""
        self._lease_ns = uploads.settings.lease_ns
        self._draft = Draft(uploads, kind)
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
            checksums=encoder.checksums,
        )
        return self._draft.commit(blob, call)

    def discard(self) -> None:
        """As `Draft.discard`."""
        self._draft.discard()
