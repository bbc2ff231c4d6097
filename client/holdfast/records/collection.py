"""The methods that every kind of record has: one generic class, with an instance for each kind in the registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from holdfast.contract.messages import message_with
from holdfast.errors import Compacted, DataLoss, WorkspaceNotFound
from holdfast.records.listing import first_message, list_records, lost_content, record_page
from holdfast.records.sink import new_id
from holdfast.records.watch import Watch, open_watch
from holdfast.records.writes import CollectionWrites, RecordWrites
from holdfast.v1 import store_service_pb2
from holdfast.values import views
from holdfast.wire.pages import LARGEST_PAGE, Found, Gaps, Listing, OnUnreadable, Page, raise_unreadable

M = TypeVar("M")


class Records(RecordWrites[M]):
    """The records of one kind. Thread-safe.

    Values are views (`holdfast.View`); `.message` is the protobuf message. Methods that write take a view, a message or keyword
    arguments; fields marked JSON take plain values or `holdfast.Json`, times take aware datetimes. Reads raise NotFound for a
    missing record, WorkspaceNotFound for a workspace to which nothing was written.
    """

    def __repr__(self) -> str:
        return f"<holdfast.{self._kind.noun} of workspace {self._scope.workspace!r}>"

    def get(self, id: str, /) -> M:
        """Returns the record with that id. Raises NotFound."""
        return self._value(self._sink.read(self._kind, id))

    def exists(self, id: str, /) -> bool:
        """Whether a record with that id exists. Raises DataLoss if it exists and cannot be read."""
        try:
            return bool(self._found([id], Gaps(raise_unreadable)))
        except WorkspaceNotFound:
            return False

    def batch_get(self, ids: Iterable[str], /, *, on_unreadable: OnUnreadable | None = None) -> Found[M]:
        """Returns those records among `ids` that exist, by id, in the order of `ids`. Up to 1,000 are read as of one revision.

        `unreadable` of the result names those that exist and cannot be read; see `list`.
        """
        wanted = list(dict.fromkeys(ids))
        found, gaps = Found[M](), Gaps(on_unreadable)
        for start in range(0, len(wanted), LARGEST_PAGE):
            found.update(self._found(wanted[start : start + LARGEST_PAGE], gaps))
        found.unreadable = gaps.unreadable
        return found

    def list(
        self,
        *,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[M]:
        """Yields the records that match a filter; pages are requested as the records are consumed.

        `filter` is AIP-160 (`status = "running" AND tags:"urgent"`), `order_by` names fields (`number desc`; default: time of
        creation). `limit` is the largest number of records. The first `next` raises InvalidArgument if the filter does not parse.

        A damaged record is left out: it is in `unreadable` of the result and is logged as a warning, or given to
        `on_unreadable`, which may raise (`holdfast.raise_unreadable` does).
        """
        return self._listed(filter, order_by, page_size, limit, on_unreadable)

    def page(
        self,
        *,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
        on_unreadable: OnUnreadable | None = None,
    ) -> Page[M]:
        """Returns one page of what `list` yields, as for a web handler: `items`, `next_page_token`, `unreadable`, `revision`.

        `page_size` is at most 1,000 (0: 100). `page_token` is the `next_page_token` of the page before, with the same filter and
        order; any process may use it. Raises InvalidArgument for another one.
        """
        return record_page(self._scope, self._kind, self._value, filter, order_by, page_size, page_token, on_unreadable)

    def first(self, *, filter: str = "", order_by: str = "", on_unreadable: OnUnreadable | None = None) -> M | None:
        """Returns the first record that matches, in the order of `list`; None if no record matches.

        Raises DataLoss if that record is damaged. With `on_unreadable` it is told to that function, and the result is the next
        readable one.
        """
        found = first_message(self._scope, self._kind, filter, order_by, on_unreadable)
        return None if found is None else self._value(found)

    def count(self, filter: str = "") -> int:
        """Returns the number of records that match a filter."""
        request = message_with(
            store_service_pb2.StoreServiceCountRequest, workspace=self._scope.workspace, kind=self._kind.name, filter=filter
        )
        return self._scope.connection.call(lambda stubs: stubs.store.Count, request).count

    def next_id(self) -> str:
        """Returns a new id for a record of this kind; no other caller gets it. Raises TypeError if ids are made from fields."""
        if self._kind.id_template:
            raise TypeError(f"The id of a {self._kind.name} is made of its fields: {self._kind.id_template}")
        return new_id(self._scope, self._kind)

    def watch(
        self,
        *,
        ids: Iterable[str] = (),
        since: int | None = None,
        cursor: str = "",
        on_unreadable: OnUnreadable | None = None,
    ) -> Watch:
        """Returns the changes of records of this kind; see `Store.watch`."""
        return open_watch(self._scope, [self._kind.name], ids, since, cursor, on_unreadable=on_unreadable)

    def history(self, id: str, /, *, on_unreadable: OnUnreadable | None = None) -> Iterator[views.Change]:
        """Yields the changes of one record, oldest first. Each holds the record as it was after the change.

        The changes come from a watch, so they begin with the oldest one that the job `compact` has kept. `store.audit.of(kind,
        id)` has the whole history, as the fields that differ. A damaged change is left out, as in `Store.watch`.
        """
        try:
            yield from self._replay(id, 0, on_unreadable)
        except Compacted as error:
            yield from self._replay(id, error.oldest_revision, on_unreadable)

    def _replay(self, id: str, since: int, on_unreadable: OnUnreadable | None) -> Watch:
        return open_watch(
            self._scope, [self._kind.name], [id], since, "", replay_only=True, notes=False, on_unreadable=on_unreadable
        )

    def _listed(
        self, filter: str, order_by: str, page_size: int, limit: int | None, on_unreadable: OnUnreadable | None = None
    ) -> Listing[M]:
        return list_records(self._scope, self._kind, self._value, filter, order_by, page_size, limit, on_unreadable)

    def _found(self, ids: Sequence[str], gaps: Gaps) -> dict[str, M]:
        keys = [message_with(store_service_pb2.RecordKey, kind=self._kind.name, id=each) for each in ids]
        found: dict[str, M] = {}
        while keys:
            request = message_with(store_service_pb2.StoreServiceBatchGetRequest, workspace=self._scope.workspace, keys=keys)
            answer = self._scope.connection.call(lambda stubs: stubs.store.BatchGet, request)
            gaps.note(answer.unreadable)
            for record in answer.records:
                try:
                    found[record.id] = self._value(getattr(record, self._kind.name))
                except DataLoss as error:
                    gaps.note([lost_content(self._kind, record.id, error)])
            keys = list(answer.remaining)
        return found


class Collection(CollectionWrites[M], Records[M]):
    """The records of a kind whose `save` has no rules of its own."""
