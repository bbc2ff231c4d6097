"""The blob files under the data directory: written under a temporary name, synced, renamed, and the directory synced.

`blobs/tmp/<upload id>` becomes `blobs/<aa>/<digest hex>-<upload id>.zst` (`.delta`, or nothing when raw), so a path is never
used twice and whoever holds a path from a row may unlink it without asking who else writes the same digest.
containerd's content store does the same; it lost blobs until it synced the parent directory too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
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
    """An fsync failed: what the page cache holds can no longer be trusted. The daemon stops."""


@contextlib.contextmanager
def _disk_full_as_such() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise DiskFull("There is no room for the blob on the data directory's disk. Free some; reads go on.") from error


class BlobFiles:
    """The files of one data directory. Thread-safe."""

    def __init__(
        self,
        data_dir: Path,
        *,
        on_sync_failure: Callable[[BaseException], None],
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """Makes `blobs/tmp` where it is missing. `on_sync_failure` must see to it that the process ends."""
        self._data_dir = data_dir
        self._on_sync_failure = on_sync_failure
        self._new_id = new_id
        self._lock = threading.Lock()
        self._live: set[str] = set()
        self._make_directory(f"{BLOBS}/{_TEMPORARY}")

    def create(self) -> FileDraft:
        """A new temporary file. The caller ends it by `publish` and `settle`, or by `discard`."""
        upload_id = self._new_id()
        path = f"{BLOBS}/{_TEMPORARY}/{upload_id}"
        with self._lock:
            self._live.add(path)
        try:
            with _disk_full_as_such():
                descriptor = os.open(self._data_dir / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except BaseException:
            self._drop(path)
            raise
        failpoints.hit("blobs.created")
        return FileDraft(self, upload_id, path, descriptor)

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
        """The paths of all published files, in no order."""
        for directory in sorted(self._directories()):
            for entry in sorted(os.listdir(self._data_dir / BLOBS / directory)):
                yield f"{BLOBS}/{directory}/{entry}"

    def live(self) -> frozenset[str]:
        """The paths of uploads under way, temporary and published but not yet settled."""
        with self._lock:
            return frozenset(self._live)

    def dead_temporary_files(self) -> list[str]:
        """The temporary files that no upload of this process writes: a dead Put left them."""
        found = [f"{BLOBS}/{_TEMPORARY}/{name}" for name in os.listdir(self._data_dir / BLOBS / _TEMPORARY)]
        live = self.live()
        return sorted(path for path in found if path not in live)

    def settle(self, path: str) -> None:
        """The upload that published this path is over: a row names it, or the sweep will judge it."""
        self._drop(path)

    def _publish(self, draft: FileDraft, descriptor: int, digest: str, codec: str) -> str:
        hex_digest = digest_hex(digest)
        directory = f"{BLOBS}/{hex_digest[:2]}"
        path = f"{directory}/{hex_digest}-{draft.upload_id}{_SUFFIXES[codec]}"
        failpoints.hit("blobs.before_sync")
        self._sync(descriptor)
        failpoints.hit("blobs.after_sync")
        self._make_directory(directory)
        with self._lock:
            self._live.add(path)
        try:
            with _disk_full_as_such():
                os.rename(self._data_dir / draft.path, self._data_dir / path)
        except BaseException:
            self._drop(path)
            raise
        self._drop(draft.path)
        failpoints.hit("blobs.after_rename")
        self._sync_directory(directory)
        failpoints.hit("blobs.after_directory_sync")
        return path

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

    def _drop(self, path: str) -> None:
        with self._lock:
            self._live.discard(path)


class FileDraft:
    """A temporary file that one upload writes."""

    def __init__(self, files: BlobFiles, upload_id: str, path: str, descriptor: int) -> None:
        self._files = files
        self._descriptor: int | None = descriptor
        self.upload_id = upload_id
        self.path = path

    def write(self, data: bytes) -> None:
        """Appends all of it. Raises DiskFull."""
        assert self._descriptor is not None
        view = memoryview(data)
        with _disk_full_as_such():
            while view:
                view = view[os.write(self._descriptor, view) :]

    def publish(self, digest: str, codec: str) -> str:
        """Makes the bytes durable under their final path, which it returns. The draft is over, `settle(path)` is due."""
        assert self._descriptor is not None
        path = self._files._publish(self, self._descriptor, digest, codec)
        self._close()
        return path

    def discard(self) -> None:
        """Removes the temporary file; nothing when published already."""
        if self._descriptor is None:
            return
        self._close()
        self._files.unlink(self.path)
        self._files.settle(self.path)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class StoredFile:
    """A published file, open for reading. It stays readable when it is unlinked meanwhile."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._closer = weakref.finalize(self, os.close, descriptor)  # a stream that nobody began to read is only dropped

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
    """The content of a row, read like a file."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def size(self) -> int:
        return len(self._content)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length]

    def close(self) -> None:
        """Nothing to close."""
