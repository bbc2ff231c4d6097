# Generated from client/holdfast/journals/entry_pages.py by `make generate-async`. Do not edit.
"""Lists journal entries page by page."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.v1 import entry_pb2, journal_service_pb2
from tests.async_client.generated.wire.pages import Gaps, Listing, Page, one_page, page_items, report_warnings
from tests.async_client.generated.wire.scope import Scope


def entry_pages(
    scope: Scope, request: journal_service_pb2.JournalServiceListRequest, limit: int | None, gaps: Gaps | None = None
) -> Listing[entry_pb2.Entry]:
    """Yields the entries that the request selects, at most `limit`. Sets the request's page token for each page."""
    gaps = gaps or Gaps()
    items = page_items(scope.connection, lambda stubs: stubs.journal.List, request, _entries_of, limit, gaps)
    return Listing(items, gaps)


async def entry_page(scope: Scope, request: journal_service_pb2.JournalServiceListRequest, gaps: Gaps) -> Page[entry_pb2.Entry]:
    """Returns the page that the request asks for."""
    return await one_page(scope.connection, lambda stubs: stubs.journal.List, request, _entries_of, gaps)


def _entries_of(page: journal_service_pb2.JournalServiceListResponse) -> Sequence[entry_pb2.Entry]:
    report_warnings(page.warnings)
    return page.entries
