# Generated from client/holdfast/wire/pages.py by `make generate-async`. Do not edit.
"""Reads lists page by page. A page is requested when its first item is needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, AsyncIterator, Sequence
from typing import Generic, Protocol, TypeVar

import grpc

from holdfast.v1 import journal_service_pb2, store_service_pb2
from holdfast.wire.channel import Stubs
from tests.async_client.connection import Connection

LARGEST_PAGE = 1000

_log = logging.getLogger("holdfast")


Request = TypeVar("Request", store_service_pb2.StoreServiceListRequest, journal_service_pb2.JournalServiceListRequest)
Page = TypeVar("Page", store_service_pb2.StoreServiceListResponse, journal_service_pb2.JournalServiceListResponse)
Item = TypeVar("Item")
Yielded = TypeVar("Yielded", covariant=True)


class Items(Protocol[Yielded]):
    """The items of a page: their number, and parts of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Iterable[Yielded]: ...


class Converted(Generic[Item, Yielded]):
    """The items of a page, each converted when it is yielded: what a conversion fetches would not fit into memory for all."""

    def __init__(self, items: Sequence[Item], convert: Callable[[Sequence[Item]], Iterable[Yielded]]) -> None:
        self._items = items
        self._convert = convert

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, part: slice, /) -> Iterable[Yielded]:
        return self._convert(self._items[part])


async def page_items(
    connection: Connection,
    method: Callable[[Stubs], grpc.UnaryUnaryMultiCallable[Request, Page]],
    request: Request,
    items_of: Callable[[Page], Items[Item]],
    limit: int | None,
) -> AsyncIterator[Item]:
    """Yields the items of all pages, at most `limit`. Sets the request's page token for each page."""
    left = limit
    while left is None or left > 0:
        page = await connection.call(method, request)
        items = items_of(page)
        report_unreadable(page.unreadable)
        for each in items[:left]:
            yield each
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
        left = None if left is None else left - len(items)


def report_warnings(warnings: Iterable[str]) -> None:
    """Logs what the daemon says about the whole list."""
    for each in warnings:
        _log.warning("holdfast: %s", each)


def report_unreadable(unreadable: Iterable[store_service_pb2.Unreadable]) -> None:
    """Logs the records or entries that the daemon could not read. It leaves them out of its answer and sends the others."""
    for each in unreadable:
        text = "holdfast: %s %s cannot be read: %s"
        _log.warning(text, each.kind, each.id, each.reason, extra={"unreadable": each.id})  # the command line counts these
