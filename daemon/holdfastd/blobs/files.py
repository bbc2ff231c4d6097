"""The blob files under the data directory.

An upload writes `blobs/tmp/<upload id>`. `Draft.commit` (`service/blobs/draft.py`) syncs that file, renames it to
`blobs/<aa>/<digest hex>-<upload id>.zst` (`.delta` for a delta, no suffix when raw) and syncs the directory. Upload ids are
random and never used twice, so a path is never used twice either. A path read from a row can therefore be unlinked while another
upload writes the same digest.

containerd's content store keeps the blobs of an algorithm in one directory, and looks only at the name of a file that is there
already. Here they are in 256 directories, each made when it is first needed. A directory that is there already may not be durable
yet, so each is synced into its parent once in every process; see `_make_directory`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from holdfastd import descriptors, durable, failpoints
from holdfastd.blobs.room import no_room
from holdfastd.errors import FailedPrecondition, StoreReplaced
from holdfastd.model.blobs import DELTA, RAW, ZSTD, digest_hex

BLOBS = "blobs"
OWNER_FILE = "store_id"  # in `blobs`: the id of the store that the files belong to (`foreign.py`)
_TEMPORARY = "tmp"
_PUBLISHED = re.compile("[0-9a-f]{2}")
_SUFFIXES = {ZSTD: ".zst", RAW: "", DELTA: ".delta"}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_READ_BYTES = 1024 * 1024


class SyncFailed(Exception):
    """An fsync failed. The page cache can no longer be trusted, so the daemon stops."""


@contextlib.contextmanager
def _disk_full_as_such() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise no_room() from error


@contextlib.contextmanager
def _refusals_as_such(path: str) -> Iterator[None]:
    """Translates errors about the process, not about the file's bytes, so that nobody takes them for damage."""
    try:
        yield
    except PermissionError as error:
        raise FailedPrecondition(
            f"The daemon may not read its file {path}: {error.strerror}. Give owner and mode of the data directory back.",
            reason="FILE_NOT_READABLE",
            path=path,
        ) from error
    except OSError as error:
        if (lack := descriptors.lack(error)) is not None:
            raise lack from error
        raise


