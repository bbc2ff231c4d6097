"""StoreService's reads: Get, BatchGet, List, Count."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.v1 import store_service_pb2 as pb
from holdfastd.model.call import Call
from holdfastd.model.filters import parse_filter
from holdfastd.model.ids import check_id
from holdfastd.model.kinds import Kind, RecordMessage, kind_named
from holdfastd.model.ordering import parse_order
from holdfastd.model.pages import decode_token, encode_token, page_size
from holdfastd.service.answers import Budget, fill_record
from holdfastd.service.reading import Reading, Snapshot
from holdfastd.service.requests import check_count, workspace_of
from holdfastd.store import query, records
from holdfastd.store.pages import Damaged, decode, load_many

MAX_KEYS = 1_000


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
        wanted: dict[str, list[str]] = {}
        for key in request.keys:
            wanted.setdefault(kind_named(key.kind).name, []).append(check_id(key.id, "id"))
        found: dict[tuple[str, str], RecordMessage | Damaged] = {}
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            for name, ids in wanted.items():
                for each in load_many(snapshot.connection, kind_named(name), snapshot.workspace, ids):
                    found[name, each.id] = each
        return _batch(request.keys, found, snapshot.revision)

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
            rows = snapshot.connection.execute(sql, parameters).fetchall()
            messages = decode(snapshot.connection, kind, snapshot.workspace, rows[:limit])
        response = pb.StoreServiceListResponse(revision=snapshot.revision)
        taken = _fill_page(response, kind, messages)
        if taken < len(rows):
            response.next_page_token = encode_token(scope, order.key_of(rows[taken - 1]))
        return response

    def count(self, request: pb.StoreServiceCountRequest, call: Call) -> pb.StoreServiceCountResponse:
        """How many records of a kind there are."""
        kind = kind_named(request.kind)
        sql, parameters = query.count(kind, workspace_of(request.workspace), parse_filter(request.filter))
        with self._reading.snapshot(call, request.workspace, request.min_revision) as snapshot:
            return _count(snapshot, sql, parameters)


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


def _batch(
    keys: Sequence[pb.RecordKey], found: dict[tuple[str, str], RecordMessage | Damaged], revision: int
) -> pb.StoreServiceBatchGetResponse:
    response = pb.StoreServiceBatchGetResponse(revision=revision)
    budget = Budget()
    for key in keys:
        message = found.get((key.kind, key.id))
        if message is None:
            response.missing.add(kind=key.kind, id=key.id)
        elif isinstance(message, Damaged):
            response.unreadable.add(kind=key.kind, id=key.id, reason=message.reason)
        elif not response.remaining and budget.takes(message.ByteSize()):
            fill_record(response.records.add(), kind_named(key.kind), message)
        else:
            response.remaining.add(kind=key.kind, id=key.id)
    return response
