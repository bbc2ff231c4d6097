"""The table from each command of `model/commands.py` to the function that applies it. The writer looks functions up here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from holdfastd.model.commands import (
    AllocateIds,
    Command,
    Commit,
    CompactWatches,
    DiscardFile,
    EmptyTrash,
    Exclusive,
    ExpireRequests,
    FillChecksums,
    FinishChecksums,
    FreePages,
    Load,
    RenewBlob,
    StoreBlob,
    StoreBlockChecksums,
    SweepBlobs,
)
from holdfastd.store import blobs, checksum_fill, commits, ledger, loads
from holdfastd.store.engine import Connection

Handler = Callable[[Connection, Any, int], Any]  # connection, command, time in nanoseconds → the command's result
Handlers = Mapping[type[Command[Any]], Handler]


def _run(connection: Connection, command: Exclusive[Any], now_ns: int) -> Any:
    return command.work()


def _free_pages(connection: Connection, command: FreePages, now_ns: int) -> int:
    return connection.engine.free_pages(connection, command.limit)


def handlers(of: ledger.Ledger) -> Handlers:
    """The function for each type of command. `of`: the writer's ledger. All but Exclusive run inside a transaction."""
    return {
        Commit: partial(commits.commit, of),
        Load: partial(loads.load, of),
        AllocateIds: partial(commits.allocate_ids, of),
        CompactWatches: partial(commits.compact_watches, of),
        ExpireRequests: ledger.expire_requests,
        FreePages: _free_pages,
        StoreBlob: blobs.store_blob,
        RenewBlob: blobs.renew_blob,
        SweepBlobs: blobs.sweep,
        EmptyTrash: blobs.empty_trash,
        DiscardFile: blobs.discard_file,
        FillChecksums: checksum_fill.fill,
        StoreBlockChecksums: checksum_fill.store_blocks,
        FinishChecksums: checksum_fill.finish,
        Exclusive: _run,
    }
