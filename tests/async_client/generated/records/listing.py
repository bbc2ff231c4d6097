# Generated from client/holdfast/records/listing.py by `make generate-async`. Do not edit.
"""Lists the records of one kind that match a filter. Called by collections, and by writes that read stored records first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from holdfast.contract.kinds import Kind
from holdfast.contract.messages import message_with
from holdfast.errors import DataLoss, InvalidArgument, WorkspaceNotFound
from holdfast.v1 import record_pb2, store_service_pb2
from holdfast.v1.store_service_pb2 import Unreadable
from tests.async_client.generated.wire.pages import (
    LARGEST_PAGE,
    Converted,
    Gaps,
    Items,
    Listing,
    OnUnreadable,
    Page,
    one_page,
    page_items,
    raise_unreadable,
)
from tests.async_client.generated.wire.scope import Scope

V = TypeVar("V")


def list_records(
    scope: Scope,
    kind: Kind,
    value_of: Callable[[Any], V],
    filter: str,
    order_by: str,
    page_size: int,
    limit: int | None,
    on_unreadable: OnUnreadable | None = None,
) -> Listing[V]:
    """Yields the records that match a filter, page by page; `value_of` converts each message, and a DataLoss of it is a gap.

    Raises InvalidArgument for negative sizes at once, and for a filter that does not parse at the first `next`.
    """
    request = _request(scope, kind, filter, order_by, page_size, limit)
    if limit is not None and not page_size:
        request.page_size = min(limit, LARGEST_PAGE)
    gaps = Gaps(on_unreadable)
    values_of = _values_of(kind, value_of, gaps)
    items = page_items(scope.connection, lambda stubs: stubs.store.List, request, values_of, limit, gaps)
    return Listing(items, gaps)


async def record_page(
    scope: Scope,
    kind: Kind,
    value_of: Callable[[Any], V],
    filter: str,
    order_by: str,
    page_size: int,
    page_token: str,
    on_unreadable: OnUnreadable | None,
) -> Page[V]:
    """Returns one page of the records that match a filter."""
    request = _request(scope, kind, filter, order_by, page_size, None, page_token)
    gaps = Gaps(on_unreadable)
    values_of = _values_of(kind, value_of, gaps)
    return await one_page(scope.connection, lambda stubs: stubs.store.List, request, values_of, gaps)


async def first_message(
    scope: Scope, kind: Kind, filter: str = "", order_by: str = "", on_unreadable: OnUnreadable | None = None
) -> Any | None:
    """Returns the message of the first record that matches a filter; None if no record matches or the workspace is missing.

    Raises DataLoss if the first one is damaged. With `on_unreadable` it is told to that function, and the result is the next one.
    """
    found = list_records(scope, kind, _itself, filter, order_by, 0, 1, on_unreadable or raise_unreadable)
    try:
        return await anext(found, None)
    except WorkspaceNotFound:
        return None


def _request(
    scope: Scope, kind: Kind, filter: str, order_by: str, page_size: int, limit: int | None, page_token: str = ""
) -> store_service_pb2.StoreServiceListRequest:
    if page_size < 0 or (limit is not None and limit < 0):
        raise InvalidArgument("page_size and limit may not be negative.", reason="VALUE_INVALID")
    return message_with(
        store_service_pb2.StoreServiceListRequest,
        workspace=scope.workspace,
        kind=kind.name,
        filter=filter,
        order_by=order_by,
        page_size=page_size,
        page_token=page_token,
    )


def _values_of(
    kind: Kind, value_of: Callable[[Any], V], gaps: Gaps
) -> Callable[[store_service_pb2.StoreServiceListResponse], Items[V]]:
    return lambda page: Converted(page.records, lambda some: _readable_values(kind, some, value_of, gaps))


def _readable_values(kind: Kind, records: Iterable[record_pb2.Record], value_of: Callable[[Any], V], gaps: Gaps) -> Iterable[V]:
    """Yields the values of records. One whose content is damaged is left out and noted in `gaps`."""
    for record in records:
        try:
            value = value_of(getattr(record, kind.name))
        except DataLoss as error:
            gaps.note([lost_content(kind, record.id, error)])
        else:
            yield value


def lost_content(kind: Kind, id: str, error: DataLoss) -> Unreadable:
    """Names a record that was read, but whose content, in a blob, was not."""
    return Unreadable(kind=kind.name, id=id, reason=error.message)


def _itself(message: Any) -> Any:
    return message
