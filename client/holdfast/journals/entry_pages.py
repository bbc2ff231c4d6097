"""Lists journal entries page by page."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.v1 import entry_pb2, journal_service_pb2
from holdfast.wire.pages import page_items
from holdfast.wire.scope import Scope


def entry_pages(
    scope: Scope, request: journal_service_pb2.JournalServiceListRequest, limit: int | None
) -> Iterator[entry_pb2.Entry]:
    """Yields the entries that the request selects, at most `limit`. Sets the request's page token for each page."""
    return page_items(scope.connection, lambda stubs: stubs.journal.List, request, lambda page: page.entries, limit)
