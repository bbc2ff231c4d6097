"""Journals in SQL: appends to one, deletes it with its parent.

The writer caches the last number of the journals to which it appends (`Heads`), so that an append is one insert without a query.
The cache is cleared whenever a command is rolled back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.contract.kinds import Journal
from holdfastd.errors import VersionMismatch
from holdfastd.model.checksums import of_entry
from holdfastd.model.entry_images import EntryImages
from holdfastd.model.mutations import Append
from holdfastd.store import entry_blobs
from holdfastd.store.engine import Connection
from holdfastd.store.journal_heads import Heads, JournalHead, JournalKey, load
from holdfastd.store.sql import blob_entry_columns, entry_columns, quoted


def append(connection: Connection, heads: Heads, workspace: str, mutation: Append, revision: int, now_ns: int) -> tuple[int, int]:
    """Adds the entries and returns the first and last of their numbers; (0, 0) when there are none."""
    journal = mutation.journal
    key = (workspace, journal.name, mutation.parent_kind, mutation.parent_id)
    head = heads.get(key) or load(connection, heads, journal, key)
    _check_expected(mutation, head.last_number)
    if not mutation.rows:
        return 0, 0
    given: Sequence[Sequence[Any]] = mutation.rows
    columns = entry_columns(journal)
    if mutation.blobs:
        given, columns = entry_blobs.completed(connection, mutation), blob_entry_columns(journal)
    if not head.journal_id:  # after the checks, so that an append without entries creates no journal
        head.journal_id = make(connection, key)
    first = head.last_number + 1
    rows = _rows(head, EntryImages(journal, revision, now_ns), given, (revision, now_ns))
    connection.insert_rows(quoted(journal.name), columns, rows)
    if mutation.blobs:
        entry_blobs.refer(connection, key, first, mutation)
    head.last_number += len(rows)
    heads.put(key, head)
    return first, head.last_number


def _rows(head: JournalHead, images: EntryImages, rows: Sequence[Sequence[Any]], commit: tuple[int, int]) -> list[Sequence[Any]]:
    """The rows of the table. commit: revision and time."""
    journal_id, seed, image_of = head.journal_id, head.seed, images.image  # an append may have 10,000 entries
    stored: list[Sequence[Any]] = []
    for number, (*columns, value) in enumerate(rows, head.last_number + 1):
        image = image_of(number, value)
        stored.append((journal_id, number, *commit, *columns, image, of_entry(seed, number, image)))
    return stored


def _check_expected(mutation: Append, last_number: int) -> None:
    expected = mutation.expected_last_number
    if expected is not None and expected != last_number:
        raise VersionMismatch(
            f"The {mutation.journal.name} of {mutation.parent_kind} {mutation.parent_id} ends at entry {last_number},"
            f" not {expected}. Read the new entries and decide.",
            expected=expected,
            actual=last_number,
        )


def make(connection: Connection, key: JournalKey, first_number: int = 1) -> int:
    """Inserts the row of a journal, whose first entry will have that number. Returns its id."""
    (journal_id,) = connection.execute(
        "INSERT INTO journal (journal_id, workspace, journal, parent_kind, parent_id, first_number)"
        " SELECT COALESCE(MAX(journal_id), 0) + 1, ?, ?, ?, ?, CAST(? AS BIGINT) FROM journal WHERE true RETURNING journal_id",
        (*key, first_number),
    ).fetchone()
    return int(journal_id)


def drop(connection: Connection, heads: Heads, journal: Journal, key: JournalKey, head: JournalHead) -> None:
    """Deletes a journal with all its entries and their references to blobs."""
    entry_blobs.release(connection, journal, key, head.journal_id)
    connection.execute(f"DELETE FROM {quoted(journal.name)} WHERE journal_id = ?", (head.journal_id,))
    connection.execute("DELETE FROM journal WHERE journal_id = ?", (head.journal_id,))
    heads.clear()
