"""Writes files to a temporary directory first, and replaces the targets only when all files are on disk.

Follows no symbolic link in the directory: a link at a target is replaced, and one on the way to a target is an error.
"""

from __future__ import annotations

import fcntl
import io
import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from holdfast.domain import own_files
from holdfast.domain.manifest import NAME, Manifest
from holdfast.errors import FailedPrecondition

PREFIX = ".holdfast-new-"
COPY_BYTES = 1 << 20


class Staging:
    """The new files of a directory. Its `with` block locks the directory; other processes that use this class wait for it.

    `root` is a descriptor of the directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths: list[str] = []

    def __enter__(self) -> Staging:
        with ExitStack() as exits:
            self.root = exits.enter_context(own_files.opened(self._directory))
            fcntl.flock(self.root, fcntl.LOCK_EX)
            for left in os.listdir(self.root):
                if left.startswith(PREFIX):  # by a process that died
                    shutil.rmtree(left, ignore_errors=True, dir_fd=self.root)
            self._name = f"{PREFIX}{secrets.token_hex(8)}"
            os.mkdir(self._name, 0o700, dir_fd=self.root)
            exits.callback(shutil.rmtree, self._name, ignore_errors=True, dir_fd=self.root)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._exits.close()

    def __bool__(self) -> bool:
        """Whether anything was added."""
        return bool(self._paths)

    def add(self, path: str, content: BinaryIO) -> None:
        """Writes a file to the temporary directory and syncs it. `path` is its path in the directory."""
        with content, self._create(str(len(self._paths))) as file:
            shutil.copyfileobj(content, file, COPY_BYTES)
            _sync(file)
        self._paths.append(path)

    def put(self, gone: Iterable[str], manifest: Manifest) -> None:
        """Moves the files to their paths, deletes those in `gone`, and moves the manifest last.

        Raises FailedPrecondition, before the first file is moved, if a directory on the way to a path is a symbolic link.
        """
        self.add(NAME, file_of(manifest.to_json()))
        for path in self._paths:
            own_files.make_parents(self.root, path)
        *files, last = enumerate(self._paths)
        for number, path in files:
            self._replace(number, path)
        deleted = [path for path in gone if self._delete(path)]
        for path in {os.path.dirname(each): each for each in (*self._paths, *deleted)}.values():
            self._sync_parent(path)
        self._replace(*last)
        self._sync_parent(NAME)

    def _create(self, number: str) -> BinaryIO:
        with own_files.parent_of(self.root, f"{self._name}/{number}") as (aside, name):
            return open(
                self._directory / self._name / name,
                "xb",
                opener=lambda _, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666, dir_fd=aside),
            )

    def _replace(self, number: int, path: str) -> None:
        with (
            own_files.parent_of(self.root, f"{self._name}/{number}") as (aside, new),
            own_files.parent_of(self.root, path) as (parent, name),
        ):
            os.replace(new, name, src_dir_fd=aside, dst_dir_fd=parent)

    def _delete(self, path: str) -> bool:
        """Deletes the file at the path, or a link in its place. Returns False if a directory on the way is missing or a link."""
        try:
            with own_files.parent_of(self.root, path) as (parent, name):
                os.unlink(name, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError, FailedPrecondition):
            return False
        return True

    def _sync_parent(self, path: str) -> None:
        with own_files.parent_of(self.root, path) as (parent, _):
            os.fsync(parent)


def file_of(content: bytes) -> BinaryIO:
    """Returns bytes as a binary file."""
    return io.BytesIO(content)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
