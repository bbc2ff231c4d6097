"""Writes files to a temporary directory first, and replaces the targets only when all files are on disk."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from holdfast.domain.manifest import NAME, Manifest

PREFIX = ".holdfast-new-"
COPY_BYTES = 1 << 20


class Staging:
    """The new files of a directory. Its `with` block locks the directory; other processes that use this class wait for it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths: list[str] = []

    def __enter__(self) -> Staging:
        self._lock = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for left in self._root.glob(f"{PREFIX}*"):  # left by a process that died
            shutil.rmtree(left, ignore_errors=True)
        self._aside = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._root))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)
        os.close(self._lock)

    def __bool__(self) -> bool:
        """Whether anything was added."""
        return bool(self._paths)

    def add(self, path: str, content: BinaryIO) -> None:
        """Writes a file to the temporary directory and syncs it. `path` is its path in the directory."""
        with content, (self._aside / str(len(self._paths))).open("xb") as file:
            shutil.copyfileobj(content, file, COPY_BYTES)
            _sync(file)
        self._paths.append(path)

    def put(self, gone: Iterable[str], manifest: Manifest) -> None:
        """Moves the files to their paths, deletes those in `gone`, and moves the manifest last."""
        self.add(NAME, file_of(manifest.to_json()))
        *files, last = enumerate(self._paths)
        for number, path in files:
            self._replace(number, path)
        for path in gone:
            (self._root / path).unlink(missing_ok=True)
        for directory in sorted({(self._root / path).parent for _, path in files}):
            _sync_directory(directory)
        self._replace(*last)
        _sync_directory(self._root)

    def _replace(self, number: int, path: str) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._aside / str(number), target)


def file_of(content: bytes) -> BinaryIO:
    """Returns bytes as a binary file."""
    return io.BytesIO(content)


def _sync(file: BinaryIO | io.BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
