"""Lists journal entries page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from holdfast.v1 import entry_pb2, journal_service_pb2
from holdfast.wire.pages import page_items, report_warnings
from holdfast.wire.scope import Scope

V = TypeVar("V")


def entry_pages(
    scope: Scope,
    request: journal_service_pb2.JournalServiceListRequest,
    limit: int | None,
    values_of: Callable[[Sequence[entry_pb2.Entry]], Sequence[V]],
) -> Iterator[V]:
    """Yields the entries that the request selects, at most `limit`. Sets the request's page token for each page.

    `values_of` makes the values of a page's entries.
    """

    def items_of(page: journal_service_pb2.JournalServiceListResponse) -> Sequence[V]:
        report_warnings(page.warnings)
        return values_of(page.entries)

    return page_items(scope.connection, lambda stubs: stubs.journal.List, request, items_of, limit)