class BlobFiles:
    """The blob files of one data directory. Paths are relative to it. Thread-safe.

    live: ids of the uploads of this process that have not ended.
    doubtful: path → stored size, for published files whose row was committed with unknown outcome. The sweep resolves them.
    Both are used without a lock, because single operations on a set or dict are atomic in CPython.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        on_sync_failure: Callable[[BaseException], None],
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """Creates `blobs/tmp` when it is missing. `on_sync_failure` must end the process."""
        self._data_dir = data_dir
        self._on_sync_failure = on_sync_failure
        self._new_id = new_id
        self.live: set[str] = set()
        self.doubtful: dict[str, int] = {}
        self._check_ground: Callable[[], None] = lambda: None
        self._making = threading.Lock()
        self._durable: set[str] = set()  # directories whose names are durable
        self._unlinked_in: set[str] = set()  # directories from which names were removed that are not synced yet
        self._make_directory(BLOBS)
        self._make_directory(f"{BLOBS}/{_TEMPORARY}", *(f"{BLOBS}/{name}" for name in self._directories()))

    def guard(self, check_ground: Callable[[], None]) -> None:
        """From now on, calls `check_ground` when a file is missing, and before a name is added or removed: at the path may be the
        files of another store. It raises StoreReplaced then."""
        self._check_ground = check_ground

    def create(self) -> FileDraft:
        """Creates a temporary file. The caller ends the upload as described in `FileDraft`. Raises DiskFull or StoreReplaced."""
        self._check_ground()
        upload_id = self._new_id()
        self.live.add(upload_id)
        try:
            with _disk_full_as_such(), self._removal_as_such():
                path = self._data_dir / BLOBS / _TEMPORARY / upload_id
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except BaseException:
            self.live.discard(upload_id)
            raise
        failpoints.hit("blobs.created")
        return FileDraft(self, upload_id, descriptor)

    def open(self, path: str) -> StoredFile:
        """Opens a published file for reading. Raises FileNotFoundError; RESOURCE_EXHAUSTED when no descriptor is left;
        StoreReplaced when the whole store is gone.
        """
        with _refusals_as_such(path), self._checking_ground():
            return StoredFile(os.open(self._data_dir / path, os.O_RDONLY | os.O_CLOEXEC))

    def size(self, path: str) -> int:
        """The file's size in bytes. Raises FileNotFoundError or StoreReplaced."""
        with _refusals_as_such(path), self._checking_ground():
            return (self._data_dir / path).stat().st_size

    def unlink(self, path: str) -> bool:
        """Removes a file; durable after `sync_unlinks`. Returns whether it existed. Raises StoreReplaced."""
        self._check_ground()
        try:
            (self._data_dir / path).unlink()
        except FileNotFoundError:
            return False
        self._unlinked_in.add(str(Path(path).parent))
        return True

    def sync_unlinks(self) -> None:
        """Makes all unlinks durable, and that renamed files have left `blobs/tmp`. Fails as `FileDraft.sync`."""
        while self._unlinked_in:
            with contextlib.suppress(FileNotFoundError):  # the directory was removed, with all files in it
                self._sync_directory(self._unlinked_in.pop())

    def scan(self) -> Iterator[str]:
        """The paths of all published files."""
        for directory in sorted(self._directories()):
            for name in _files_in(self._data_dir / BLOBS / directory):
                yield f"{BLOBS}/{directory}/{name}"

    def is_live(self, path: str) -> bool:
        """Whether this file, temporary or published, belongs to an upload of this process that has not ended."""
        return path.rsplit("/", 1)[-1].rsplit("-", 1)[-1].partition(".")[0] in self.live

    def dead_temporary_files(self) -> list[str]:
        """The temporary files that no upload of this process writes; earlier processes left them."""
        found = [f"{BLOBS}/{_TEMPORARY}/{name}" for name in _files_in(self._data_dir / BLOBS / _TEMPORARY)]
        return [path for path in found if not self.is_live(path)]

    @contextlib.contextmanager
    def _checking_ground(self) -> Iterator[None]:
        """When a file is missing, checks whether the whole store is."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            self._check_ground()
            raise

    @contextlib.contextmanager
    def _removal_as_such(self) -> Iterator[None]:
        """Raises StoreReplaced when the temporary file of an upload, or a directory for it, was removed."""
        try:
            with self._checking_ground():
                yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreReplaced(
                f"{error.filename2 or error.filename} was removed while the daemon ran. Nothing was acknowledged. If this"
                " remains, restart the daemon: it makes missing directories anew."
            ) from error

    def _make_directory(self, *siblings: str) -> None:
        """Creates the directories, which have the same parent, where they are missing. Their names are durable when it returns.

        A directory that exists may have been made by another thread that has not synced the parent yet, or by a process that
        was killed before it did. So the parent is synced at the first use of a directory in this process, and a thread that
        finds the directory waits for that sync.
        """
        if all(self._is_durable(each) for each in siblings):
            return
        with self._making:
            if all(self._is_durable(each) for each in siblings):
                return
            for each in siblings:
                with _disk_full_as_such(), contextlib.suppress(FileExistsError):
                    os.mkdir(self._data_dir / each, 0o700)
            self._sync_directory(str(Path(siblings[0]).parent))
            self._durable.update(siblings)

    def _is_durable(self, directory: str) -> bool:
        """Whether its name was synced, and nothing has removed it since."""
        return directory in self._durable and (self._data_dir / directory).is_dir()

    def _sync_directory(self, relative: str) -> None:
        descriptor = os.open(self._data_dir / relative, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._sync(descriptor)
        finally:
            os.close(descriptor)

    def _sync(self, descriptor: int) -> None:
        try:
            durable.sync(descriptor)
        except OSError as error:
            self._on_sync_failure(error)
            raise SyncFailed(f"fsync failed: {error}") from error

    def _directories(self) -> list[str]:
        return published_directories(self._data_dir / BLOBS)


def published_directories(blobs_dir: Path) -> list[str]:
    """The names of the directories of published files: two hexadecimal digits. What a user put beside them is left alone."""
    with os.scandir(blobs_dir) as entries:
        return [each.name for each in entries if _PUBLISHED.fullmatch(each.name) and each.is_dir()]


def _files_in(directory: Path) -> list[str]:
    """The names of all entries but directories, sorted."""
    with os.scandir(directory) as entries:
        return sorted(each.name for each in entries if not each.is_dir(follow_symlinks=False))


class FileDraft:
    """The file that one upload writes. Used by one thread at a time. `rename` and `sync_directory` raise StoreReplaced when the
    file or its directory was removed.

    Until `rename` the file is temporary, and `discard` ends the upload and removes it. After `rename`, end the upload with
    `settle`, `doubt` or `remove`.
    """

    def __init__(self, files: BlobFiles, upload_id: str, descriptor: int) -> None:
        self._files = files
        self._upload_id = upload_id
        self._path = f"{BLOBS}/{_TEMPORARY}/{upload_id}"
        self._descriptor: int | None = descriptor

    def write(self, data: bytes) -> None:
        """Appends all of `data`. Raises DiskFull."""
        assert self._descriptor is not None
        view = memoryview(data)
        with _disk_full_as_such():
            while view:
                view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        """Makes the bytes durable. On failure ends the process, or raises SyncFailed if the process goes on."""
        assert self._descriptor is not None
        self._files._sync(self._descriptor)

    def rename(self, digest: str, codec: str) -> str:
        """Renames the file to its final path and returns the path. It is durable after `sync_directory`. Raises DiskFull."""
        hex_digest = digest_hex(digest)
        directory = f"{BLOBS}/{hex_digest[:2]}"
        path = f"{directory}/{hex_digest}-{self._upload_id}{_SUFFIXES[codec]}"
        self._files._check_ground()
        with _disk_full_as_such(), self._files._removal_as_such():
            self._files._make_directory(directory)
            os.rename(self._files._data_dir / self._path, self._files._data_dir / path)
        self._files._unlinked_in.add(f"{BLOBS}/{_TEMPORARY}")  # some file systems keep the two sides of a rename apart
        self._path = path
        self._close()
        return path

    def sync_directory(self) -> None:
        """Makes the final path durable. Fails as `sync`."""
        with self._files._removal_as_such():
            self._files._sync_directory(str(Path(self._path).parent))

    def settle(self) -> None:
        """Ends the upload: a row names the file."""
        self._files.live.discard(self._upload_id)

    def doubt(self, stored_bytes: int) -> None:
        """Ends the upload with unknown outcome: until the sweep asks the writer, a row may or may not name the file."""
        self._files.doubtful[self._path] = stored_bytes
        self.settle()

    def remove(self) -> None:
        """Ends the upload and removes the file, which no row names. Removes nothing when the store was replaced."""
        with contextlib.suppress(StoreReplaced):
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
    """A published file that is open for reading. It stays readable after it is unlinked."""

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
    """Stored bytes from the database, with the methods of StoredFile."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def size(self) -> int:
        return len(self._content)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length]

    def close(self) -> None:
        """Nothing to close."""
