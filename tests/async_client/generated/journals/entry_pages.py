# Generated from client/holdfast/journals/entry_pages.py by `make generate-async`. Do not edit.
"""Lists journal entries page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from holdfast.v1 import entry_pb2, journal_service_pb2
from tests.async_client.generated.wire.pages import Gaps, Listing, Page, one_page, page_items, report_warnings
from tests.async_client.generated.wire.scope import Scope

V = TypeVar("V")
ValuesOf = Callable[[Sequence[entry_pb2.Entry]], Sequence[V]]  # makes the values of a page's entries


def entry_pages(
    scope: Scope,
    request: journal_service_pb2.JournalServiceListRequest,
    limit: int | None,
    values_of: ValuesOf[V],
    gaps: Gaps | None = None,
) -> Listing[V]:
    """Yields the entries that the request selects, at most `limit`. Sets the request's page token for each page."""
    gaps = gaps or Gaps()
    items = page_items(scope.connection, lambda stubs: stubs.journal.List, request, _items_of(values_of), limit, gaps)
    return Listing(items, gaps)


async def entry_page(
    scope: Scope, request: journal_service_pb2.JournalServiceListRequest, values_of: ValuesOf[V], gaps: Gaps
) -> Page[V]:
    """Returns the page that the request asks for."""
    return await one_page(scope.connection, lambda stubs: stubs.journal.List, request, _items_of(values_of), gaps)


def _items_of(values_of: ValuesOf[V]) -> Callable[[journal_service_pb2.JournalServiceListResponse], Sequence[V]]:
    def items_of(page: journal_service_pb2.JournalServiceListResponse) -> Sequence[V]:
        report_warnings(page.warnings)
        return values_of(page.entries)

    return items_of
