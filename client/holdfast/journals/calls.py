"""The calls about the entries of one journal, whichever it is: append, read as a stream, list over parents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.contract.ids import request_id
from holdfast.journals.entry_pages import entry_pages
from holdfast.journals.reader import Reader
from holdfast.records.collection import BATCH, Scope
from holdfast.v1 import entry_pb2, journal_service_pb2


class JournalCalls:
    """The calls of one workspace about the journals of one name. Safe in threads."""

    def __init__(self, scope: Scope, journal: str) -> None:
        self.scope = scope
        self.journal = journal

    def append(
        self, parent_kind: str, parent_id: str, entries: Sequence[entry_pb2.Entry], expected_last_number: int | None = None
    ) -> range:
        """Appends entries, all or none, and returns their numbers; none: an empty range."""
        request = journal_service_pb2.JournalServiceAppendRequest(
            workspace=self.scope.workspace,
            actor=self.scope.actor,
            request_id=request_id(),
            parent_kind=parent_kind,
            parent_id=parent_id,
            entries=entries,
            expected_last_number=expected_last_number,
        )
        answer = self.scope.connection.call(lambda stubs: stubs.journal.Append, request)
        return range(answer.first_number, answer.last_number + 1) if answer.first_number else range(0)

    def read(self, parent_kind: str, parent_id: str, **fields: Any) -> Reader:
        """The entries of one parent as a stream; `fields` are those of the request."""
        request = journal_service_pb2.JournalServiceReadRequest(
            workspace=self.scope.workspace, journal=self.journal, parent_kind=parent_kind, parent_id=parent_id, **fields
        )
        return Reader(self.scope.connection, request)

    def list(self, limit: int | None, **fields: Any) -> Iterator[entry_pb2.Entry]:
        """Entries over parents, read page by page; `fields` are those of the request."""
        request = journal_service_pb2.JournalServiceListRequest(workspace=self.scope.workspace, journal=self.journal, **fields)
        if limit is not None and not request.page_size:
            request.page_size = min(max(limit, 0), BATCH)
        return entry_pages(self.scope, request, limit)
