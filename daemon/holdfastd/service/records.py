"""StoreService's reads: Get, BatchGet, List, Count."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import InvalidArgument
from holdfastd.model.call import Call
from holdfastd.model.filters import parse_filter
from holdfastd.model.ids import check_id
from holdfastd.model.kinds import Kind, RecordMessage, kind_named
from holdfastd.model.ordering import Order, parse_order
from holdfastd.model.pages import decode_token, encode_token, page_size
from holdfastd.service.answers import MAX_ANSWER_BYTES, Budget, fill_record
from holdfastd.service.reading import Reading, Snapshot
from holdfastd.service.requests import check_count, workspace_of
from holdfastd.store import query, records
from holdfastd.store.pages import Damaged, decode, fetch, load_many

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
            message = records.load(snapshot.connection, kind, snapshot.workspace, id)
        if message is None:
            raise records.not_found(kind, snapshot.workspace, id)
        response = pb.StoreServiceGetResponse(revision=snapshot.revision)
        fill_record(response.record, kind, message)
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
            messages = decode(snapshot.connection, kind, snapshot.workspace, rows[:limit])
        response = pb.StoreServiceListResponse(revision=snapshot.revision)
        taken = _fill_page(response, kind, messages)
        if taken < len(rows) or not all_rows:
            response.next_page_token = _token(scope, order, rows[taken - 1])
        return response

    def count(self, request: pb.StoreServiceCountRequest, call: Call) -> pb.StoreServiceCountResponse:
        """How many records of a kind there are."""
        kind = kind_named(request.kind)
        sql, parameters = query.count(kind, workspace_of(request.workspace), parse_filter(request.filter))
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            return _count(snapshot, sql, parameters)


def _token(scope: Sequence[str], order: Order, row: Sequence[object]) -> str:
    token = encode_token(scope, order.key_of(row))
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


def _fill_page(response: pb.StoreServiceListResponse, kind: Kind, messages: Sequence[RecordMessage | Damaged]) -> int:
    """How many of the messages the answer takes."""
    budget = Budget()
    for taken, message in enumerate(messages):
        if isinstance(message, Damaged):
            response.unreadable.add(kind=kind.name, id=message.id, reason=message.reason)
        elif budget.takes(message.ByteSize()):
            fill_record(response.records.add(), kind, message)
        else:
            return taken
    return len(messages)


Found = dict[tuple[str, str], RecordMessage | Damaged]


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
            for each in load_many(snapshot.connection, kind_named(name), snapshot.workspace, ids):
                found[name, each.id] = each
                size += 0 if isinstance(each, Damaged) else each.ByteSize()
    return found, sought


def _batch(keys: Sequence[pb.RecordKey], found: Found, sought: int, revision: int) -> pb.StoreServiceBatchGetResponse:
    response = pb.StoreServiceBatchGetResponse(revision=revision)
    budget = Budget()
    for position, key in enumerate(keys):
        message = found.get((key.kind, key.id))
        if position >= sought:
            response.remaining.add(kind=key.kind, id=key.id)
        elif message is None:
            response.missing.add(kind=key.kind, id=key.id)
        elif isinstance(message, Damaged):
            response.unreadable.add(kind=key.kind, id=key.id, reason=message.reason)
        elif not response.remaining and budget.takes(message.ByteSize()):
            fill_record(response.records.add(), kind_named(key.kind), message)
        else:
            response.remaining.add(kind=key.kind, id=key.id)
    return response
