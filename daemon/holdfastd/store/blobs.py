"""The rows of blobs: what is stored, what keeps it, and what the sweep may delete.

A blob is kept while a record or an entry refers to it, a delta is based on it, or its lease runs. The sweep examines only
candidates, never all blobs. A blob becomes a candidate when it is stored (due at the end of its lease), when it loses a
reference, and when a delta based on it is deleted. So each blob that nothing refers to has a row in `blob_candidate`. The
transaction that deletes a blob's row puts its path into `blob_trash`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import astuple, fields, replace
from typing import NamedTuple

from holdfastd.errors import VERIFY_AND_RESTORE, DataLoss, FailedPrecondition, NotFound
from holdfastd.model.blobs import RAW, BlobRow, BlobStat, BlobTotals
from holdfastd.model.commands import DiscardFile, EmptyTrash, RenewBlob, StoreBlob, StoredBlob, SweepBlobs, SweepCounts
from holdfastd.store.engine import Connection

_COLUMN_NAMES = tuple(field.name for field in fields(BlobRow))
_COLUMNS = ", ".join(_COLUMN_NAMES)
_UPDATE = f"UPDATE blob SET {', '.join(f'{name} = ?' for name in _COLUMN_NAMES)} WHERE digest = ?"
_IN_CHAIN = ", ".join(f"blob.{name}" for name in _COLUMN_NAMES)
_INSERT = f"INSERT INTO blob ({_COLUMNS}) VALUES ({', '.join('?' * len(_COLUMN_NAMES))})"
_WITH_CHAIN = """
    WITH RECURSIVE chain (digest, base_digest, position) AS (
        SELECT digest, base_digest, 0 FROM blob WHERE digest = ?
        UNION ALL
        SELECT base.digest, base.base_digest, chain.position + 1 FROM chain JOIN blob AS base ON base.digest = chain.base_digest
    )
"""
_CHAIN = f"""
    {_WITH_CHAIN} SELECT {_IN_CHAIN}, blob_inline.content
    FROM chain JOIN blob ON blob.digest = chain.digest LEFT JOIN blob_inline ON blob_inline.digest = chain.digest
    ORDER BY chain.position
"""
_CHAIN_SIZES = f"""
    {_WITH_CHAIN} SELECT {_IN_CHAIN}, length(blob_inline.content)
    FROM chain JOIN blob ON blob.digest = chain.digest LEFT JOIN blob_inline ON blob_inline.digest = chain.digest
    ORDER BY chain.position
"""
_UPPER_LEVEL = f"""
    WITH RECURSIVE chain (digest, base_digest, step) AS (
        SELECT digest, base_digest, step FROM blob WHERE digest = ?
        UNION ALL
        SELECT base.digest, base.base_digest, base.step FROM chain JOIN blob AS base ON base.digest = chain.base_digest
        WHERE chain.step > 0
    )
    SELECT {_IN_CHAIN} FROM chain JOIN blob ON blob.digest = chain.digest WHERE chain.step = 0
"""
# PostgreSQL sums integers as decimals.
_TOTALS = """
    SELECT count(*), CAST(coalesce(sum(size_bytes), 0) AS BIGINT), CAST(coalesce(sum(stored_bytes), 0) AS BIGINT) FROM blob
"""
_AT_ONCE = 0  # a due time in 1970
_LATER_NS = 3600 * 10**9  # until a candidate with a damaged row is examined again
_DUE = "SELECT digest FROM blob_candidate WHERE due_time <= ? ORDER BY due_time, digest LIMIT ?"
_MAKE_CANDIDATE = """
    INSERT INTO blob_candidate (digest, due_time) VALUES (?, ?)
    ON CONFLICT (digest) DO UPDATE SET due_time = excluded.due_time
"""
# The condition on the empty path is that of the index blob_by_path.
NAMES_PATH = (
    "SELECT 1 FROM blob WHERE path = ? AND path <> ''",
    "SELECT 1 FROM blob_trash WHERE path = ?",
)
# PostgreSQL's substr takes no BIGINT, and every parameter is one.
_CHECKSUMS = """
    SELECT substr(checksums, CAST(CAST(? AS BIGINT) AS INTEGER), CAST(CAST(? AS BIGINT) AS INTEGER))
    FROM blob_checksum WHERE digest = ?
"""
_HAS_NO_CHECKSUMS = """
    FROM blob WHERE codec = ? AND path <> '' AND NOT EXISTS (SELECT 1 FROM blob_checksum WHERE blob_checksum.digest = blob.digest)
"""
_WITHOUT_CHECKSUMS = f"SELECT digest {_HAS_NO_CHECKSUMS} AND digest > ? ORDER BY digest LIMIT ?"
_NEEDED = """
    SELECT EXISTS (SELECT 1 FROM blob_reference WHERE digest = ?) OR EXISTS (SELECT 1 FROM blob WHERE base_digest = ?)
