"""Finds entries that a list leaves out, as when damage in an index hides them: the numbers of a journal have no gaps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.contract.kinds import Journal
from holdfastd.errors import DataLoss
from holdfastd.store import journal_heads
from holdfastd.store.engine import Connection
from holdfastd.store.sql import quoted

Place = tuple[int, int]  # journal id and number

_MAX_ID = 2**63 - 1


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
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for _, kind, id, number, *_ in rows:
        found[kind, id].add(number)
    places = [parent] if all(parent) else _places(connection, journal, workspace, parent, first, last)
    for place in places:
        numbers = _numbers(connection, journal, (workspace, *place), first, last)
        # A damaged key may also add a number. The entry with it is unreadable, as its checksum is of another number.
        if len(numbers) != len(found[place]):
            missing = next((number for number in numbers if number not in found[place]), None)
            if missing is not None:
                raise _missing(journal, place, missing)


def check_by_revision(
    connection: Connection,
    journal: Journal,
    rows: Sequence[Sequence[Any]],
    span: tuple[Sequence[int] | None, Sequence[int] | None],
) -> None:
    """DATA_LOSS (ENTRY_MISSING) unless each journal in these rows of `query.list_by_revision` has its entries in the span there.

    span: the places (revision, journal id, number) between which the page lies, both left out; None: no bound.
    """
    found: dict[int, set[int]] = defaultdict(set)
    parents: dict[int, Sequence[str]] = {}
    for journal_id, kind, id, number, *_ in rows:
        found[journal_id].add(number)
        parents[journal_id] = kind, id
    for journal_id, numbers in found.items():
        first, last = min(numbers), max(numbers)
        missing = next((number for number in range(first, last + 1) if number not in numbers), None)
        for number, revision in connection.execute(neighbours_sql(journal), (journal_id, first - 1, last + 1)):
            if _is_between((revision, journal_id, number), span):
                missing = number
        if missing is not None:
            raise _missing(journal, parents[journal_id], missing)


def neighbours_sql(journal: Journal) -> str:
    """The statement for the revisions of two entries of a journal."""
    return f"SELECT number, revision FROM {quoted(journal.name)} WHERE journal_id = ? AND number IN (?, ?)"


def _is_between(place: tuple[int, int, int], span: tuple[Sequence[int] | None, Sequence[int] | None]) -> bool:
    first, last = span
    return (first is None or place > tuple(first)) and (last is None or place < tuple(last))


def _places(
    connection: Connection,
    journal: Journal,
    workspace: str,
    parent: tuple[str, str],
    first: Place | None,
    last: Place | None,
) -> Iterator[tuple[str, str]]:
    """The kinds and ids of the parents between two places, one at a time. Each has an entry, so they are no more than the rows of
    the page, or one that is missing ends the walk."""
    sql, parameters = places_sql(parent), [workspace, journal.name, *filter(None, parent)]
    ids = (first[0] if first else 0, last[0] if last else _MAX_ID)
    yield from connection.execute(sql, (*parameters, *ids))


def places_sql(parent: tuple[str, str]) -> str:
    """The statement for the parents of a workspace's journals between two ids."""
    wanted = "".join(f" AND {column} = ?" for column, value in zip(("parent_kind", "parent_id"), parent, strict=True) if value)
    return (
        f"SELECT parent_kind, parent_id FROM journal WHERE workspace = ? AND journal = ?{wanted}"
        " AND journal_id >= ? AND journal_id <= ? ORDER BY journal_id"
    )


def _numbers(connection: Connection, journal: Journal, place: Sequence[str], first: Place | None, last: Place | None) -> range:
    """The numbers that the journal's entries between the two places have."""
    workspace, kind, id = place
    head = journal_heads.find(connection, journal, workspace, kind, id) or journal_heads.JournalHead(0, 1, 0, 0)
    begin, end = head.first_number, max(head.last_number, journal_heads.last_in_history(connection, journal, workspace, kind, id))
    if first and first[0] == head.journal_id:
        begin = max(begin, first[1])
    if last and last[0] == head.journal_id:
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
