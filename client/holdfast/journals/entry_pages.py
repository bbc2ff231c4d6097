"""Lists journal entries page by page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from holdfast.blobs.contents import ValuesOf
from holdfast.v1 import journal_service_pb2
from holdfast.wire.pages import Converted, Gaps, Items, Listing, Page, one_page, page_items, report_warnings
from holdfast.wire.scope import Scope

V = TypeVar("V")


def entry_pages(
    scope: Scope,
    request: journal_service_pb2.JournalServiceListRequest,
    limit: int | None,
    values_of: ValuesOf[V],
    gaps: Gaps | None = None,
) -> Listing[V]:
    """Yields the values of the entries that the request selects, at most `limit`. Sets the request's page token for each page."""
    gaps = gaps or Gaps()
    items = page_items(scope.connection, lambda stubs: stubs.journal.List, request, _items_of(values_of, gaps), limit, gaps)
    return Listing(items, gaps)


def entry_page(
    scope: Scope, request: journal_service_pb2.JournalServiceListRequest, values_of: ValuesOf[V], gaps: Gaps
) -> Page[V]:
    """Returns the page that the request asks for."""
    return one_page(scope.connection, lambda stubs: stubs.journal.List, request, _items_of(values_of, gaps), gaps)


def _items_of(values_of: ValuesOf[V], gaps: Gaps) -> Callable[[journal_service_pb2.JournalServiceListResponse], Items[V]]:
    def items_of(page: journal_service_pb2.JournalServiceListResponse) -> Items[V]:
        report_warnings(page.warnings)
        return Converted(page.entries, partial(values_of, gaps=gaps))

    return items_of