"""


class Link(NamedTuple):
    """One blob of a chain: its row, and its stored bytes if they are in the database."""

    row: BlobRow
    content: bytes | None


# Reads


def blob(connection: Connection, digest: str) -> BlobRow | None:
    """The row of a blob."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM blob WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else BlobRow(*row)


def chain(connection: Connection, digest: str) -> list[Link]:
    """The blob, its base, the base's base … Empty when there is no such blob."""
    rows = connection.execute(_CHAIN, (digest,)).fetchall()
    return [Link(BlobRow(*row[:-1]), None if row[-1] is None else bytes(row[-1])) for row in rows]


def chain_sizes(connection: Connection, digest: str) -> list[tuple[BlobRow, int | None]]:
    """The rows of `chain`, each with the size of its stored bytes if they are in the database. Reads none of them."""
    return [(BlobRow(*row), size) for *row, size in connection.execute(_CHAIN_SIZES, (digest,))]


def upper_level(connection: Connection, digest: str) -> BlobRow | None:
    """The nearest blob of the chain with step 0; None when the chain is broken above it."""
    row = connection.execute(_UPPER_LEVEL, (digest,)).fetchone()
    return None if row is None else BlobRow(*row)


def stat(connection: Connection, digest: str) -> BlobStat | None:
    """The row of a blob and the number of fields that refer to it."""
    row = blob(connection, digest)
    return None if row is None else BlobStat(row, reference_count(connection, digest))


def reference_count(connection: Connection, digest: str) -> int:
    """The number of fields of records and entries that refer to the blob."""
    return int(connection.execute("SELECT count(*) FROM blob_reference WHERE digest = ?", (digest,)).fetchone()[0])


def block_checksums(connection: Connection, digest: str, place: slice) -> bytes | None:
    """The bytes at `place` of the checksums of a raw file's blocks. None when the store does not have them yet."""
    row = connection.execute(_CHECKSUMS, (place.start + 1, place.stop - place.start, digest)).fetchone()
    return None if row is None else bytes(row[0] or b"")


def without_checksums(connection: Connection, after: str, limit: int) -> list[str]:
    """Up to `limit` digests of raw files whose blocks have no checksums, in order, beginning after `after`."""
    return [digest for (digest,) in connection.execute(_WITHOUT_CHECKSUMS, (RAW, after, limit))]


def count_without_checksums(connection: Connection) -> int:
    """How many raw files have no checksums of their blocks."""
    return int(connection.execute(f"SELECT count(*) {_HAS_NO_CHECKSUMS}", (RAW,)).fetchone()[0])


def totals(connection: Connection) -> BlobTotals:
    """Number and size of all blobs."""
    row = connection.execute(_TOTALS).fetchone()
    return BlobTotals(*row)


def trash(connection: Connection, limit: int) -> list[str]:
    """Paths of files to unlink."""
    return [path for (path,) in connection.execute("SELECT path FROM blob_trash ORDER BY path LIMIT ?", (limit,))]


def trash_count(connection: Connection) -> int:
    """How many files wait to be unlinked."""
    return int(connection.execute("SELECT count(*) FROM blob_trash").fetchone()[0])


def some_paths(connection: Connection, limit: int) -> list[str]:
    """The paths of some blobs that have files."""
    return [path for (path,) in connection.execute("SELECT path FROM blob WHERE path <> '' ORDER BY path LIMIT ?", (limit,))]


def named_paths(connection: Connection, paths: Sequence[str]) -> set[str]:
    """The paths that a blob's row or the trash names."""
    return {path for path in paths if any(connection.execute(sql, (path,)).fetchone() for sql in NAMES_PATH)}


