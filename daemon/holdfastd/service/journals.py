"""The reads of JournalService: Read, with or without `follow`, and List."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.contract.kinds import KINDS, Journal
from holdfast.v1 import journal_service_pb2 as pb
from holdfastd.errors import DataLoss, InvalidArgument
from holdfastd.model.call import Call
from holdfastd.model.filters import Node, parse_filter
from holdfastd.model.names import journal_named, stored_journal
from holdfastd.service.answers import MAX_ANSWER_BYTES, Encoded, frame_bytes
from holdfastd.service.audits import Audits
from holdfastd.service.decoding import check_parent, workspace_of
from holdfastd.service.entry_frames import EntryFrame
from holdfastd.service.entry_lists import EntryLists
from holdfastd.service.feed import Feed, Interest, follow
from holdfastd.service.reading import Reading, Snapshot, with_room
from holdfastd.service.unread import Unread
from holdfastd.store import entries, journal_heads, loading, query
from holdfastd.store.audits import AUDIT
from holdfastd.store.journal_heads import JournalHead
from holdfastd.store.pages import fetch

ROWS_A_FRAME = 2_000
ROWS_FIRST_FRAME = 100  # fewer, so that the first entry arrives soon

Frame = Encoded | pb.JournalServiceReadResponse


class Journals:
    """The reading use cases of journals. Thread-safe."""

    def __init__(self, reading: Reading, feed: Feed, unread: Unread) -> None:
        self._reading = reading
        self._feed = feed
        self._unread = unread
        self._audits = Audits(reading)
        self._lists = EntryLists(reading)

    def read(self, request: pb.JournalServiceReadRequest, call: Call) -> Iterator[Frame]:
        """Frames with one journal's entries. With `follow` the stream continues until the caller ends the call."""
        cursor = _Cursor(self._reading, self._unread, request, call)
        if not request.follow:
            return cursor.frames()
        # The parent too: deleting the parent of an empty journal is no change of the journal.
        kinds, ids = frozenset({cursor.journal.name, request.parent_kind}), frozenset({request.parent_id})
        interest = Interest(workspace_of(request.workspace), kinds, ids)
        return _until(cursor, follow(self._feed, interest, call, cursor.frames, cursor.sign_of_life))

    def list(self, request: pb.JournalServiceListRequest, call: Call) -> pb.JournalServiceListResponse:
        """One page of entries of many parents. `Audits.list` answers for the audit."""
        journal = journal_named(request.journal)
        response = self._audits.list(request, call) if journal.derived else self._lists.list(journal, request, call)
        self._unread.note(workspace_of(request.workspace), response.unreadable)
        return response


def is_long_list(request: pb.JournalServiceListRequest) -> bool:
    """Whether a list may walk all entries, or the history."""
    return bool(request.filter) or (request.journal == AUDIT.name and not (request.parent_kind and request.parent_id))


