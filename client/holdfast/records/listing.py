"""Lists the records of one kind that match a filter. Called by collections, and by writes that read stored records first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from holdfast.contract.kinds import Kind
from holdfast.errors import InvalidArgument, WorkspaceNotFound
from holdfast.v1 import store_service_pb2
from holdfast.wire.pages import LARGEST_PAGE, Converted, Items, page_items
from holdfast.wire.scope import Scope

V = TypeVar("V")


def list_records(
    scope: Scope, kind: Kind, value_of: Callable[[Any], V], filter: str, order_by: str, page_size: int, limit: int | None
) -> Iterator[V]:
    """Yields the records that match a filter, page by page; `value_of` converts each message.

    Raises InvalidArgument for negative sizes at once, and for a filter that does not parse at the first `next`.
    """
    if page_size < 0 or (limit is not None and limit < 0):
        raise InvalidArgument("page_size and limit may not be negative.", reason="VALUE_INVALID")
    request = store_service_pb2.StoreServiceListRequest(
        workspace=scope.workspace, kind=kind.name, filter=filter, order_by=order_by, page_size=page_size
    )
    if limit is not None and not page_size:
        request.page_size = min(limit, LARGEST_PAGE)

    def values_of(page: store_service_pb2.StoreServiceListResponse) -> Items[V]:
        return Converted(page.records, lambda records: (value_of(getattr(record, kind.name)) for record in records))

    return page_items(scope.connection, lambda stubs: stubs.store.List, request, values_of, limit)


def first_message(scope: Scope, kind: Kind, filter: str = "", order_by: str = "") -> Any | None:
    """Returns the message of the first record that matches a filter; None if no record matches or the workspace is missing."""
    found = list_records(scope, kind, _itself, filter, order_by, 0, 1)
    try:
        return next(found, None)
    except WorkspaceNotFound:
        return None


def _itself(message: Any) -> Any:
    return message