def page(connection: Connection, after: str, limit: int) -> list[BlobRow]:
    """Up to `limit` rows in the order of their digests, beginning after `after`."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM blob WHERE digest > ? ORDER BY digest LIMIT ?", (after, limit)).fetchall()
    return [BlobRow(*row) for row in rows]


def is_sweep_due(connection: Connection, now_ns: int) -> bool:
    """Whether a sweep would examine a blob now."""
    return connection.execute(_DUE, (now_ns, 1)).fetchone() is not None


def preview_sweep(connection: Connection, now_ns: int) -> SweepCounts:
    """What a sweep would delete now, including bases whose last delta it would delete. Writes nothing."""
    waiting = [row[0] for row in connection.execute("SELECT digest FROM blob_candidate WHERE due_time <= ?", (now_ns,))]
    examined, deleted = len(waiting), dict[str, BlobRow]()
    while waiting:
        row = blob(connection, waiting.pop())
        if row is None or row.digest in deleted or not row.is_intact:
            continue
        if row.lease_expire_time > now_ns or reference_count(connection, row.digest):
            continue
        dependents = connection.execute("SELECT digest FROM blob WHERE base_digest = ?", (row.digest,)).fetchall()
        if any(dependent[0] not in deleted for dependent in dependents):
            continue
        deleted[row.digest] = row
        if row.base_digest is not None:
            waiting.append(row.base_digest)
    return _counts(examined, deleted.values())


# References, written by `store/records.py` and `store/entry_blobs.py` in the transaction of the record or entry


def size_bytes(connection: Connection, digest: str) -> int:
    """The plain size of a blob; FAILED_PRECONDITION (BLOB_NOT_FOUND) when there is none."""
    row = connection.execute("SELECT size_bytes FROM blob WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        message = f"There is no blob {digest}. Put it first; without a reference it is kept until its lease ends."
        raise FailedPrecondition(message, reason="BLOB_NOT_FOUND", digest=digest)
    return int(row[0])


def reference(connection: Connection, digest: str, workspace: str, kind: str, id: str, field: str) -> int:
    """Adds a reference, which keeps the blob, and returns the blob's plain size.

    FAILED_PRECONDITION (BLOB_NOT_FOUND) when there is no such blob.
    """
    size = size_bytes(connection, digest)
    connection.execute(
        "INSERT INTO blob_reference (digest, workspace, kind, id, field) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (digest, workspace, kind, id, field),
    )
    return size


def unreference(connection: Connection, digest: str, workspace: str, kind: str, id: str, field: str) -> None:
    """Deletes the reference and makes the blob a candidate: the next sweep checks whether other fields refer to it."""
    deleted = connection.execute(
        "DELETE FROM blob_reference WHERE digest = ? AND workspace = ? AND kind = ? AND id = ? AND field = ?",
        (digest, workspace, kind, id, field),
    )
    if deleted.rowcount:
        connection.execute(_MAKE_CANDIDATE, (digest, _AT_ONCE))


def unreference_all(connection: Connection, workspace: str, kind: str, id: str) -> None:
    """Deletes all references of one record or entry, as `unreference` does."""
    deleted = connection.execute(
        "DELETE FROM blob_reference WHERE workspace = ? AND kind = ? AND id = ? RETURNING digest", (workspace, kind, id)
    )
    for (digest,) in deleted.fetchall():
        connection.execute(_MAKE_CANDIDATE, (digest, _AT_ONCE))


# Commands, applied by the writer in its transaction


def store_blob(connection: Connection, command: StoreBlob, now_ns: int) -> StoredBlob:
    """Inserts the row of a blob with a lease. When the digest has a row already, renews that row's lease.

    With `in_place_of`, replaces the stored bytes of a row that still has that path.
    """
    renewed = renew_blob(connection, RenewBlob(command.digest, command.lease_ns), now_ns)
    if renewed is not None:
        return renewed if renewed.row.path != command.in_place_of else _replace(connection, renewed.row, command, now_ns)
    _check_base(connection, command)
    row = _row_of(command, now_ns + command.lease_ns, now_ns)
    connection.execute(_INSERT, astuple(row))
    _insert_bytes(connection, command)
    connection.execute(_MAKE_CANDIDATE, (row.digest, row.lease_expire_time))
    return StoredBlob(row, False, _revision(connection))


def renew_blob(connection: Connection, command: RenewBlob, now_ns: int) -> StoredBlob | None:
    """Extends the lease and never shortens it; None when there is no such blob."""
    if (row := blob(connection, command.digest)) is None:
        return None
    # Nothing is deleted whose row is damaged, so that needs no lease. Its own may not even be a number.
    if row.is_intact and (lease := now_ns + command.lease_ns) > row.lease_expire_time:
        row = replace(row, lease_expire_time=lease).sealed()
        connection.execute(
            "UPDATE blob SET lease_expire_time = ?, checksum = ? WHERE digest = ?", (lease, row.checksum, row.digest)
        )
        connection.execute(_MAKE_CANDIDATE, (row.digest, lease))
    return StoredBlob(row, True, _revision(connection))


def sweep(connection: Connection, command: SweepBlobs, now_ns: int) -> SweepCounts:
    """Examines the due candidates: a leased blob stays a candidate, a needed one does not, any other is deleted.

    Deleting a delta makes its base a candidate, which the next command examines. So it takes one command for each blob of a chain
    to delete the chain.
    """
    due = [row[0] for row in connection.execute(_DUE, (now_ns, command.limit)).fetchall()]
    gone = [row for digest in due if (row := _examine(connection, digest, now_ns)) is not None]
    return _counts(len(due), gone)


def empty_trash(connection: Connection, command: EmptyTrash, now_ns: int) -> None:
    """Deletes the rows of files that were unlinked."""
    named = connection.dialect.any_of("path", command.paths)
    connection.execute(f"DELETE FROM blob_trash WHERE {named.sql}", named.parameters)


def discard_file(connection: Connection, command: DiscardFile, now_ns: int) -> bool:
    """Puts a file into the trash, unless a blob's row or the trash names it. Returns whether it did."""
    if named_paths(connection, [command.path]):
        return False
    connection.execute("INSERT INTO blob_trash (path, stored_bytes) VALUES (?, ?)", (command.path, command.stored_bytes))
    return True


