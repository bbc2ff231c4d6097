"""StoreService's reads: Get, BatchGet, List, Scan, Count."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from holdfast.contract.kinds import Kind
from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import Exhausted, InvalidArgument
from holdfastd.model.budget import Claim, NoRoom
from holdfastd.model.call import Call
from holdfastd.model.filters import Node, parse_filter
from holdfastd.model.names import check_id, kind_named
from holdfastd.model.ordering import parse_order
from holdfastd.model.pages import decode_token, encode_token, page_size
from holdfastd.service.answers import MAX_ANSWER_BYTES, Budget, fill_record
from holdfastd.service.decoding import check_count, workspace_of
from holdfastd.service.reading import Reading, Snapshot, with_room
from holdfastd.service.unread import Unread
from holdfastd.store import loading, query, records, vocabularies
from holdfastd.store.dialect import Dialect
from holdfastd.store.pages import DamagedImage, Image, fetch, image_of, images

MAX_KEYS = 1_000
MAX_LISTS = 100
MAX_SCAN_BYTES = 256 * 2**20  # a scan is read into memory, because no snapshot may stay open while frames are sent
SCAN_FRAME_BYTES = 3 * MAX_ANSWER_BYTES  # the frame that is being built or sent, and its encoding
IMAGE_OVERHEAD_BYTES = 200  # of a record that is held in memory
ROWS_AT_ONCE = 500
BYTES_AT_ONCE = 4 * 2**20  # of the rows that are read before they are counted
KEYS_AT_ONCE = 20
MAX_TOKEN_BYTES = 64 * 2**10
VOCABULARY_FILTERS_SINCE = 4  # the API version in which a status that is in no vocabulary is refused in filters


RecordsResponse = pb.StoreServiceListResponse | pb.StoreServiceBatchGetResponse | pb.StoreServiceScanResponse


class Records:
    """The reading use cases of records. Thread-safe."""

    def __init__(self, reading: Reading, unread: Unread) -> None:
        self._reading = reading
        self._unread = unread

    def get(self, request: pb.StoreServiceGetRequest, call: Call) -> pb.StoreServiceGetResponse:
        """One record."""
        kind = kind_named(request.kind)
        id = check_id(request.id, "id")
        response = pb.StoreServiceGetResponse()
        try:
            with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
                image = records.image(snapshot.connection, kind, snapshot.workspace, id)
                if image is None:
                    raise loading.missing(snapshot.connection, kind, snapshot.workspace, id)
            response.revision = snapshot.revision
            fill_record(response.record, kind, id, image)
        except ValueError as error:
            self._unread.note(workspace_of(request.workspace), [pb.Unreadable(kind=kind.name, id=id)])
            raise loading.damaged(kind, id, error) from error
        return response

    def batch_get(self, request: pb.StoreServiceBatchGetRequest, call: Call) -> pb.StoreServiceBatchGetResponse:
        """Many records as of one revision."""
        check_count(len(request.keys), MAX_KEYS, "keys")
        for key in request.keys:
            kind_named(key.kind)
            check_id(key.id, "id")
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            found, sought = _find(snapshot, request.keys)
        response = _batch(request.keys, found, sought, snapshot.revision)
        self._unread.note(snapshot.workspace, response.unreadable)
        return response

    def list(self, request: pb.StoreServiceListRequest, call: Call) -> pb.StoreServiceListResponse:
        """One page of a kind's records."""
        kind = kind_named(request.kind)
        order = parse_order(kind, request.order_by)
        node = parse_filter(request.filter)
        scope = (workspace_of(request.workspace), kind.name, request.filter, request.order_by)
        after = decode_token(request.page_token, scope, len(order.keys))
        limit = page_size(request.page_size)
        sql, parameters = query.select_page(self._reading.dialect, kind, scope[0], node, order, after, limit + 1)
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            _check_filter(snapshot, kind, node, call)
            rows, all_rows = fetch(snapshot.connection.execute(sql, parameters), MAX_ANSWER_BYTES)
            response = pb.StoreServiceListResponse(revision=snapshot.revision)
            taken = _fill_page(response, snapshot, kind, rows[:limit])
        self._unread.note(scope[0], response.unreadable)
        if taken < len(rows) or not all_rows:
            response.next_page_token = _token(scope, rows[taken - 1][2:])
        return response

    def scan(self, request: pb.StoreServiceScanRequest, call: Call) -> Iterator[pb.StoreServiceScanResponse]:
        """Whole lists as of one revision, one statement each."""
        if not request.lists:
            raise InvalidArgument("lists is required.", reason="FIELD_REQUIRED", field="lists")
        check_count(len(request.lists), MAX_LISTS, "lists")
        workspace = workspace_of(request.workspace)
        asked = [_whole_list(self._reading.dialect, workspace, each) for each in request.lists]
        call.claim.take_when_free(SCAN_FRAME_BYTES, call)
        call.is_long = True

        def read() -> tuple[list[deque[tuple[str, Image]]], int]:
            with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
                for each in asked:
                    _check_filter(snapshot, each.kind, each.node, call)
                budget = _ScanBudget(call)
                found = [_read_whole(snapshot, each.kind, *each.query, budget, call) for each in asked]
                return found, snapshot.revision

        found, revision = with_room(read, call)
        for number, (each, rows) in enumerate(zip(asked, found, strict=True)):
            for frame in _frames(number, each.kind, rows, revision, call.claim):
                self._unread.note(workspace, frame.unreadable)
                yield frame

    def count(self, request: pb.StoreServiceCountRequest, call: Call) -> pb.StoreServiceCountResponse:
        """The number of records of a kind that match a filter."""
        kind = kind_named(request.kind)
        node = parse_filter(request.filter)
        sql, parameters = query.count(self._reading.dialect, kind, workspace_of(request.workspace), node)
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            _check_filter(snapshot, kind, node, call)
            return _count(snapshot, sql, parameters)


