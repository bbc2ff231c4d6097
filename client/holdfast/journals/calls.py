"""The calls for journal entries: append, read as a stream, list over all parents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

from holdfast.blobs.contents import Contents, as_stored
from holdfast.contract.ids import request_id
from holdfast.contract.kinds import JOURNALS
from holdfast.contract.messages import message_with
from holdfast.journals.entry_pages import entry_page, entry_pages
from holdfast.journals.reader import Reader
from holdfast.v1 import entry_pb2, journal_service_pb2
from holdfast.v1.store_service_pb2 import Append, Mutation
from holdfast.values import views
from holdfast.values.view import views_of
from holdfast.values.view_classes import entry_class_of
from holdfast.wire.pages import LARGEST_PAGE, Gaps, Listing, OnUnreadable, Page
from holdfast.wire.scope import Scope

Appended = TypeVar("Appended", bound=Sequence[Any], covariant=True)
E = TypeVar("E", bound="views.Entry")


class JournalSink(Protocol[Appended]):
    """The target of appends. It returns one item for each entry. `contents` makes the entries.

    `JournalCalls` appends at once and returns the numbers; a transaction's `Steps` returns the entries, in which the commit sets
    the numbers.
    """

    @property
    def contents(self) -> Contents:
        """Puts into blobs what entries cannot hold. The blobs are uploaded at once, and kept if the entries are appended."""

    def append(
        self, parent_kind: str, parent_id: str, entries: Sequence[entry_pb2.Entry], expected_last_number: int | None = None
    ) -> Appended:
        """Appends entries to one journal, all or none."""

    def append_all(self, appends: Sequence[Append]) -> Sequence[Appended]:
        """Appends entries to several journals, all or none."""


class JournalCalls(Generic[E]):
    """The calls for the journals of one name in one workspace, whose entries are `E`. Thread-safe."""

    def __init__(self, scope: Scope, journal: str) -> None:
        self._scope = scope
        self._journal = journal
        self.contents = Contents(scope.connection)
        self.whole = self.contents.filled(journal, self._values_of)
        self._stored = as_stored(self._values_of)

    def append(
        self, parent_kind: str, parent_id: str, entries: Sequence[entry_pb2.Entry], expected_last_number: int | None = None
    ) -> range:
        """Appends entries, all or none, and returns their numbers; an empty range if there are no entries."""
        request = message_with(
            journal_service_pb2.JournalServiceAppendRequest,
            workspace=self._scope.workspace,
            actor=self._scope.actor,
            request_id=request_id(),
            parent_kind=parent_kind,
            parent_id=parent_id,
            entries=entries,
            expected_last_number=expected_last_number,
        )
        answer = self._scope.connection.call(lambda stubs: stubs.journal.Append, request)
        return range(answer.first_number, answer.last_number + 1) if answer.first_number else range(0)

    def append_all(self, appends: Sequence[Append]) -> list[range]:
        """Appends to several journals as one commit and returns the numbers of each append."""
        if not appends:
            return []
        answer = self._scope.commit([Mutation(append=each) for each in appends], return_records=False)
        return [range(each.first_number, each.last_number + 1) for each in answer.results]

    def read(
        self, parent_kind: str, parent_id: str, *, contents: bool = True, on_unreadable: OnUnreadable | None = None, **fields: Any
    ) -> Reader[E]:
        """Returns the entries of one parent as a stream, `contents` whole. `fields` are fields of the request."""
        request = message_with(
            journal_service_pb2.JournalServiceReadRequest,
            workspace=self._scope.workspace,
            journal=self._journal,
            parent_kind=parent_kind,
            parent_id=parent_id,
            **fields,
        )
        return Reader(self._scope.connection, request, self.whole if contents else self._stored, on_unreadable)

    def list(
        self, limit: int | None, *, contents: bool = True, on_unreadable: OnUnreadable | None = None, **fields: Any
    ) -> Listing[E]:
        """Yields the entries of all parents, or of one, page by page, `contents` whole. `fields` are those of the request."""
        request = self._list_request(fields)
        if limit is not None and not request.page_size:
            request.page_size = min(max(limit, 0), LARGEST_PAGE)
        return entry_pages(self._scope, request, limit, self.whole if contents else self._stored, Gaps(on_unreadable))

    def page(self, *, contents: bool = True, on_unreadable: OnUnreadable | None = None, **fields: Any) -> Page[E]:
        """Returns one page of what `list` yields. `fields` are fields of the request."""
        return entry_page(self._scope, self._list_request(fields), self.whole if contents else self._stored, Gaps(on_unreadable))

    def _values_of(self, entries: Sequence[entry_pb2.Entry]) -> Sequence[E]:
        return cast(Sequence[E], views_of(entry_class_of(JOURNALS[self._journal]), entries))

    def _list_request(self, fields: dict[str, Any]) -> journal_service_pb2.JournalServiceListRequest:
        return message_with(
            journal_service_pb2.JournalServiceListRequest, workspace=self._scope.workspace, journal=self._journal, **fields
        )
