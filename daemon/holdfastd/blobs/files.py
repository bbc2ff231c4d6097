"""The blob files under the data directory.

An upload writes `blobs/tmp/<upload id>`. `Draft.commit` (`service/blobs/draft.py`) syncs that file, renames it to
`blobs/<aa>/<digest hex>-<upload id>.zst` (`.delta` for a delta, no suffix when raw) and syncs the directory. An upload id is
never used twice, so neither is a path: a path read from a row can be unlinked whoever else is writing the same digest.
containerd's content store does the same; it lost blobs until it synced the parent directory too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from holdfastd import failpoints
from holdfastd.errors import DiskFull
from holdfastd.model.blobs import DELTA, RAW, ZSTD, digest_hex

BLOBS = "blobs"
_TEMPORARY = "tmp"
_SUFFIXES = {ZSTD: ".zst", RAW: "", DELTA: ".delta"}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_READ_BYTES = 1024 * 1024


class SyncFailed(Exception):
    """An fsync failed, so the page cache can no longer be trusted: the daemon stops."""


@contextlib.contextmanager
def _disk_full_as_such() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise DiskFull("There is no room for the blob on the data directory's disk. Free some; reads go on.") from error


class BlobFiles:
    """The files of one data directory. Thread-safe.

    live: ids of the uploads of this process that have not ended.
    doubtful: published files whose row had a commit of unknown outcome, each with its stored size; the sweep asks the writer.
    Single operations on both are atomic in CPython.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        on_sync_failure: Callable[[BaseException], None],
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """Makes `blobs/tmp` where it is missing. `on_sync_failure` must end the process."""
        self._data_dir = data_dir
        self._on_sync_failure = on_sync_failure
        self._new_id = new_id
        self.live: set[str] = set()
        self.doubtful: dict[str, int] = {}
        self._make_directory(f"{BLOBS}/{_TEMPORARY}")

    def create(self) -> FileDraft:
        """A new temporary file. The caller ends it as described in `FileDraft`. Raises DiskFull."""
        upload_id = self._new_id()
        self.live.add(upload_id)
        try:
            with _disk_full_as_such():
                path = self._data_dir / BLOBS / _TEMPORARY / upload_id
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except BaseException:
            self.live.discard(upload_id)
            raise
        failpoints.hit("blobs.created")
        return FileDraft(self, upload_id, descriptor)

    def open(self, path: str) -> StoredFile:
        """Opens a published file for reading. Raises FileNotFoundError."""
        return StoredFile(os.open(self._data_dir / path, os.O_RDONLY | os.O_CLOEXEC))

    def size(self, path: str) -> int:
        """How large the file is. Raises FileNotFoundError."""
        return (self._data_dir / path).stat().st_size

    def unlink(self, path: str) -> bool:
        """Removes a file; whether it was there."""
        try:
            (self._data_dir / path).unlink()
        except FileNotFoundError:
            return False
        return True

    def scan(self) -> Iterator[str]:
        """The paths of all published files."""
        for directory in sorted(self._directories()):
            for entry in sorted(os.listdir(self._data_dir / BLOBS / directory)):
                yield f"{BLOBS}/{directory}/{entry}"

    def is_live(self, path: str) -> bool:
        """Whether an upload of this process, which has not ended, writes this file, temporary or published."""
        return path.rsplit("/", 1)[-1].rsplit("-", 1)[-1].partition(".")[0] in self.live

    def dead_temporary_files(self) -> list[str]:
        """The temporary files that no upload of this process writes: an earlier process left them."""
        found = [f"{BLOBS}/{_TEMPORARY}/{name}" for name in sorted(os.listdir(self._data_dir / BLOBS / _TEMPORARY))]
        return [path for path in found if not self.is_live(path)]

    def _make_directory(self, relative: str) -> None:
        """Makes the directory and its parents in the data directory, each synced into its parent."""
        missing = [relative, *(str(each) for each in Path(relative).parents if str(each) != ".")]
        for each in reversed(missing):
            try:
                with _disk_full_as_such():
                    os.mkdir(self._data_dir / each, 0o700)
            except FileExistsError:
                continue
            self._sync_directory(str(Path(each).parent))

    def _sync_directory(self, relative: str) -> None:
        descriptor = os.open(self._data_dir / relative, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._sync(descriptor)
        finally:
            os.close(descriptor)

    def _sync(self, descriptor: int) -> None:
        try:
            os.fsync(descriptor)
        except OSError as error:
            self._on_sync_failure(error)
            raise SyncFailed(f"fsync failed: {error}") from error

    def _directories(self) -> list[str]:
        return [name for name in os.listdir(self._data_dir / BLOBS) if name != _TEMPORARY]


class FileDraft:
    """The file that one upload writes. Used by one thread at a time.

    It is temporary until `rename`, and until then `discard` ends the upload and removes it. Afterwards `settle`, `doubt` or
    `remove` ends the upload.
    """

    def __init__(self, files: BlobFiles, upload_id: str, descriptor: int) -> None:
        self._files = files
        self._upload_id = upload_id
        self._path = f"{BLOBS}/{_TEMPORARY}/{upload_id}"
        self._descriptor: int | None = descriptor

    def write(self, data: bytes) -> None:
        """Appends all of it. Raises DiskFull."""
        assert self._descriptor is not None
        view = memoryview(data)
        with _disk_full_as_such():
            while view:
                view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        """Makes the bytes durable. Raises SyncFailed, and then the process ends."""
        assert self._descriptor is not None
        self._files._sync(self._descriptor)

    def rename(self, digest: str, codec: str) -> str:
        """Gives the file its final path and returns that. The path is durable after `sync_directory`. Raises DiskFull."""
        hex_digest = digest_hex(digest)
        directory = f"{BLOBS}/{hex_digest[:2]}"
        path = f"{directory}/{hex_digest}-{self._upload_id}{_SUFFIXES[codec]}"
        self._files._make_directory(directory)
        with _disk_full_as_such():
            os.rename(self._files._data_dir / self._path, self._files._data_dir / path)
        self._path = path
        self._close()
        return path

    def sync_directory(self) -> None:
        """Makes the final path durable. Raises SyncFailed, and then the process ends."""
        self._files._sync_directory(str(Path(self._path).parent))

    def settle(self) -> None:
        """Ends the upload: a row names the file."""
        self._files.live.discard(self._upload_id)

    def doubt(self, stored_bytes: int) -> None:
        """Ends the upload: nobody knows whether a row names the file until the sweep asks the writer."""
        self._files.doubtful[self._path] = stored_bytes
        self.settle()

    def remove(self) -> None:
        """Ends the upload: no row names the file."""
        self._files.unlink(self._path)
        self.settle()

    def discard(self) -> None:
        """Ends the upload and removes the temporary file; does nothing after `rename`."""
        if self._descriptor is not None:
            self._close()
            self.remove()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class StoredFile:
    """A published file, open for reading. It stays readable after the file is unlinked."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # A generator that is never started never runs its `finally`; the finalizer closes the descriptor.
        self._closer = weakref.finalize(self, os.close, descriptor)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0 and (part := os.pread(self._descriptor, min(length, _READ_BYTES), offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        self._closer()


class StoredContent:
    """Stored bytes from a row, with the methods of StoredFile."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def size(self) -> int:
        return len(self._content)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length]

    def close(self) -> None:
        """Nothing to close."""
