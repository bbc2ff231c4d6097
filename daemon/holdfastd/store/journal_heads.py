"""Finds journals and the numbers of their first and last entry; checks for the writer that it has found the right ones.

An index leads to a journal's row and to its last entry. Behind a damaged key the writer would make a second journal, give numbers
twice, or append to the journal of another parent. So when it looks a journal up for the first time, it compares what index, table
and history say: `load` and `of_parent` do that, a reader's `find` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from holdfast.contract.kinds import KINDS, STORED_JOURNALS, WORKSPACE, Journal
from holdfastd.errors import VERIFY_AND_RESTORE, DataLoss, FailedPrecondition
from holdfastd.model.checksums import journal_seed
from holdfastd.model.mutations import APPEND
from holdfastd.store.engine import Connection
from holdfastd.store.entries import image_of
from holdfastd.store.pages import DamagedImage
from holdfastd.store.records import exists
from holdfastd.store.sql import quoted


@dataclass(slots=True)
class JournalHead:
    """A journal's id and the numbers of its first and last entry. `journal_id` is 0 until the journal's row is inserted.

    seed: of the checksums of its entries, as `checksums.journal_seed`.
    """

    journal_id: int
    first_number: int
    last_number: int
    seed: int


JournalKey = tuple[str, str, str, str]  # workspace, journal, parent_kind, parent_id
Unwritten = Callable[[str, str, str, str], tuple[int, int] | None]
"""Action and last number of the newest change that is not in the table `changes` yet; None when there is none. Its arguments:
workspace, kind or journal, id, and the kind of the parent, which is empty for a record."""
MAX_HEADS = 10_000


class Heads(dict[JournalKey, JournalHead]):
    """The heads of journals with recent appends. Used only by the thread that holds the writer's connection.

    unwritten: tells of the changes of this batch.
    """

    def __init__(self, unwritten: Unwritten) -> None:
        self.unwritten = unwritten
        self._checked: set[JournalKey] = set()

    def put(self, key: JournalKey, head: JournalHead) -> None:
        """Adds a journal. When MAX_HEADS are cached, drops all others first."""
        if len(self) >= MAX_HEADS:
            self.clear()
        self[key] = head

    def is_checked(self, key: JournalKey) -> bool:
        """Whether `load` has checked the journal. `clear` does not forget that, because it follows every refused command."""
        return key in self._checked

    def note_checked(self, key: JournalKey) -> None:
        """The journal was found undamaged."""
        if len(self._checked) >= MAX_HEADS:
            self._checked.clear()
        self._checked.add(key)


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


def load(connection: Connection, heads: Heads, journal: Journal, key: JournalKey) -> JournalHead:
    """The journal's head for an append; with id 0 when the journal has no row yet.

    FAILED_PRECONDITION when the parent does not exist, DATA_LOSS (JOURNAL_DAMAGED) when index, table and history differ.
    """
    workspace, _, parent_kind, parent_id = key
    found = find(connection, journal, workspace, parent_kind, parent_id)
    if not heads.is_checked(key):
        last = _check_row(connection, heads, journal, key, found)
        if found is not None:
            _check_end(connection, journal, key, found, last)
            heads.note_checked(key)
    if found is not None:
        return found
    if not has_parent(connection, workspace, parent_kind, parent_id):
        raise FailedPrecondition(
            f"There is no {parent_kind} {parent_id} in workspace {workspace} to append to.",
            reason="PARENT_NOT_FOUND",
            kind=parent_kind,
            id=parent_id,
        )
    return JournalHead(0, 1, 0, journal_seed(*key))


def has_parent(connection: Connection, workspace: str, parent_kind: str, parent_id: str) -> bool:
    """Whether the parent of a journal exists. A workspace does for whoever reads it, and the first write to it makes it."""
    return parent_kind == WORKSPACE or exists(connection, KINDS[parent_kind], workspace, parent_id)


def of_parent(connection: Connection, heads: Heads, workspace: str, kind: str, id: str) -> list[tuple[Journal, JournalHead]]:
    """Every journal of a record, to delete it. DATA_LOSS (JOURNAL_DAMAGED) when damage hides one or leads to that of another."""
    found = []
    for journal in STORED_JOURNALS.values():
        if kind in journal.parents:
            key = (workspace, journal.name, kind, id)
            head = find(connection, journal, workspace, kind, id)
            if not heads.is_checked(key):
                _check_row(connection, heads, journal, key, head)
            if head is not None:
                found.append((journal, head))
    return found


def _check_row(connection: Connection, heads: Heads, journal: Journal, key: JournalKey, found: JournalHead | None) -> int:
    """Checks that the journal has a row if the history knows an append to it, and that its id leads to this row.

    Returns the number of the last entry that the history has.
    """
    workspace, _, parent_kind, parent_id = key
    last = last_in_history(connection, journal, workspace, parent_kind, parent_id)
    if last != (0 if found is None else found.last_number):  # unless that is because this batch has written to the journal
        newest = heads.unwritten(workspace, journal.name, parent_id, parent_kind)
        if newest is not None:
            last = newest[1] if newest[0] == APPEND else 0
    if found is None:
        if last:
            raise _damaged(journal, key, f"the history has {last} entries, but an index does not find the journal")
        return last
    if not last:
        raise _damaged(journal, key, "the history knows no append to it")
    # By another index: a damaged id would be that of another journal.
    rows = connection.execute(
        "SELECT workspace, journal, parent_kind, parent_id FROM journal WHERE journal_id = ?", (found.journal_id,)
    ).fetchall()
    if rows != [key]:
        what = f"that of {rows[0][2]} {rows[0][3]}" if rows else "unknown to an index"
        raise _damaged(journal, key, f"the id {found.journal_id} in its row is {what}")
    return last


def _check_end(connection: Connection, journal: Journal, key: JournalKey, found: JournalHead, last: int) -> None:
    """Checks that the last entry is the last one of the history, and that it is an intact entry of this journal."""
    if found.last_number != last:
        raise _damaged(journal, key, f"its last entry is {found.last_number}, but that of the history is {last}")
    if found.last_number < found.first_number:
        return
    row = connection.execute(
        f"SELECT image, checksum FROM {quoted(journal.name)} WHERE journal_id = ? AND number = ?", (found.journal_id, last)
    ).fetchone()
    if row is None:
        raise _damaged(journal, key, f"an index does not find its last entry {last}")
    image = image_of(connection, journal, found.journal_id, found.seed, last, *row)
    if isinstance(image, DamagedImage):
        raise _damaged(journal, key, f"of its last entry {last}, {image.reason}")


def _damaged(journal: Journal, key: JournalKey, why: str) -> DataLoss:
    _, _, parent_kind, parent_id = key
    return DataLoss(
        f"The {journal.name} of {parent_kind} {parent_id} is damaged: {why}. Nothing was written. {VERIFY_AND_RESTORE}",
        reason="JOURNAL_DAMAGED",
        journal=journal.name,
        kind=parent_kind,
        id=parent_id,
    )
