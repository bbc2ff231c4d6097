"""Stored bytes in the making, and how they are committed.

The bytes are durable before the row that names them is committed. Whatever ends an upload, its temporary file goes; a
published file whose commit has an unknown outcome is left to the next sweep, which asks the writer.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfastd import failpoints
from holdfastd.blobs.codec import Encoder
from holdfastd.blobs.files import BlobFiles
from holdfastd.blobs.spool import Spool
from holdfastd.errors import InvalidArgument, NotFound
from holdfastd.model.blobs import DELTA, BlobRow, digest_of
from holdfastd.model.call import Call
from holdfastd.model.commands import StoreBlob, StoredBlob
from holdfastd.service.blobs.contents import BlobContents
from holdfastd.service.blobs.ports import BlobSettings, Submits


@dataclass(frozen=True, slots=True)
class Place:
    """Where a new delta hangs: the row of its base, and its own depth and step."""

    row: BlobRow
    depth: int
    step: int


class Uploading:
    """What all uploads of one store share. Thread-safe."""

    def __init__(self, writer: Submits, files: BlobFiles, contents: BlobContents, settings: BlobSettings) -> None:
        self.writer = writer
        self.files = files
        self.contents = contents
        self.settings = settings
        # Published files of Puts whose commit raised: path and stored size. Adding and removing are atomic in CPython.
        self.doubtful: dict[str, int] = {}

    def new_draft(self) -> Draft:
        """An empty draft of stored bytes."""
        return Draft(self, Spool(self.files.create, self.settings.inline_max_bytes))

    def too_large(self, size_bytes: int) -> InvalidArgument:
        limit = self.settings.max_blob_bytes
        return InvalidArgument(f"The blob has {size_bytes} bytes or more; the limit is {limit}.", reason="TOO_LARGE", limit=limit)

    def submit(self, command: StoreBlob, call: Call) -> StoredBlob:
        """Commits the row of published bytes; a file that no row names in the end does not stay."""
        try:
            stored = self.writer.submit(command, call)
        except NotFound:
            self._unlink(command)  # the base has gone: the row was refused for certain
            raise
        except BaseException:
            if command.path:
                self.doubtful[command.path] = command.stored_bytes
                self.files.settle(command.path)
            raise
        failpoints.hit("blobs.after_commit")
        if stored.existed:
            self._unlink(command)
        elif command.path:
            self.files.settle(command.path)
        return stored

    def _unlink(self, command: StoreBlob) -> None:
        if command.path:
            self.files.unlink(command.path)
            self.files.settle(command.path)


class Draft:
    """Stored bytes in the making, whole or delta, until they are durable and committed."""

    def __init__(self, uploading: Uploading, spool: Spool) -> None:
        self._uploading = uploading
        self._spool = spool
        self.encoder = Encoder(spool)

    def commit_whole(self, call: Call) -> StoredBlob:
        """Stores what the encoder was fed, which must be finished."""
        encoder = self.encoder
        content = self._spool.content()
        command = StoreBlob(
            digest=encoder.digest,
            size_bytes=encoder.size_bytes,
            stored_bytes=encoder.stored_bytes,
            stored_digest=encoder.stored_digest,
            codec=encoder.codec,
            path="" if content is not None else self._spool.publish(encoder.digest, encoder.codec),
            content=content,
            lease_ns=self._uploading.settings.lease_ns,
        )
        return self._uploading.submit(command, call)

    def commit_delta(self, digest: str, size_bytes: int, payload: bytes, place: Place, call: Call) -> StoredBlob:
        """Stores the payload as a delta on the base. Raises NOT_FOUND (BASE_NOT_FOUND) when the base has gone meanwhile."""
        self._spool.write(payload)
        content = self._spool.content()
        command = StoreBlob(
            digest=digest,
            size_bytes=size_bytes,
            stored_bytes=len(payload),
            stored_digest=digest_of(payload),
            codec=DELTA,
            path="" if content is not None else self._spool.publish(digest, DELTA),
            content=content,
            lease_ns=self._uploading.settings.lease_ns,
            base_digest=place.row.digest,
            depth=place.depth,
            step=place.step,
        )
        return self._uploading.submit(command, call)

    def discard(self) -> None:
        """Leaves nothing behind; nothing when published already."""
        self._spool.discard()