def _replace(connection: Connection, old: BlobRow, command: StoreBlob, now_ns: int) -> StoredBlob:
    """Gives the row other stored bytes. References to the blob and deltas based on it stay; the old file goes into the trash.

    Nothing of a damaged row is used: its path may be that of another blob. `recover` finds the old file.
    """
    assert command.base_digest is None, "bytes that replace others must be a whole blob"
    if not old.is_intact:
        old = replace(old, path="", base_digest=None, lease_expire_time=now_ns + command.lease_ns, create_time=now_ns)
        connection.execute(_MAKE_CANDIDATE, (old.digest, old.lease_expire_time))
    _delete_bytes(connection, old)
    row = _row_of(command, old.lease_expire_time, old.create_time)
    connection.execute(_UPDATE, (*astuple(row), old.digest))
    _insert_bytes(connection, command)
    return StoredBlob(row, False, _revision(connection))


def _insert_bytes(connection: Connection, command: StoreBlob) -> None:
    """Inserts what the database holds of the stored bytes. The row exists."""
    if command.content is not None:
        connection.execute("INSERT INTO blob_inline (digest, content) VALUES (?, ?)", (command.digest, command.content))
    elif command.checksums:
        connection.execute("INSERT INTO blob_checksum (digest, checksums) VALUES (?, ?)", (command.digest, command.checksums))


def _delete_bytes(connection: Connection, row: BlobRow) -> None:
    """Deletes what `_insert_bytes` inserted, puts the file into the trash, and makes the base a candidate."""
    connection.execute("DELETE FROM blob_inline WHERE digest = ?", (row.digest,))
    connection.execute("DELETE FROM blob_checksum WHERE digest = ?", (row.digest,))
    if row.path:
        connection.execute("INSERT INTO blob_trash (path, stored_bytes) VALUES (?, ?)", (row.path, row.stored_bytes))
    if row.base_digest is not None:
        connection.execute(_MAKE_CANDIDATE, (row.base_digest, _AT_ONCE))


def _counts(examined: int, gone: Collection[BlobRow]) -> SweepCounts:
    return SweepCounts(examined, len(gone), sum(row.stored_bytes for row in gone), sum(1 for row in gone if row.path))


def _row_of(command: StoreBlob, lease_expire_time: int, create_time: int) -> BlobRow:
    return BlobRow(
        digest=command.digest,
        size_bytes=command.size_bytes,
        stored_bytes=command.stored_bytes,
        stored_digest=command.stored_digest,
        codec=command.codec,
        key_id=command.key_id,
        path=command.path,
        base_digest=command.base_digest,
        depth=command.depth,
        step=command.step,
        lease_expire_time=lease_expire_time,
        create_time=create_time,
    ).sealed()


def _check_base(connection: Connection, command: StoreBlob) -> None:
    if command.base_digest is None:
        return
    base = blob(connection, command.base_digest)
    # A base that was swept and stored again may have another depth than the row that the delta was made for.
    if base is None or base.depth + 1 != command.depth:
        message = f"The base {command.base_digest} does not exist any more. Send the whole content."
        raise NotFound(message, reason="BASE_NOT_FOUND", digest=command.base_digest)


def _examine(connection: Connection, digest: str, now_ns: int) -> BlobRow | None:
    """Examines one candidate. Returns its row when it was deleted, else None. A blob whose row is damaged stays a candidate."""
    row = blob(connection, digest)
    if row is not None and not row.is_intact:
        connection.execute(_MAKE_CANDIDATE, (digest, now_ns + _LATER_NS))
        return None
    if row is not None and row.lease_expire_time > now_ns:
        connection.execute(_MAKE_CANDIDATE, (digest, row.lease_expire_time))
        return None
    if not connection.execute("DELETE FROM blob_candidate WHERE digest = ?", (digest,)).rowcount:  # it would stay due for ever
        message = f"An index does not find the candidate {digest} of the sweep. Nothing was deleted. {VERIFY_AND_RESTORE}"
        raise DataLoss(message, reason="INDEX_DAMAGED", digest=digest)
    if row is None or connection.execute(_NEEDED, (digest, digest)).fetchone()[0]:
        return None
    _delete(connection, row)
    return row


def _delete(connection: Connection, row: BlobRow) -> None:
    _delete_bytes(connection, row)
    connection.execute("DELETE FROM blob WHERE digest = ?", (row.digest,))


def _revision(connection: Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(revision), 0) FROM commits").fetchone()[0])
