"""Files as sources of blobs. Those named `.gz` and `.zst` are decompressed as they are read."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import zstandard

from holdfast.blobs.sources import CHUNK_BYTES, Source
from holdfast.contract.content_types import content_type_of
from holdfast.errors import InvalidArgument

Opened = AbstractContextManager[Any]


def unpacked(path: Path) -> Source:
    """Returns the content of a file as a source, which keeps one chunk in memory. Reading raises OSError, InvalidArgument."""
    return Source(lambda: _chunks(path), None, repeatable=True, name=plain_name(path))


def unpacked_text(path: Path) -> Source:
    """As `unpacked`, for a file of UTF-8 text. Reading raises InvalidArgument for other bytes."""
    return Source(lambda: _checked_text(path), None, repeatable=True, name=plain_name(path))


def plain_name(path: Path) -> str:
    """The file's name without the suffix of its compression."""
    return path.stem if path.suffix in _OPENERS else path.name


def type_of(path: Path) -> str:
    """The content type of a file's plain content, by its name; empty if it is not known."""
    return content_type_of(plain_name(path)) or ""


def _open_plain(path: Path) -> Opened:
    return path.open("rb")


def _open_gzip(path: Path) -> Opened:
    return gzip.open(path, "rb")


def _open_zstd(path: Path) -> Opened:
    opened: Opened = zstandard.open(path, "rb", dctx=zstandard.ZstdDecompressor(max_window_size=2**27))
    return opened


_OPENERS: dict[str, Callable[[Path], Opened]] = {".gz": _open_gzip, ".zst": _open_zstd}


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with _OPENERS.get(path.suffix, _open_plain)(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise InvalidArgument(f"{path} cannot be decompressed: {error}.", reason="FILE_DAMAGED") from None
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}.", reason="FILE_UNREADABLE") from None


def _checked_text(path: Path) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in _chunks(path):
            decoder.decode(chunk)
            yield chunk
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path} is not UTF-8 text. Put it into an artifact.", reason="FILE_NOT_TEXT") from None
