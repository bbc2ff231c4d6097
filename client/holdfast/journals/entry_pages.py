"""Lists of journal entries, read page by page as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.records.collection import Scope, report_unreadable
from holdfast.v1 import entry_pb2, journal_service_pb2


def entry_pages(
    scope: Scope, request: journal_service_pb2.JournalServiceListRequest, limit: int | None
) -> Iterator[entry_pb2.Entry]:
    """The entries that the request means, at most `limit`. The request is moved along."""
    left = limit
    while left is None or left > 0:
        page = scope.connection.call(lambda stubs: stubs.journal.List, request)
        report_unreadable(page.unreadable)
        yield from page.entries[:left]
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
        left = None if left is None else left - len(page.entries)
