"""Lists journal entries page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.v1 import entry_pb2, journal_service_pb2
from holdfast.wire.pages import page_items, report_warnings
from holdfast.wire.scope import Scope


def entry_pages(
    scope: Scope, request: journal_service_pb2.JournalServiceListRequest, limit: int | None
) -> Iterator[entry_pb2.Entry]:
    """Yields the entries that the request selects, at most `limit`. Sets the request's page token for each page."""
    return page_items(scope.connection, lambda stubs: stubs.journal.List, request, _entries_of, limit)


def _entries_of(page: journal_service_pb2.JournalServiceListResponse) -> Sequence[entry_pb2.Entry]:
    report_warnings(page.warnings)
    return page.entries
