"""StoreService's reads: Get, BatchGet, List, Count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import InvalidArgument
from holdfastd.model.call import Call
from holdfastd.model.filters import parse_filter
from holdfastd.model.ids import check_id
from holdfastd.model.kinds import Kind, kind_named
from holdfastd.model.ordering import parse_order
from holdfastd.model.pages import decode_token, encode_token, page_size
from holdfastd.service.answers import MAX_ANSWER_BYTES, Budget, fill_record
from holdfastd.service.reading import Reading, Snapshot
from holdfastd.service.requests import check_count, workspace_of
from holdfastd.store import query, records
from holdfastd.store.pages import Damaged, Image, fetch, image_of, images

MAX_KEYS = 1_000
KEYS_AT_ONCE = 20
MAX_TOKEN_BYTES = 64 * 2**10


class Records:
    """The reading use cases of records. Thread-safe."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def get(self, request: pb.StoreServiceGetRequest, call: Call) -> pb.StoreServiceGetResponse:
        """One record."""
        kind = kind_named(request.kind)
        id = check_id(request.id, "id")
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            image = records.image(snapshot.connection, kind, snapshot.workspace, id)
        if image is None:
            raise records.not_found(kind, snapshot.workspace, id)
        response = pb.StoreServiceGetResponse(revision=snapshot.revision)
        fill_record(response.record, kind, image)
        return response

    def batch_get(self, request: pb.StoreServiceBatchGetRequest, call: Call) -> pb.StoreServiceBatchGetResponse:
        """Many records as of one revision."""
        check_count(len(request.keys), MAX_KEYS, "keys")
        for key in request.keys:
            kind_named(key.kind)
            check_id(key.id, "id")
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            found, sought = _find(snapshot, request.keys)
        return _batch(request.keys, found, sought, snapshot.revision)

    def list(self, request: pb.StoreServiceListRequest, call: Call) -> pb.StoreServiceListResponse:
        """One page of a kind's records."""
        kind = kind_named(request.kind)
        order = parse_order(kind, request.order_by)
        node = parse_filter(request.filter)
        scope = (workspace_of(request.workspace), kind.name, request.filter, request.order_by)
        after = decode_token(request.page_token, scope, len(order.keys))
        limit = page_size(request.page_size)
        sql, parameters = query.select_page(kind, scope[0], node, order, after, limit + 1)
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            rows, all_rows = fetch(snapshot.connection.execute(sql, parameters), MAX_ANSWER_BYTES)
            response = pb.StoreServiceListResponse(revision=snapshot.revision)
            taken = _fill_page(response, snapshot, kind, rows[:limit])
        if taken < len(rows) or not all_rows:
            response.next_page_token = _token(scope, rows[taken - 1][1:])
        return response

    def count(self, request: pb.StoreServiceCountRequest, call: Call) -> pb.StoreServiceCountResponse:
        """How many records of a kind there are."""
        kind = kind_named(request.kind)
        sql, parameters = query.count(kind, workspace_of(request.workspace), parse_filter(request.filter))
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            return _count(snapshot, sql, parameters)


def _token(scope: Sequence[str], key: Sequence[object]) -> str:
    token = encode_token(scope, key)
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidArgument(
            "A page would end at a record whose value is too long to order by. Order by something else, or filter it out.",
            reason="ORDER_BY_INVALID",
            limit=MAX_TOKEN_BYTES,
        )
    return token


def _count(snapshot: Snapshot, sql: str, parameters: Sequence[object]) -> pb.StoreServiceCountResponse:
    (count,) = snapshot.connection.execute(sql, parameters).fetchone()
    return pb.StoreServiceCountResponse(count=count, revision=snapshot.revision)


def _fill_page(response: pb.StoreServiceListResponse, snapshot: Snapshot, kind: Kind, rows: Sequence[Sequence[Any]]) -> int:
    """How many of the rows the answer takes; each is an image, perhaps, and what places it, the id last."""
    budget = Budget()
    for taken, row in enumerate(rows):
        image = image_of(snapshot.connection, kind, snapshot.workspace, row[-1], row[0])
        if isinstance(image, bytes) and not budget.takes(len(image)):
            return taken
        _add(response, kind, row[-1], image)
    return len(rows)


def _add(response: pb.StoreServiceListResponse | pb.StoreServiceBatchGetResponse, kind: Kind, id: str, image: Image) -> None:
    """Adds a record to an answer, or why it cannot be read."""
    if isinstance(image, Damaged):
        response.unreadable.add(kind=kind.name, id=id, reason=image.reason)
        return
    try:
        fill_record(response.records.add(), kind, image)
    except ValueError as error:
        del response.records[-1]
        response.unreadable.add(kind=kind.name, id=id, reason=str(error))


Found = dict[tuple[str, str], Image]


def _find(snapshot: Snapshot, keys: Sequence[pb.RecordKey]) -> tuple[Found, int]:
    """The records behind the keys, and how many keys were looked up: no more than fill an answer."""
    found: Found = {}
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
    return found, sought


def _batch(keys: Sequence[pb.RecordKey], found: Found, sought: int, revision: int) -> pb.StoreServiceBatchGetResponse:
    response = pb.StoreServiceBatchGetResponse(revision=revision)
    budget = Budget()
    for position, key in enumerate(keys):
        image = found.get((key.kind, key.id))
        if position >= sought:
            response.remaining.add(kind=key.kind, id=key.id)
        elif image is None:
            response.missing.add(kind=key.kind, id=key.id)
        elif isinstance(image, Damaged) or (not response.remaining and budget.takes(len(image))):
            _add(response, kind_named(key.kind), key.id, image)
        else:
            response.remaining.add(kind=key.kind, id=key.id)
    return response