def is_long_list(request: pb.StoreServiceListRequest) -> bool:
    """Whether a list may walk all records of its kind."""
    return bool(request.filter or request.order_by)


def _token(scope: Sequence[str], key: Sequence[object]) -> str:
    token = encode_token(scope, key)
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidArgument(
            "The last record of the page has a value that is too long to order by. Order by something else, or filter it out.",
            reason="ORDER_BY_INVALID",
            limit=MAX_TOKEN_BYTES,
        )
    return token


def _count(snapshot: Snapshot, sql: str, parameters: Sequence[object]) -> pb.StoreServiceCountResponse:
    (count,) = snapshot.connection.execute(sql, parameters).fetchone()
    return pb.StoreServiceCountResponse(count=count, revision=snapshot.revision)


def _fill_page(response: pb.StoreServiceListResponse, snapshot: Snapshot, kind: Kind, rows: Sequence[Sequence[Any]]) -> int:
    """Adds rows until the answer is full, and returns the number added. A row has the image or NULL, its checksum, then the
    order key.

    The last value of the order key is the id.
    """
    budget = Budget()
    for taken, row in enumerate(rows):
        id = row[-1]
        image = image_of(snapshot.connection, kind, snapshot.workspace, id, row[0], row[1])
        if not isinstance(image, DamagedImage) and not budget.takes(len(image)):
            return taken
        _add(response, kind, id, image)
    return len(rows)


def _add(response: RecordsResponse, kind: Kind, id: str, image: Image) -> None:
    """Adds a record to an answer; if it cannot be read, adds its id and the reason to `unreadable`."""
    if isinstance(image, DamagedImage):
        response.unreadable.add(kind=kind.name, id=id, reason=image.reason)
        return
    try:
        fill_record(response.records.add(), kind, id, image)
    except ValueError as error:
        del response.records[-1]
        response.unreadable.add(kind=kind.name, id=id, reason=str(error))


def _check_filter(snapshot: Snapshot, kind: Kind, node: Node | None, call: Call) -> None:
    """INVALID_ARGUMENT when the filter has a status that is in no vocabulary; older callers get what matches it: nothing."""
    if call.api_version >= VOCABULARY_FILTERS_SINCE:
        vocabularies.check_filter(snapshot.connection, snapshot.workspace, kind, node)


class _WholeList(NamedTuple):
    """One list of a scan."""

    kind: Kind
    node: Node | None
    query: query.Query


def _whole_list(dialect: Dialect, workspace: str, asked: pb.ScanList) -> _WholeList:
    kind, node = kind_named(asked.kind), parse_filter(asked.filter)
    made = query.select_page(dialect, kind, workspace, node, parse_order(kind, asked.order_by), None, None)
    return _WholeList(kind, node, made)


