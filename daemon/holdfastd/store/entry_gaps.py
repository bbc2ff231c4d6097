"""Finds entries that a list leaves out, as when damage in an index hides them: the numbers of a journal have no gaps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from holdfast.contract.kinds import Journal
from holdfastd.errors import DataLoss
from holdfastd.store import journal_heads
from holdfastd.store.engine import Connection

Place = tuple[int, int]  # journal id and number

_MAX_ID = 2**63 - 1
_JOURNALS = (
    "SELECT journal_id, parent_kind, parent_id FROM journal"
    " WHERE workspace = ? AND journal = ? AND journal_id >= ? AND journal_id <= ? ORDER BY journal_id"
)


def span(after: Place | None, until: Place | None, descending: bool) -> tuple[Place | None, Place | None]:
    """The first and the last place that a page went through, both included. None: from the first, or to the last entry of all.

    after: the place before the page, in its order. until: that of its last row; None when no more rows follow.
    """
    if descending:
        return until, (after[0], after[1] - 1) if after else None
    return (after[0], after[1] + 1) if after else None, until


def check(
    connection: Connection,
    journal: Journal,
    workspace: str,
    parent: tuple[str, str],
    rows: Sequence[Sequence[Any]],
    first: Place | None,
    last: Place | None,
) -> None:
    """DATA_LOSS (ENTRY_MISSING) unless these rows of `query.list_entries` are all entries between two places.

    parent: kind and id; empty ones mean all.
    """
    found: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        found[row[0]].add(row[3])
    ids = (first[0] if first else 0, last[0] if last else _MAX_ID)
    for journal_id, *place in connection.execute(_JOURNALS, (workspace, journal.name, *ids)).fetchall():
        if all(wanted in ("", has) for wanted, has in zip(parent, place, strict=True)):
            numbers = _numbers(connection, journal, journal_id, (workspace, *place), first, last)
            # A damaged key may also add a number. The entry with it is unreadable, as its checksum is of another number.
            if len(numbers) != len(found[journal_id]) and (missing := set(numbers) - found[journal_id]):
                raise _missing(journal, place, min(missing))


def _numbers(
    connection: Connection, journal: Journal, journal_id: int, place: Sequence[str], first: Place | None, last: Place | None
) -> range:
    """The numbers that the journal's entries between the two places have."""
    workspace, kind, id = place
    head = journal_heads.find(connection, journal, workspace, kind, id)
    begin, end = (head.first_number, head.last_number) if head else (1, 0)  # an index may hide it
    end = max(end, journal_heads.last_in_history(connection, journal, workspace, kind, id))
    if first and first[0] == journal_id:
        begin = max(begin, first[1])
    if last and last[0] == journal_id:
        end = min(end, last[1])
    return range(begin, end + 1)


def _missing(journal: Journal, place: Sequence[str], number: int) -> DataLoss:
    kind, id = place
    return DataLoss(
        f"Entry {number} of the {journal.name} of {kind} {id} is missing, although numbers have no gaps. Run verify, and restore"
        " a backup. To go on without it, list with a filter, such as `number > 0`.",
        reason="ENTRY_MISSING",
        number=number,
    )
