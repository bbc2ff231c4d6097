"""Fills in the checksums of rows that an earlier version wrote, a bounded number of rows and bytes in each command.

The job `checksums` sends the commands. A command names a table and the key after which to go on, so each row is looked at once.
An entry also gets its image. What a row says now is taken as right: it has nothing else to be compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from holdfast.contract.kinds import KINDS, STORED_JOURNALS, Journal, Kind
from holdfastd.errors import DataLoss
from holdfastd.model import checksums
from holdfastd.model.commands import ChecksumsFilled, FillChecksums, FinishChecksums, StoreBlockChecksums
from holdfastd.model.mutations import Change
from holdfastd.store import blobs, entries, meta
from holdfastd.store.engine import Connection
from holdfastd.store.pages import fetch
from holdfastd.store.sql import quoted

Key = tuple[Any, ...]
LookedAt = tuple[Sequence[Sequence[Any]], bool]  # the keys of the rows looked at, and whether these were all rows
Fill = Callable[[Connection, Key, int], LookedAt]  # key to go on after, limit → what was looked at
FILL_BYTES = 4 * 2**20  # of the rows that one command looks at, or of the images that it writes


def is_complete(connection: Connection) -> bool:
    """Whether every row has had its checksum filled in."""
    try:
        return meta.read(connection, meta.CHECKSUMS) == meta.COMPLETE
    except DataLoss:
        return False


def finish(connection: Connection, command: FinishChecksums, now_ns: int) -> None:
    """Notes that every row has its checksum."""
    meta.write(connection, meta.CHECKSUMS, meta.COMPLETE)


def fill(connection: Connection, command: FillChecksums, now_ns: int) -> ChecksumsFilled:
    """Fills in the rows of one table after a key."""
    keys, all_rows = _FILLS[command.table](connection, command.after, command.limit)
    return ChecksumsFilled(None if all_rows else tuple(keys[-1]), len(keys))


def count(connection: Connection) -> tuple[int, int]:
    """How many rows the job examines, and how many raw files without checksums."""
    rows = sum(connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0] for table in TABLES)
    return rows, blobs.count_without_checksums(connection)


def store_blocks(connection: Connection, command: StoreBlockChecksums, now_ns: int) -> None:
    """Adds the checksums of a raw file's blocks, unless the blob has gone or has them."""
    if connection.execute("SELECT 1 FROM blob WHERE digest = ?", (command.digest,)).fetchone():
        connection.execute(
            "INSERT INTO blob_checksum (digest, checksums) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (command.digest, command.checksums),
        )


def _fill_records(kind: Kind, connection: Connection, after: Key, limit: int) -> LookedAt:
    rows, all_rows = _rows(
        connection,
        f"SELECT workspace, id, checksum, image FROM {quoted(kind.name)} WHERE (workspace, id) > (?, ?)"
        " ORDER BY workspace, id LIMIT ?",
        after or ("", ""),
        limit,
    )
    for workspace, id, checksum, image in rows:
        if checksum is None and image is not None:
            value = checksums.of_image(workspace, kind.name, id, image)
            connection.execute(
                f"UPDATE {quoted(kind.name)} SET checksum = ? WHERE workspace = ? AND id = ?", (value, workspace, id)
            )
    return [row[:2] for row in rows], all_rows


def _fill_entries(journal: Journal, connection: Connection, after: Key, limit: int) -> LookedAt:
    table = quoted(journal.name)
    rows, all_rows = _rows(
        connection,
        f"SELECT e.journal_id, e.number, e.checksum, j.workspace, j.parent_kind, j.parent_id FROM {table} AS e"
        " JOIN journal AS j ON j.journal_id = e.journal_id WHERE (e.journal_id, e.number) > (?, ?)"
        " ORDER BY e.journal_id, e.number LIMIT ?",
        after or (0, 0),
        limit,
    )
    size_bytes = 0
    for looked_at, (journal_id, number, checksum, workspace, *parent) in enumerate(rows, 1):
        if checksum is None:
            image = entries.from_columns(connection, journal, journal_id, number)
            value = checksums.of_entry(checksums.journal_seed(workspace, journal.name, *parent), number, image)
            connection.execute(
                f"UPDATE {table} SET image = ?, checksum = ? WHERE journal_id = ? AND number = ?",
                (image, value, journal_id, number),
            )
            size_bytes += len(image)
        if size_bytes > FILL_BYTES:
            return [row[:2] for row in rows[:looked_at]], all_rows and looked_at == len(rows)
    return [row[:2] for row in rows], all_rows


def _fill_changes(connection: Connection, after: Key, limit: int) -> LookedAt:
    rows, all_rows = _rows(
        connection,
        "SELECT changes.revision, ordinal, checksum, changes.workspace, commit_time, actor, request_id, peer_uid, peer_pid,"
        f" {', '.join(Change._fields)} FROM changes JOIN commits ON commits.revision = changes.revision"
        " WHERE (changes.revision, ordinal) > (?, ?)"
        " ORDER BY changes.revision, ordinal LIMIT ?",
        after or (0, 0),
        limit,
    )
    for revision, ordinal, checksum, workspace, time_ns, actor, request_id, uid, pid, *fields in rows:
        if checksum is None:
            change, place = Change(*fields), (revision, ordinal)
            of_image = None
            if change.image is not None:
                of_image = checksums.of_image(workspace, change.kind, change.id, change.image)
            value = checksums.of_change(workspace, place, change, of_image, (time_ns, actor, request_id, uid, pid))
            connection.execute(
                "UPDATE changes SET image_checksum = ?, checksum = ? WHERE revision = ? AND ordinal = ?",
                (of_image, value, *place),
            )
    return [row[:2] for row in rows], all_rows


def _fill_answers(connection: Connection, after: Key, limit: int) -> LookedAt:
    rows, all_rows = _rows(
        connection,
        "SELECT workspace, actor, request_id, checksum, revision, create_time, fingerprint, answer FROM request"
        " WHERE (workspace, actor, request_id) > (?, ?, ?) ORDER BY workspace, actor, request_id LIMIT ?",
        after or ("", "", ""),
        limit,
    )
    for workspace, actor, request_id, checksum, *told in rows:
        if checksum is None:
            key = (workspace, actor, request_id)
            connection.execute(
                "UPDATE request SET checksum = ? WHERE workspace = ? AND actor = ? AND request_id = ?",
                (checksums.of_answer(key, *told), *key),
            )
    return [row[:3] for row in rows], all_rows


def _fill_blobs(connection: Connection, after: Key, limit: int) -> LookedAt:
    rows = blobs.page(connection, str(after[0]) if after else "", limit)
    for row in rows:
        if row.checksum is None:
            connection.execute("UPDATE blob SET checksum = ? WHERE digest = ?", (row.sealed().checksum, row.digest))
    return [(row.digest,) for row in rows], len(rows) < limit


def _rows(connection: Connection, sql: str, after: Key, limit: int) -> tuple[Sequence[Sequence[Any]], bool]:
    """The next rows, at most `limit` and not many more than FILL_BYTES; and whether these were all rows."""
    rows, all_rows = fetch(connection.execute(sql, (*after, limit)), FILL_BYTES)
    return rows, all_rows and len(rows) < limit


_FILLS: dict[str, Fill] = {
    "changes": _fill_changes,
    "request": _fill_answers,
    "blob": _fill_blobs,
    **{name: partial(_fill_records, kind) for name, kind in KINDS.items()},
    **{name: partial(_fill_entries, journal) for name, journal in STORED_JOURNALS.items()},
}
TABLES = tuple(_FILLS)
