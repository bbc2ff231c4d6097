"""Lists of journal entries, read page by page as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.v1 import entry_pb2, journal_service_pb2
from holdfast.wire.pages import page_items
from holdfast.wire.scope import Scope


def entry_pages(
    scope: Scope, request: journal_service_pb2.JournalServiceListRequest, limit: int | None
) -> Iterator[entry_pb2.Entry]:
    """The entries that the request asks for, at most `limit`. The request's page token moves along."""
    return page_items(scope.connection, lambda stubs: stubs.journal.List, request, lambda page: page.entries, limit)
