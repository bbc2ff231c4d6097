"""Deliberate breaks of the daemon's durability, to show that the tier can fail: each takes out one sync, or one order.

`python -m tests.powerfail.breaks NAME ARGUMENTS` is holdfastd with that break. Breaks replace parts of the running program, at
`os.fsync` where possible, so that they outlive changes of the code around it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.powerfail.recordings import STORE

_BLOBS = "blobs"
_PAGE = 500


def _skip_syncs(skips: Callable[[Path], bool]) -> None:
    """Syncs of what `skips` returns True for do nothing."""
    for name in ("fsync", "fdatasync"):
        setattr(os, name, _skipping(getattr(os, name), skips))


def _skipping(sync: Callable[[int], None], skips: Callable[[Path], bool]) -> Callable[[int], None]:
    def skipping(descriptor: int) -> None:
        if not skips(Path(os.readlink(f"/proc/self/fd/{descriptor}"))):
            sync(descriptor)

    return skipping


def _file_unsynced() -> None:
    """The content of blob files is not synced."""
    _skip_syncs(lambda path: _BLOBS in path.parts and path.is_file())


def _rename_unsynced() -> None:
    """The directory that a blob file was renamed to is not synced."""
    _skip_syncs(lambda path: path.parent.name == _BLOBS and path.is_dir())


def _mkdir_unsynced() -> None:
    """The directory that holds the directories of blob files is not synced."""
    _skip_syncs(lambda path: path.name == _BLOBS and path.is_dir())


def _parents_unsynced() -> None:
    """The directories above the data directory are not synced."""
    _skip_syncs(lambda path: path.is_dir() and STORE.name not in path.parts)


def _database_unsynced() -> None:
    """SQLite syncs nothing."""
    _writers_with("PRAGMA synchronous = OFF")


def _database_normal() -> None:
    """SQLite syncs checkpoints, but not commits."""
    _writers_with("PRAGMA synchronous = NORMAL")


def _writers_with(pragma: str) -> None:
    from holdfastd.store.sqlite.database import Database

    open_writer = Database.open_writer

    def opened(database: Database) -> Any:
        connection = open_writer(database)
        connection.execute(pragma)
        return connection

    Database.open_writer = opened  # type: ignore[assignment, method-assign]


def _checkpoint_unsynced() -> None:
    """A checkpoint syncs neither log nor database."""
    from holdfastd.store.sqlite.checkpoint import LogCheckpointer

    begin = LogCheckpointer.__init__

    def begun(checkpointer: LogCheckpointer, database: Path, open_connection: Callable[[], Any]) -> None:
        def opened() -> Any:
            connection = open_connection()
            connection.execute("PRAGMA synchronous = OFF")
            return connection

        begin(checkpointer, database, opened)

    LogCheckpointer.__init__ = begun  # type: ignore[assignment, method-assign]


def _unlink_before_commit() -> None:
    """The sweep unlinks files before the transaction that deletes their rows is committed."""
    from holdfastd.service.blobs.sweep import BlobSweep
    from holdfastd.store import blobs as rows

    delete_rows = BlobSweep.delete_rows

    def deleted(sweep: BlobSweep, *arguments: Any) -> Any:
        batcher = sweep._writer._batcher
        commit = batcher._commit

        def unlink_and_commit() -> None:
            for path in rows.trash(batcher._connection, _PAGE):
                sweep._files.unlink(path)
            commit()

        batcher._commit = unlink_and_commit  # type: ignore[method-assign]
        try:
            return delete_rows(sweep, *arguments)
        finally:
            del batcher._commit

    BlobSweep.delete_rows = deleted  # type: ignore[assignment, method-assign]


def _told_before_commit() -> None:
    """Callers are told that their commands are durable before the COMMIT."""
    from holdfastd.writer.writer import Writer

    apply = Writer._apply

    def applied(writer: Writer, batch: Any) -> None:
        batcher = writer._batcher
        commit = batcher._commit

        def tell_and_commit() -> None:
            done = [each for each in batch if each.error is None]
            writer._publish([each.result for each in done])
            for each in done:
                each.tell(each)
                each.tell = lambda _: None
            commit()

        batcher._commit = tell_and_commit  # type: ignore[method-assign]
        try:
            apply(writer, batch)
        finally:
            del batcher._commit

    Writer._apply = applied  # type: ignore[assignment, method-assign]


BREAKS: dict[str, Callable[[], None]] = {
    "database-unsynced": _database_unsynced,
    "database-normal": _database_normal,
    "checkpoint-unsynced": _checkpoint_unsynced,
    "file-unsynced": _file_unsynced,
    "rename-unsynced": _rename_unsynced,
    "mkdir-unsynced": _mkdir_unsynced,
    "parents-unsynced": _parents_unsynced,
    "unlink-before-commit": _unlink_before_commit,
    "told-before-commit": _told_before_commit,
}


def main(name: str, arguments: list[str]) -> int:
    from holdfastd.__main__ import main as holdfastd

    BREAKS[name]()
    return holdfastd(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