class _ScanBudget:
    """Limits the bytes that a scan holds in memory, and takes them from the caller's share."""

    def __init__(self, call: Call) -> None:
        self._claim = call.claim
        self._taken = 0

    def take(self, images: Sequence[Image]) -> None:
        """Raises NoRoom with twice what the scan took so far, which is given back."""
        size = sum(len(each) for each in images if isinstance(each, bytes)) + IMAGE_OVERHEAD_BYTES * len(images)
        if self._taken + size > MAX_SCAN_BYTES:
            raise Exhausted(
                f"The lists have more than {MAX_SCAN_BYTES:,} bytes in total. Read them in pages, with List.",
                reason="SCAN_TOO_LARGE",
                limit=MAX_SCAN_BYTES,
            )
        self._taken += size
        if not self._claim.fits(size):
            self._claim.give(self._taken - size)
            raise NoRoom(min(2 * self._taken, MAX_SCAN_BYTES))


def _read_whole(
    snapshot: Snapshot, kind: Kind, sql: str, parameters: Sequence[Any], budget: _ScanBudget, call: Call
) -> deque[tuple[str, Image]]:
    """The ids and images of a whole list."""
    found: deque[tuple[str, Image]] = deque()
    cursor = snapshot.connection.execute(sql, parameters)
    count = 1
    while rows := cursor.fetchmany(count):
        call.check()
        read = [(row[-1], image_of(snapshot.connection, kind, snapshot.workspace, row[-1], row[0], row[1])) for row in rows]
        budget.take([image for _, image in read])
        found.extend(read)
        largest = max((len(image) for _, image in read if isinstance(image, bytes)), default=0)
        count = max(1, min(ROWS_AT_ONCE, 2 * count, BYTES_AT_ONCE // (largest + 1)))
    return found


def _frames(
    number: int, kind: Kind, left: deque[tuple[str, Image]], revision: int, claim: Claim
) -> Iterator[pb.StoreServiceScanResponse]:
    """The frames of one list, at least one. Takes each record out of `left` when it is added to a frame, to free memory."""
    first = True
    while left or first:
        frame, budget, first = pb.StoreServiceScanResponse(list=number, revision=revision), Budget(), False
        while left and (isinstance(left[0][1], DamagedImage) or budget.takes(len(left[0][1]))):
            id, image = left.popleft()
            _add(frame, kind, id, image)
        yield frame
        claim.give(frame.ByteSize())


ImagesByKey = dict[tuple[str, str], Image]


def _find(snapshot: Snapshot, keys: Sequence[pb.RecordKey]) -> tuple[ImagesByKey, int]:
    """The records found, and the number of keys looked up. Stops when the records fill an answer."""
    found: ImagesByKey = {}
    size = sought = 0
    while sought < len(keys) and size <= MAX_ANSWER_BYTES:
        wanted: dict[str, list[str]] = {}
        for key in keys[sought : sought + KEYS_AT_ONCE]:
            wanted.setdefault(key.kind, []).append(key.id)
        sought = min(len(keys), sought + KEYS_AT_ONCE)
        for name, ids in wanted.items():
            for id, image in images(snapshot.connection, kind_named(name), snapshot.workspace, ids):
                found[name, id] = image
                size += len(image) if isinstance(image, bytes) else 0
            found |= _hidden(snapshot, name, [id for id in ids if (name, id) not in found])
    return found, sought


def _hidden(snapshot: Snapshot, name: str, ids: Sequence[str]) -> ImagesByKey:
    """Those of the records that the history has, although the table does not show them."""
    kind, where = kind_named(name), (snapshot.connection, kind_named(name), snapshot.workspace)
    return {(kind.name, id): DamagedImage(loading.hidden(kind, id).fault) for id in ids if loading.is_hidden(*where, id)}


def _batch(keys: Sequence[pb.RecordKey], found: ImagesByKey, sought: int, revision: int) -> pb.StoreServiceBatchGetResponse:
    response = pb.StoreServiceBatchGetResponse(revision=revision)
    budget = Budget()
    for position, key in enumerate(keys):
        image = found.get((key.kind, key.id))
        if position >= sought:
            response.remaining.add(kind=key.kind, id=key.id)
        elif image is None:
            response.missing.add(kind=key.kind, id=key.id)
        elif isinstance(image, DamagedImage) or (not response.remaining and budget.takes(len(image))):
            _add(response, kind_named(key.kind), key.id, image)
        else:
            response.remaining.add(kind=key.kind, id=key.id)
    return response
