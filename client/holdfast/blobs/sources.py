"""The sources of a blob's content: bytes, a path, or a binary file. They are read in chunks, and from the start for a retry."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

CHUNK_BYTES = 1 << 20


class Readable(Protocol):
    """A binary file."""

    def read(self, size: int = -1, /) -> bytes:
        """Returns the next bytes; empty at the end."""


SourceLike = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO | Readable


@dataclass(frozen=True, slots=True)
class Source:
    """A content that can be read once, or any number of times if `repeatable`. `size_bytes` is None if it is not known yet."""

    chunks: Callable[[], Iterator[bytes]]
    size_bytes: int | None
    repeatable: bool
    name: str = ""


def source_of(value: SourceLike | io.TextIOBase) -> Source:
    """Returns a source for bytes, a path (`str` or `Path`), or a binary file, which is read from its current position."""
    if isinstance(value, bytes | bytearray | memoryview):
        view = memoryview(value).cast("B")
        return Source(lambda: _slices(view), len(view), repeatable=True)
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        return Source(lambda: _path_chunks(path), os.stat(path).st_size, repeatable=True, name=os.path.basename(path))
    if isinstance(value, io.TextIOBase):
        raise TypeError("The file is open for text; open it in binary mode.")
    if hasattr(value, "read"):
        return _file_source(value)
    raise TypeError(f"A source is bytes, a path or a binary file, not {type(value).__name__}.")


def _slices(view: memoryview) -> Iterator[bytes]:
    for start in range(0, len(view), CHUNK_BYTES):
        yield bytes(view[start : start + CHUNK_BYTES])


def _path_chunks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from _file_chunks(file)


def _file_chunks(file: Readable) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _file_source(file: Readable) -> Source:
    name = getattr(file, "name", "")
    known = os.path.basename(name) if isinstance(name, str) else ""
    seekable = getattr(file, "seekable", None)
    if seekable is None or not seekable():
        return Source(lambda: _file_chunks(file), None, repeatable=False, name=known)
    start = file.tell()  # type: ignore[attr-defined]

    def again() -> Iterator[bytes]:
        file.seek(start)  # type: ignore[attr-defined]
        yield from _file_chunks(file)

    return Source(again, None, repeatable=True, name=known)
