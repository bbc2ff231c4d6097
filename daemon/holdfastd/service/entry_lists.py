"""JournalService.List of stored journals: pages of the entries of many parents, by journal or in the order of commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.contract.kinds import Journal
from holdfast.v1 import journal_service_pb2 as pb
from holdfastd.errors import InvalidArgument
from holdfastd.model.call import Call
from holdfastd.model.checksums import journal_seed
from holdfastd.model.filters import parse_filter
from holdfastd.model.pages import decode_token, encode_token, page_size
from holdfastd.service.answers import MAX_ANSWER_BYTES, Budget
from holdfastd.service.audits import list_scope, place_of
from holdfastd.service.reading import Reading, Snapshot
from holdfastd.store import entries, entry_gaps, journal_heads, query
from holdfastd.store.pages import DamagedImage, Image, fetch

Row = Sequence[Any]  # as `query.list_entries` and `query.list_by_revision`
ListedEntry = tuple[str, str, int, Image]  # parent kind, parent id, number, image
Key = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """An order of entries.

    key_of: the values of a row by which it is ordered; `key_length` tells how many they are. numbers: the places in a row of
    those that an entry itself has.
    """

    key_length: int
    numbers: tuple[int, ...]
    key_of: Callable[[Row], Key]
    select: Callable[..., query.Query]


BY_JOURNAL = Order(2, (3,), lambda row: (row[0], row[3]), query.list_entries)
BY_REVISION = Order(3, (3, 6), lambda row: (row[6], row[0], row[3]), query.list_by_revision)


class EntryLists:
    """Lists entries of stored journals. Thread-safe."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def list(self, journal: Journal, request: pb.JournalServiceListRequest, call: Call) -> pb.JournalServiceListResponse:
        """One page of entries, ordered by journal id and number, or by revision. INVALID_ARGUMENT without that order."""
        order = _order_of(journal, request)
        scope = list_scope(request, journal)
        after = place_of(decode_token(request.page_token, scope, order.key_length))
        limit = page_size(request.page_size)
        sql, parameters = order.select(
            self._reading.dialect,
            journal,
            scope[0],
            parse_filter(request.filter),
            parent_kind=request.parent_kind,
            parent_id=request.parent_id,
            after=after,
            descending=request.descending,
            limit=limit + 1,
        )
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            rows, all_rows = fetch(snapshot.connection.execute(sql, parameters), MAX_ANSWER_BYTES)
            journal_heads.check_numbers(journal, [row[place] for place in order.numbers for row in rows])
            if not request.filter:
                until = order.key_of(rows[-1]) if len(rows) > limit or not all_rows else None
                _check_gaps(snapshot, journal, request, order, rows, after, until)
            listed = _checked(snapshot, journal, rows[:limit])
        response = pb.JournalServiceListResponse(revision=snapshot.revision)
        taken = _fill_list(response, journal, listed)
        if taken < len(rows) or not all_rows:
            response.next_page_token = encode_token(scope, order.key_of(rows[taken - 1]))
        return response


def _order_of(journal: Journal, request: pb.JournalServiceListRequest) -> Order:
    if request.by_revision and not journal.by_revision:
        raise InvalidArgument(
            f"The {journal.name} has no order of commits. List without by_revision, or read one parent.",
            reason="ORDER_BY_INVALID",
            field="by_revision",
        )
    # The entries of one parent have the same order either way.
    return BY_REVISION if request.by_revision and not (request.parent_kind and request.parent_id) else BY_JOURNAL


def _check_gaps(
    snapshot: Snapshot,
    journal: Journal,
    request: pb.JournalServiceListRequest,
    order: Order,
    rows: Sequence[Row],
    after: Key | None,
    until: Key | None,
) -> None:
    """DATA_LOSS (ENTRY_MISSING) when an index hides an entry of the page.

    after, until: the places before the page and of its last row; None: no bound.
    """
    if order is BY_REVISION:
        span = (until, after) if request.descending else (after, until)
        entry_gaps.check_by_revision(snapshot.connection, journal, rows, span)
        return
    bounds = entry_gaps.span(_pair(after), _pair(until), request.descending)
    parent = (request.parent_kind, request.parent_id)
    entry_gaps.check(snapshot.connection, journal, snapshot.workspace, parent, rows, *bounds)


def _pair(key: Key | None) -> entry_gaps.Place | None:
    return None if key is None else (key[0], key[1])


def _checked(snapshot: Snapshot, journal: Journal, rows: Sequence[Row]) -> list[ListedEntry]:
    """The rows of a list with their images, which are checked."""
    found = []
    for journal_id, parent_kind, parent_id, *row in rows:
        seed = journal_seed(snapshot.workspace, journal.name, parent_kind, parent_id)
        image = entries.image_of(snapshot.connection, journal, journal_id, seed, *row[:3])
        found.append((parent_kind, parent_id, row[0], image))
    return found


def _fill_list(response: pb.JournalServiceListResponse, journal: Journal, rows: Sequence[ListedEntry]) -> int:
    """Adds entries until the answer is full. Returns the number taken, readable or not."""
    budget = Budget()
    for taken, (parent_kind, parent_id, number, image) in enumerate(rows):
        if isinstance(image, DamagedImage):
            response.unreadable.add(kind=journal.name, id=f"{parent_kind}/{parent_id}/{number}", reason=image.reason)
            continue
        if not budget.takes(len(image) + len(parent_kind) + 4 * len(parent_id)):
            return taken
        response.entries.add(parent_kind=parent_kind, parent_id=parent_id).MergeFromString(image)
    return len(rows)
