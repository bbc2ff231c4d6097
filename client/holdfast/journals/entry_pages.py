"""Lists journal entries page by page."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.blobs.contents import Fill
from holdfast.v1 import entry_pb2, journal_service_pb2
from holdfast.wire.pages import Converted, Items, page_items, report_warnings
from holdfast.wire.scope import Scope


def entry_pages(
    scope: Scope,
    request: journal_service_pb2.JournalServiceListRequest,
    limit: int | None,
    fill: Fill | None = None,
) -> Iterator[entry_pb2.Entry]:
    """Yields the entries that the request selects, at most `limit`, each filled by `fill`. Sets the page token of the request
    for each page."""

    def entries_of(page: journal_service_pb2.JournalServiceListResponse) -> Items[entry_pb2.Entry]:
        report_warnings(page.warnings)
        return page.entries if fill is None else Converted(page.entries, fill)

    return page_items(scope.connection, lambda stubs: stubs.journal.List, request, entries_of, limit)
