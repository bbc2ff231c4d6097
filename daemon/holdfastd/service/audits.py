"""JournalService.List of the audit: the changes of one record or of a workspace, as entries that show each difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from holdfast.contract.kinds import KINDS, STORED_JOURNALS, Journal
from holdfast.v1 import entry_pb2
from holdfast.v1 import journal_service_pb2 as pb
from holdfast.v1.store_service_pb2 import Note
from holdfastd.errors import InvalidArgument
from holdfastd.model.call import Call
from holdfastd.model.diffs import diff_json
from holdfastd.model.entries import create_time, entry_codec
from holdfastd.model.filters import Node, parse_filter
from holdfastd.model.mutations import OWN_ACTIONS
from holdfastd.model.names import kind_named
from holdfastd.model.pages import decode_token, encode_token, page_size
from holdfastd.service.answers import MAX_ANSWER_BYTES, Budget
from holdfastd.service.decoding import workspace_of
from holdfastd.service.reading import Reading, Snapshot
from holdfastd.store import audits, changes
from holdfastd.store.audits import AUDIT, Place
from holdfastd.store.pages import fetch

Row = Sequence[Any]
_CHECKED_COLUMNS = 5  # the last columns of a row, which `audits.images` checks


class Audits:
    """Reads of the audit. Thread-safe."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def list(self, request: pb.JournalServiceListRequest, call: Call) -> pb.JournalServiceListResponse:
        """One page of changes, ordered by revision and by position within the commit."""
        if request.parent_kind and request.parent_kind not in STORED_JOURNALS:
            kind_named(request.parent_kind)
        node = parse_filter(request.filter)
        scope = list_scope(request, AUDIT)
        token = place_of(decode_token(request.page_token, scope, 2))
        after = (token[0], token[1]) if token else None
        limit = page_size(request.page_size)
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            rows, all_rows = _rows(snapshot, request, node, after, limit + 1)
            warnings = [] if after else audits.warnings(snapshot.connection, node)
        response = pb.JournalServiceListResponse(revision=snapshot.revision, warnings=warnings)
        taken = _fill(response, snapshot.workspace, rows[:limit])
        if taken < len(rows) or not all_rows:
            response.next_page_token = encode_token(scope, tuple(rows[taken - 1][:2]))
        return response


def list_scope(request: pb.JournalServiceListRequest, journal: Journal) -> tuple[str, ...]:
    """The scope of the list's page tokens; the workspace comes first."""
    names = (workspace_of(request.workspace), journal.name, request.parent_kind, request.parent_id, request.filter)
    orders = ("descending" if request.descending else "", "by_revision" if request.by_revision else "")
    return (*names, *filter(None, orders))


def place_of(key: Sequence[object] | None) -> tuple[int, ...] | None:
    """The numbers of a page token. INVALID_ARGUMENT when they are none."""
    if key is None:
        return None
    place = tuple(each for each in key if isinstance(each, int))
    if len(place) != len(key):
        raise InvalidArgument(
            "page_token is not one that this daemon gave out. Start again without page_token.", reason="PAGE_TOKEN_INVALID"
        )
    return place


def _rows(
    snapshot: Snapshot, request: pb.JournalServiceListRequest, node: Node | None, after: Place | None, limit: int
) -> tuple[list[Row], bool]:
    revisions = audits.span(snapshot.connection, node)
    sql, parameters = audits.select_page(
        snapshot.connection.dialect,
        snapshot.workspace,
        node,
        kind=request.parent_kind,
        id=request.parent_id,
        revisions=revisions,
        after=after,
        descending=request.descending,
        limit=limit,
    )
    rows, all_rows = fetch(snapshot.connection.execute(sql, parameters), MAX_ANSWER_BYTES)
    if not audits.is_of_one_record(node, request.parent_kind, request.parent_id):
        until = tuple(rows[-1][:2]) if len(rows) == limit or not all_rows else None
        walked = audits.walked(revisions, snapshot.revision, after, until, request.descending)
        changes.check_revisions(snapshot.connection, *walked)
    return rows, all_rows


def _fill(response: pb.JournalServiceListResponse, workspace: str, rows: Sequence[Row]) -> int:
    """Adds rows until the answer is full. Returns the number of rows consumed."""
    budget = Budget()
    for taken, row in enumerate(rows):
        try:
            entry = _add(response, workspace, row)
        except (DecodeError, TypeError, ValueError) as error:
            response.unreadable.add(kind=AUDIT.name, id=f"{row[0]}.{row[2]}", reason=str(error))
            continue
        if not budget.takes(entry.ByteSize()):
            del response.entries[-1]
            return taken
    return len(rows)


def _add(response: pb.JournalServiceListResponse, workspace: str, row: Row) -> entry_pb2.Entry:
    image, before = audits.images(workspace, row)
    revision, _, number, created, *columns = row[:-_CHECKED_COLUMNS]
    kind = KINDS.get(columns[1])
    diff = ""
    if image is not None and columns[3] not in OWN_ACTIONS:
        diff = Note.FromString(image).diff
    elif kind is not None and image is not None:
        deleted = columns[3] == "delete"
        diff = diff_json(kind, image if deleted else before, None if deleted else image)
    entry = entry_codec(AUDIT).add(response.entries, number, revision, create_time(created), columns)
    entry.parent_kind, entry.parent_id, entry.audit.diff = columns[1], columns[2], diff
    entry.audit.key = f"{revision}.{number}"
    return entry
