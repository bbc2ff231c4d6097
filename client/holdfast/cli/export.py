"""Exports the contexts of a session into a directory, all or none, as plain files. Called by `cat --all`."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from holdfast.cli.json_form import json_form, json_line
from holdfast.cli.text import visible
from holdfast.errors import FailedPrecondition
from holdfast.v1 import record_pb2

if TYPE_CHECKING:
    from holdfast.store import Store

INDEX = "checkpoints.jsonl"
ID_CHARACTERS = 150

_SUFFIXES = {"application/json": ".json", "text/plain": ".txt"}


@dataclass(frozen=True, slots=True)
class Exported:
    """The number and total size of the contexts written."""

    contexts: int
    size_bytes: int


def export_contexts(store: Store, session_id: str, directory: Path) -> Exported:
    """Writes `NUMBER-ID.json` (`.txt`, `.bin`) for each checkpoint of the session, and `checkpoints.jsonl` with all their fields.

    The files are written and synced in a temporary directory, which is then renamed. Raises FailedPrecondition when the
    directory exists and is not empty, NotFound when the session does not exist, DataLoss when a context is damaged.
    """
    store.sessions.get(session_id)
    target = directory.absolute()
    _check_free(target)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        exported = _write_all(store, session_id, partial)
        _sync_directory(partial)
        partial.chmod(0o777 & ~_umask())
        _check_free(target)
        partial.rename(target)  # replaces an empty directory; fails for anything else
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync_directory(target.parent)
    return exported


def _check_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not _is_empty(target)):
        said = f"{visible(str(target))} exists already. Give a directory that does not exist yet, or an empty one."
        raise FailedPrecondition(said, reason="DIRECTORY_EXISTS")


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _write_all(store: Store, session_id: str, partial: Path) -> Exported:
    contexts = size_bytes = 0
    with (partial / INDEX).open("w", encoding="utf-8") as index:
        for each in store.checkpoints.list(session_id, order_by="number"):
            name = _file_name(each.message) if each.context_digest else None
            if name is not None:
                size_bytes += _write_context(store, each.context_digest, partial / name)
                contexts += 1
            index.write(json_line({"file": name, **json_form(each.message)}) + "\n")
        index.flush()
        os.fsync(index.fileno())
    return Exported(contexts, size_bytes)


def _file_name(checkpoint: record_pb2.Checkpoint) -> str:
    """A name that sorts by the number, which is unique in a session. The id is quoted because it may contain any character."""
    suffix = _SUFFIXES.get(checkpoint.context_type.partition(";")[0], ".bin")
    return f"{checkpoint.number:06d}-{quote(checkpoint.id, safe='')[:ID_CHARACTERS]}{suffix}"


def _write_context(store: Store, digest: str, path: Path) -> int:
    with path.open("xb") as file:
        for chunk in store.blobs.chunks(digest, 0, 0):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _umask() -> int:
    """The process's umask. It can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
