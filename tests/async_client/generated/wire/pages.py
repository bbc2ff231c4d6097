# Generated from client/holdfast/wire/pages.py by `make generate-async`. Do not edit.
"""Reads lists page by page, and keeps account of what could not be read. A page is requested when its first item is needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import grpc

from holdfast.errors import DataLoss
from holdfast.v1 import journal_service_pb2, store_service_pb2
from holdfast.v1.store_service_pb2 import Unreadable
from holdfast.wire.channel import Stubs
from tests.async_client.connection import Connection

LARGEST_PAGE = 1000

_log = logging.getLogger("holdfast")


Request = TypeVar("Request", store_service_pb2.StoreServiceListRequest, journal_service_pb2.JournalServiceListRequest)
Answer = TypeVar("Answer", store_service_pb2.StoreServiceListResponse, journal_service_pb2.JournalServiceListResponse)
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


OnUnreadable = Callable[[Unreadable], object]


class Gaps:
    """What one read could not read. Each is told to the caller's function, which may raise, or else logged as a warning."""

    def __init__(self, on_unreadable: OnUnreadable | None = None) -> None:
        self.unreadable: list[Unreadable] = []
        self._tell = on_unreadable or log_unreadable

    def note(self, unreadable: Iterable[Unreadable]) -> None:
        """Takes the records or entries that the daemon could not read. It leaves them out of its answer and sends the others."""
        if found := list(unreadable):
            self.unreadable += found
            for each in found:
                self._tell(each)


def log_unreadable(each: Unreadable) -> None:
    """Logs a record or an entry that could not be read. The command line counts these messages."""
    text = "holdfast: %s %s cannot be read: %s"
    _log.warning(text, each.kind, each.id, each.reason, extra={"unreadable": each.id})


def raise_unreadable(each: Unreadable) -> None:
    """Raises DataLoss for a record or an entry that could not be read: for `on_unreadable`, where a gap is an error."""
    raise DataLoss(f"{each.kind} {each.id} cannot be read: {each.reason}", metadata={"kind": each.kind, "id": each.id})


class Listing(Generic[Item]):
    """An iterator over the items of a list. `unreadable` names what the pages read so far could not include."""

    def __init__(self, items: AsyncIterator[Item], gaps: Gaps) -> None:
        self.gaps = gaps
        self._items = items

    def __aiter__(self) -> AsyncIterator[Item]:
        return self._items

    async def __anext__(self) -> Item:
        return await anext(self._items)

    @property
    def unreadable(self) -> list[Unreadable]:
        return self.gaps.unreadable


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list.

    `next_page_token` asks for the next page, in this process or another; it is empty on the last page. `unreadable` names what
    exists and could not be read. The page was read at `revision`; the next one sees later changes.
    """

    items: list[Item]
    next_page_token: str
    unreadable: list[Unreadable]
    revision: int


class Found(dict[str, Item]):
    """Values by id. `unreadable` names what exists and could not be read."""

    unreadable: list[Unreadable]


async def page_items(
    connection: Connection,
    method: Callable[[Stubs], grpc.UnaryUnaryMultiCallable[Request, Answer]],
    request: Request,
    items_of: Callable[[Answer], Items[Item]],
    limit: int | None,
    gaps: Gaps,
) -> AsyncIterator[Item]:
    """Yields the items of all pages, at most `limit`. Sets the request's page token for each page."""
    left = limit
    while left is None or left > 0:
        page = await connection.call(method, request)
        items = items_of(page)
        gaps.note(page.unreadable)
        for each in items[:left]:
            yield each
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
        left = None if left is None else left - len(items)


async def one_page(
    connection: Connection,
    method: Callable[[Stubs], grpc.UnaryUnaryMultiCallable[Request, Answer]],
    request: Request,
    items_of: Callable[[Answer], Items[Item]],
    gaps: Gaps,
) -> Page[Item]:
    """Returns the page that the request asks for."""
    page = await connection.call(method, request)
    gaps.note(page.unreadable)
    return Page(list(items_of(page)[:]), page.next_page_token, gaps.unreadable, page.revision)


def report_warnings(warnings: Iterable[str]) -> None:
    """Logs what the daemon says about the whole list."""
    for each in warnings:
        _log.warning("holdfast: %s", each)