class _Cursor:
    """The position of one reader in a journal. Each page is read in a snapshot of its own."""

    def __init__(self, reading: Reading, unread: Unread, request: pb.JournalServiceReadRequest, call: Call) -> None:
        self.journal = stored_journal(request.journal)
        check_parent(self.journal, request.parent_kind, request.parent_id)
        if request.descending and request.follow:
            raise InvalidArgument("descending cannot be used with follow.", reason="VALUE_INVALID", field="descending")
        if min(request.start, request.end, request.limit) < 0:
            raise InvalidArgument("start, end and limit must not be negative.", reason="VALUE_INVALID", field="start")
        self._reading = reading
        self._unread = unread
        self._request = request
        self._call = call
        self._filter: Node | None = parse_filter(request.filter)
        self._start, self._end = request.start, request.end
        self._left = request.limit or None
        self._page = ROWS_FIRST_FRAME
        self._revision = self._last = 0
        self._is_behind = True  # it has not come to the last entry yet

    @property
    def ended(self) -> bool:
        """Whether the requested range or limit has been read to its end."""
        return self._left == 0 or (bool(self._request.end) and not self._request.descending and self._start > self._request.end)

    def sign_of_life(self) -> pb.JournalServiceReadResponse:
        return pb.JournalServiceReadResponse(last_number=self._last, revision=self._revision)

    def frames(self) -> Iterator[Frame]:
        """Frames with the entries from this position on, one for each page. The first call yields at least one frame, which has
        the numbers of the journal's first and last entry."""
        more, first = True, self._page == ROWS_FIRST_FRAME
        while first or (more and not self.ended):
            frame, more = self._next()
            # Send the last frame even when it is empty, so that a follower learns that the range has ended.
            if frame.entries or frame.unreadable or first or self.ended:
                yield frame.encoded()
            self._call.claim.release()  # the frame was sent
            first = False

    def _next(self) -> tuple[EntryFrame, bool]:
        limit = min(self._page, self._left or self._page)
        self._call.is_long = self._is_behind and self._filter is not None

        def read() -> tuple[Snapshot, JournalHead, list[Sequence[Any]], bool, list[Any]]:
            with self._reading.snapshot(self._call, self._request.workspace, self._request.min_revision) as snapshot:
                head = self._head(snapshot)
                rows, all_rows = self._without_gap(head, limit, *self._rows(snapshot, head, limit))
                images = entries.checked(snapshot.connection, self.journal, head.journal_id, head.seed, rows)
            self._call.claim.take(frame_bytes(rows))
            return snapshot, head, rows, all_rows, images

        snapshot, head, rows, all_rows, images = with_room(read, self._call)
        self._revision, self._last, self._page = snapshot.revision, head.last_number, ROWS_A_FRAME
        frame = EntryFrame(head.first_number, head.last_number, snapshot.revision)
        taken = frame.fill(self.journal, images)
        self._unread.note(snapshot.workspace, frame.unreadable, f"{self._request.parent_kind}/{self._request.parent_id}/")
        more = self._is_behind = taken < len(rows) or len(rows) == limit or not all_rows
        self._advance(rows, taken, head, more)
        return frame, more

    def _head(self, snapshot: Snapshot) -> JournalHead:
        request = self._request
        place = (self.journal, snapshot.workspace, request.parent_kind, request.parent_id)
        head = journal_heads.find(snapshot.connection, *place) or JournalHead(0, 1, 0, 0)
        # The history has the number too. Without it, entries at the end that an index does not show would be missing silently.
        head.last_number = max(head.last_number, journal_heads.last_in_history(snapshot.connection, *place))
        if head.journal_id or head.last_number:
            return head
        if not journal_heads.has_parent(snapshot.connection, *place[1:]):
            raise loading.missing(snapshot.connection, KINDS[request.parent_kind], snapshot.workspace, request.parent_id)
        return head

    def _rows(self, snapshot: Snapshot, head: JournalHead, limit: int) -> tuple[list[Any], bool]:
        sql, parameters = query.read_entries(
            self._reading.dialect,
            self.journal,
            head.journal_id,
            self._filter,
            start=self._start,
            end=self._end,
            descending=self._request.descending,
            limit=limit,
        )
        return fetch(snapshot.connection.execute(sql, parameters), MAX_ANSWER_BYTES)

    def _without_gap(self, head: JournalHead, limit: int, rows: list[Any], all_rows: bool) -> tuple[list[Any], bool]:
        """The rows before the first number that is missing, and whether they are all. DATA_LOSS when the first one is missing.

        With a filter, numbers are left out anyway.
        """
        if self._filter is not None:
            journal_heads.check_numbers(self.journal, [row[0] for row in rows])
            return rows, all_rows
        expected = self._numbers(head)[: limit if all_rows else len(rows)]
        found = [row[0] for row in rows]
        if found == list(expected):
            return rows, all_rows
        place = next((place for place, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), len(found))
        if place == 0:
            raise _missing(self.journal, self._request, expected[0] if expected else found[0])
        return rows[:place], False

    def _numbers(self, head: JournalHead) -> range:
        """The numbers that are left to be read, in their order."""
        first, last = max(self._start, head.first_number), min(self._end or head.last_number, head.last_number)
        return range(last, first - 1, -1) if self._request.descending else range(first, last + 1)

    def _advance(self, rows: Sequence[Sequence[Any]], taken: int, head: JournalHead, more: bool) -> None:
        if self._left is not None:
            self._left -= taken
        if self._request.descending:
            self._end = rows[taken - 1][0] - 1 if taken else self._end
            if self._end < 1:
                self._left = 0
        elif more:
            self._start = rows[taken - 1][0] + 1
        else:  # every entry up to the journal's end was read
            self._start = max(self._start, head.last_number + 1)


def _missing(journal: Journal, request: pb.JournalServiceReadRequest, number: int) -> DataLoss:
    return DataLoss(
        f"Entry {number} of the {journal.name} of {request.parent_kind} {request.parent_id} is missing, although numbers have no"
        f" gaps. Run verify, and restore a backup. To go on without it, read from another start.",
        reason="ENTRY_MISSING",
        number=number,
    )


def _until(cursor: _Cursor, frames: Iterator[Frame]) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        if cursor.ended:
            return
