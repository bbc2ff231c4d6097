"""Journals in SQL: finds one, appends to it, deletes it with its parent.

The writer caches the last number of the journals to which it appends (`Heads`), so that an append is one insert without a query.
The cache is cleared whenever a command is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.contract.kinds import KINDS, STORED_JOURNALS, Journal
from holdfastd.errors import DataLoss, FailedPrecondition, VersionMismatch
from holdfastd.model.checksums import journal_seed, of_entry
from holdfastd.model.entry_images import EntryImages
from holdfastd.model.mutations import APPEND, Append
from holdfastd.store import entry_blobs
from holdfastd.store.engine import Connection
from holdfastd.store.entry_blobs import JournalKey
from holdfastd.store.records import exists
from holdfastd.store.sql import blob_entry_columns, entry_columns, quoted


@dataclass(slots=True)
class JournalHead:
    """A journal's id and the numbers of its first and last entry. `journal_id` is 0 until the journal's row is inserted.

    seed: of the checksums of its entries, as `checksums.journal_seed`.
    """

    journal_id: int
    first_number: int
    last_number: int
    seed: int


MAX_HEADS = 10_000


class Heads(dict[JournalKey, JournalHead]):
    """The heads of journals with recent appends. Used only by the thread that holds the writer's connection."""

    def put(self, key: JournalKey, head: JournalHead) -> None:
        """Adds a journal. When MAX_HEADS are cached, drops all others first."""
        if len(self) >= MAX_HEADS:
            self.clear()
        self[key] = head


def find(connection: Connection, journal: Journal, workspace: str, parent_kind: str, parent_id: str) -> JournalHead | None:
    """The journal of a parent; None when nothing was ever appended to it."""
    row = connection.execute(
        "SELECT journal_id, first_number FROM journal WHERE workspace = ? AND journal = ? AND parent_kind = ? AND parent_id = ?",
        (workspace, journal.name, parent_kind, parent_id),
    ).fetchone()
    if row is None:
        return None
    journal_id, first_number = row
    check_numbers(journal, row)
    (last_number,) = connection.execute(
        f"SELECT COALESCE(MAX(number), ?) FROM {quoted(journal.name)} WHERE journal_id = ?", (first_number - 1, journal_id)
    ).fetchone()
    check_numbers(journal, [last_number])
    return JournalHead(journal_id, first_number, last_number, journal_seed(workspace, journal.name, parent_kind, parent_id))


def last_in_history(connection: Connection, journal: Journal, workspace: str, parent_kind: str, parent_id: str) -> int:
    """The number of the last entry that the history has; 0 when the newest change of the journal is not an append."""
    row = connection.execute(
        "SELECT action, last_number FROM changes WHERE workspace = ? AND kind = ? AND id = ? AND parent_kind = ?"
        " ORDER BY revision DESC, ordinal DESC LIMIT 1",
        (workspace, journal.name, parent_id, parent_kind),
    ).fetchone()
    if not row or row[0] != APPEND:
        return 0
    check_numbers(journal, row[1:])
    return int(row[1])


def check_numbers(journal: Journal, values: Iterable[Any]) -> None:
    """DATA_LOSS (INDEX_DAMAGED) unless all are numbers: damage may have changed the type of a column or of a key of an index."""
    if any(value.__class__ is not int for value in values):
        raise DataLoss(
            f"An index of the {journal.name} entries is damaged. Run verify, and restore a backup.",
            reason="INDEX_DAMAGED",
            journal=journal.name,
        )


def append(connection: Connection, heads: Heads, workspace: str, mutation: Append, revision: int, now_ns: int) -> tuple[int, int]:
    """Adds the entries and returns the first and last of their numbers; (0, 0) when there are none."""
    journal = mutation.journal
    key = (workspace, journal.name, mutation.parent_kind, mutation.parent_id)
    head = heads.get(key) or _find(connection, journal, key)
    _check_expected(mutation, head.last_number)
    if not mutation.rows:
        return 0, 0
    given: Sequence[Sequence[Any]] = mutation.rows
    columns = entry_columns(journal)
    if mutation.blobs:
        given, columns = entry_blobs.completed(connection, mutation), blob_entry_columns(journal)
    if not head.journal_id:  # after the checks, so that an append without entries creates no journal
        head.journal_id = _make(connection, key)
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


def _find(connection: Connection, journal: Journal, key: JournalKey) -> JournalHead:
    """The journal's head; with id 0 when the journal has no row yet. FAILED_PRECONDITION when the parent does not exist."""
    workspace, _, parent_kind, parent_id = key
    found = find(connection, journal, workspace, parent_kind, parent_id)
    if found is not None:
        return found
    if not exists(connection, KINDS[parent_kind], workspace, parent_id):
        raise FailedPrecondition(
            f"There is no {parent_kind} {parent_id} in workspace {workspace} to append to.",
            reason="PARENT_NOT_FOUND",
            kind=parent_kind,
            id=parent_id,
        )
    return JournalHead(0, 1, 0, journal_seed(*key))


def _make(connection: Connection, key: JournalKey) -> int:
    (journal_id,) = connection.execute(
        "INSERT INTO journal (journal_id, workspace, journal, parent_kind, parent_id, first_number)"
        " SELECT COALESCE(MAX(journal_id), 0) + 1, ?, ?, ?, ?, 1 FROM journal WHERE true RETURNING journal_id",
        key,
    ).fetchone()
    return int(journal_id)


def of_parent(connection: Connection, workspace: str, kind: str, id: str) -> list[tuple[Journal, JournalHead]]:
    """Every journal of a record."""
    return [
        (journal, head)
        for journal in STORED_JOURNALS.values()
        if kind in journal.parents and (head := find(connection, journal, workspace, kind, id)) is not None
    ]


def drop(connection: Connection, heads: Heads, journal: Journal, key: JournalKey, head: JournalHead) -> None:
    """Deletes a journal with all its entries and their references to blobs."""
    entry_blobs.release(connection, journal, key, head.journal_id)
    connection.execute(f"DELETE FROM {quoted(journal.name)} WHERE journal_id = ?", (head.journal_id,))
    connection.execute("DELETE FROM journal WHERE journal_id = ?", (head.journal_id,))
    heads.clear()
