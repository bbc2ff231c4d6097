"""The reads of JournalService: Read, with or without `follow`, and List."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.contract.kinds import KINDS, Journal
from holdfast.v1 import journal_service_pb2 as pb
from holdfastd.errors import InvalidArgument, NotFound
from holdfastd.model.call import Call
from holdfastd.model.entries import create_time, entry_codec
from holdfastd.model.filters import Node, parse_filter
from holdfastd.model.names import check_id, journal_named, stored_journal
from holdfastd.model.pages import decode_token, encode_token, page_size
from holdfastd.service.answers import MAX_ANSWER_BYTES, Budget, frame_bytes
from holdfastd.service.audits import Audits, list_scope
from holdfastd.service.decoding import check_parent, workspace_of
from holdfastd.service.feed import Feed, follow
from holdfastd.service.reading import Reading, Snapshot, with_room
from holdfastd.store import journals, query, records
from holdfastd.store.journals import JournalHead
from holdfastd.store.pages import fetch

ROWS_A_FRAME = 2_000
ROWS_FIRST_FRAME = 100  # fewer, so that the first entry arrives soon


class Journals:
    """The reading use cases of journals. Thread-safe."""

    def __init__(self, reading: Reading, feed: Feed) -> None:
        self._reading = reading
        self._feed = feed
        self._audits = Audits(reading)

    def read(self, request: pb.JournalServiceReadRequest, call: Call) -> Iterator[pb.JournalServiceReadResponse]:
        """Frames with one journal's entries. With `follow` the stream continues until the caller ends the call."""
        cursor = _Cursor(self._reading, request, call)
        if not request.follow:
            return cursor.frames()
        workspace = workspace_of(request.workspace)
        # Subscribe to the parent too: deleting the parent of an empty journal touches no journal topic.
        topics = [(workspace, name, request.parent_id) for name in (cursor.journal.name, request.parent_kind)]
        return _until(cursor, follow(self._feed, topics, call, cursor.frames, cursor.sign_of_life))

    def list(self, request: pb.JournalServiceListRequest, call: Call) -> pb.JournalServiceListResponse:
        """One page of entries of many parents, ordered by journal id and number. `Audits.list` answers for the audit."""
        journal = journal_named(request.journal)
        if journal.derived:
            return self._audits.list(request, call)
        scope = list_scope(request, journal)
        after = decode_token(request.page_token, scope, 2)
        limit = page_size(request.page_size)
        sql, parameters = query.list_entries(
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
        response = pb.JournalServiceListResponse(revision=snapshot.revision)
        taken = _fill_list(response, journal, rows[:limit])
        if taken < len(rows) or not all_rows:
            response.next_page_token = encode_token(scope, (rows[taken - 1][0], rows[taken - 1][3]))
        return response


class _Cursor:
    """The position of one reader in a journal. Each page is read in a snapshot of its own."""

    def __init__(self, reading: Reading, request: pb.JournalServiceReadRequest, call: Call) -> None:
        self.journal = stored_journal(request.journal)
        check_parent(self.journal, request.parent_kind)
        check_id(request.parent_id, "parent_id")
        if request.descending and request.follow:
            raise InvalidArgument("descending cannot be used with follow.", reason="VALUE_INVALID", field="descending")
        if min(request.start, request.end, request.limit) < 0:
            raise InvalidArgument("start, end and limit must not be negative.", reason="VALUE_INVALID", field="start")
        self._reading = reading
        self._request = request
        self._call = call
        self._filter: Node | None = parse_filter(request.filter)
        self._start, self._end = request.start, request.end
        self._left = request.limit or None
        self._page = ROWS_FIRST_FRAME
        self._revision = self._last = 0

    @property
    def ended(self) -> bool:
        """Whether the requested range or limit has been read to its end."""
        return self._left == 0 or (bool(self._request.end) and not self._request.descending and self._start > self._request.end)

    def sign_of_life(self) -> pb.JournalServiceReadResponse:
        return pb.JournalServiceReadResponse(last_number=self._last, revision=self._revision)

    def frames(self) -> Iterator[pb.JournalServiceReadResponse]:
        """Frames with the entries from this position on, one for each page. The first call yields at least one frame, which has
        the numbers of the journal's first and last entry."""
        more, first = True, self._page == ROWS_FIRST_FRAME
        while first or (more and not self.ended):
            frame, more = self._next()
            # Send the last frame even when it is empty, so that a follower learns that the range has ended.
            if frame.entries or frame.unreadable or first or self.ended:
                yield frame
            self._call.claim.release()  # the frame was sent
            first = False

    def _next(self) -> tuple[pb.JournalServiceReadResponse, bool]:
        limit = min(self._page, self._left or self._page)

        def read() -> tuple[Snapshot, JournalHead, list[Sequence[Any]], bool]:
            with self._reading.snapshot(self._call, self._request.workspace, self._request.min_revision) as snapshot:
                head = self._head(snapshot)
                rows, all_rows = self._rows(snapshot, head, limit)
            self._call.claim.take(frame_bytes(rows))
            return snapshot, head, rows, all_rows

        snapshot, head, rows, all_rows = with_room(read, self._call)
        self._revision, self._last, self._page = snapshot.revision, head.last_number, ROWS_A_FRAME
        frame = pb.JournalServiceReadResponse(
            first_number=head.first_number, last_number=head.last_number, revision=snapshot.revision
        )
        taken = _fill_frame(frame, self.journal, rows)
        self._advance(rows, taken, head, more := taken < len(rows) or len(rows) == limit or not all_rows)
        return frame, more

    def _head(self, snapshot: Snapshot) -> JournalHead:
        request = self._request
        head = journals.find(snapshot.connection, self.journal, snapshot.workspace, request.parent_kind, request.parent_id)
        if head is not None:
            return head
        if not records.exists(snapshot.connection, KINDS[request.parent_kind], snapshot.workspace, request.parent_id):
            raise NotFound(
                f"There is no {request.parent_kind} {request.parent_id} in workspace {snapshot.workspace}.",
                reason="RECORD_NOT_FOUND",
                kind=request.parent_kind,
                id=request.parent_id,
            )
        return JournalHead(0, 1, 0)

    def _rows(self, snapshot: Snapshot, head: JournalHead, limit: int) -> tuple[list[Sequence[Any]], bool]:
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


def _until(cursor: _Cursor, frames: Iterator[pb.JournalServiceReadResponse]) -> Iterator[pb.JournalServiceReadResponse]:
    for frame in frames:
        yield frame
        if cursor.ended:
            return


def _fill_frame(frame: pb.JournalServiceReadResponse, journal: Journal, rows: Sequence[Sequence[Any]]) -> int:
    """Adds the rows to the frame and returns how many fit. Measures the size once at the end, since usually all of them fit."""
    add, entries = entry_codec(journal).add, frame.entries
    for number, revision, created, *columns in rows:
        try:
            add(entries, number, revision, create_time(created), columns)
        except (TypeError, ValueError) as error:
            frame.unreadable.add(kind=journal.name, id=str(number), reason=str(error))
    if frame.ByteSize() <= MAX_ANSWER_BYTES or len(entries) < 2:
        return len(rows)
    return _cut_frame(frame, rows)


def _cut_frame(frame: pb.JournalServiceReadResponse, rows: Sequence[Sequence[Any]]) -> int:
    """Removes the entries beyond the budget from the frame. Returns the number of rows that are left in it."""
    budget = Budget()
    fitting = next(place for place, entry in enumerate(frame.entries) if not budget.takes(entry.ByteSize()))
    number = frame.entries[fitting].number
    del frame.entries[fitting:]
    taken = next(place for place, row in enumerate(rows) if row[0] == number)
    left = {str(row[0]) for row in rows[:taken]}
    unreadable = [each for each in frame.unreadable if each.id in left]
    del frame.unreadable[:]
    frame.unreadable.extend(unreadable)
    return taken


def _fill_list(response: pb.JournalServiceListResponse, journal: Journal, rows: Sequence[Sequence[Any]]) -> int:
    budget, add, entries = Budget(), entry_codec(journal).add, response.entries
    for taken, (_, parent_kind, parent_id, number, revision, created, *columns) in enumerate(rows):
        try:
            entry = add(entries, number, revision, create_time(created), columns)
        except (TypeError, ValueError) as error:
            response.unreadable.add(kind=journal.name, id=f"{parent_kind}/{parent_id}/{number}", reason=str(error))
            continue
        entry.parent_kind, entry.parent_id = parent_kind, parent_id
        if not budget.takes(entry.ByteSize()):
            del entries[-1]
            return taken
    return len(rows)
