"""The same methods for every kind of record: one generic class, made once for each kind of the registry."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from holdfast.contract.ids import random_id, request_id
from holdfast.contract.kinds import Kind
from holdfast.errors import Compacted, InvalidArgument, WorkspaceNotFound
from holdfast.records.scans import Scan, scan_request
from holdfast.records.watch import Watch
from holdfast.v1 import admin_service_pb2, record_pb2, store_service_pb2
from holdfast.values import mutations
from holdfast.wire.connection import Connection

M = TypeVar("M")

BATCH = 1000
_log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class Scope:
    """What every call carries: the connection, the workspace that it is about, and who does it."""

    connection: Connection
    workspace: str
    actor: str

    def commit(
        self, mutations: Sequence[store_service_pb2.Mutation], *, return_records: bool = True
    ) -> store_service_pb2.StoreServiceCommitResponse:
        """Applies the mutations as one commit, once, however often the call has to be repeated."""
        request = store_service_pb2.StoreServiceCommitRequest(
            workspace=self.workspace,
            actor=self.actor,
            request_id=request_id(),
            mutations=mutations,
            return_records=return_records,
        )
        return self.connection.call(lambda stubs: stubs.store.Commit, request)

    def allocate(self, kind: str, count: int) -> list[str]:
        """Ids of a sequence kind that nobody else is given."""
        request = store_service_pb2.StoreServiceAllocateIdRequest(
            workspace=self.workspace, actor=self.actor, request_id=request_id(), kind=kind, count=count
        )
        return list(self.connection.call(lambda stubs: stubs.store.AllocateId, request).ids)

    def scan(self, *lists: tuple[str, str]) -> list[list[record_pb2.Record]]:
        """The records of whole (kind, filter) lists, all as of one revision, each in the order of creation.

        Raises NotFound without the workspace, ResourceExhausted when they have more than 256 MiB together.
        """
        found: list[list[record_pb2.Record]] = []
        for frames in Scan(self.connection, scan_request(self.workspace, lists)).read():
            for frame in frames:
                report_unreadable(frame.unreadable)
            found.append([record for frame in frames for record in frame.records])
        return found

    def watch(
        self, kinds: Iterable[str], ids: Iterable[str], since: int | None, cursor: str, *, replay_only: bool = False
    ) -> Watch:
        """A watch from a cursor, from a revision, or (with neither) from now on, which is fixed before this returns."""
        if since is None and not cursor:
            since = self.connection.call(
                lambda stubs: stubs.admin.GetStatus, admin_service_pb2.AdminServiceGetStatusRequest()
            ).revision
        return Watch(
            self.connection,
            workspace=self.workspace,
            kinds=tuple(kinds),
            ids=tuple(ids),
            after_revision=since or 0,
            cursor=cursor,
            replay_only=replay_only,
        )


def report_unreadable(unreadable: Iterable[store_service_pb2.Unreadable]) -> None:
    """Logs what is there and cannot be read, so that a damaged record does not hide the sound ones."""
    for each in unreadable:
        _log.warning("holdfast: %s %s cannot be read: %s", each.kind, each.id, each.reason)


class Records(Generic[M]):
    """The records of one kind. Safe in threads.

    Values are the kind's protobuf messages. Where fields are taken, keywords and a message work alike; fields marked JSON take
    plain values or `holdfast.Json`, times take aware datetimes. Reads raise NotFound (WorkspaceNotFound) for what is not there.
    """

    def __init__(self, scope: Scope, kind: Kind) -> None:
        self._scope = scope
        self._kind = kind

    def __repr__(self) -> str:
        return f"<holdfast.{self._kind.noun} of workspace {self._scope.workspace!r}>"

    def create(self, message: M | None = None, /, **fields: object) -> M:
        """Adds a record and returns it as stored. Without an `id` the daemon makes one.

        Raises AlreadyExists when the id is taken, ParentNotFound when a record it refers to is not there, and InvalidArgument.
        """
        return self._committed(mutations.insert(self._kind, message, fields))

    def get(self, id: str, /) -> M:
        """The record of that id. Raises NotFound."""
        request = store_service_pb2.StoreServiceGetRequest(workspace=self._scope.workspace, kind=self._kind.name, id=id)
        return self._value(self._scope.connection.call(lambda stubs: stubs.store.Get, request).record)

    def exists(self, id: str, /) -> bool:
        """Whether there is a record of that id."""
        try:
            return bool(self._found([id]))
        except WorkspaceNotFound:
            return False

    def batch_get(self, ids: Iterable[str], /) -> dict[str, M]:
        """The records that exist among `ids`, by id and in that order; up to 1,000 are read as of one revision."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, M] = {}
        for start in range(0, len(wanted), BATCH):
            found.update(self._found(wanted[start : start + BATCH]))
        return found

    def list(self, *, filter: str = "", order_by: str = "", page_size: int = 0, limit: int | None = None) -> Iterator[M]:
        """The records that a filter matches, read page by page as they are asked for.

        `filter` is AIP-160 (`status = "running" AND tags:"urgent"`), `order_by` names fields (`number desc`); the default is the
        time of creation. `limit` ends it early. Raises InvalidArgument for a filter that does not parse, at the first record.
        """
        return self._listed(filter, order_by, page_size, limit)

    def first(self, *, filter: str = "", order_by: str = "") -> M | None:
        """The first record that `list` would give; None when there is none."""
        try:
            return next(self._listed(filter, order_by, 0, 1), None)
        except WorkspaceNotFound:
            return None

    def count(self, filter: str = "") -> int:
        """How many records a filter matches."""
        request = store_service_pb2.StoreServiceCountRequest(workspace=self._scope.workspace, kind=self._kind.name, filter=filter)
        return self._scope.connection.call(lambda stubs: stubs.store.Count, request).count

    def update(self, id: str | M, /, *, version: int = 0, **fields: object) -> M:
        """Changes a record and returns it as stored.

        With an id, the given fields change and None clears one; `version`, when not 0, is the version that must still be there.
        With a message, all its fields are written and its own version must still be there.
        Raises NotFound, VersionMismatch (read again and decide), InvalidArgument.
        """
        return self._committed(mutations.update(self._kind, id, version, fields))

    def delete(self, id: str, /, *, version: int = 0, cascade: bool = False) -> None:
        """Removes a record. Raises NotFound, VersionMismatch, or HasDependents unless `cascade` is set."""
        self._scope.commit([mutations.delete(self._kind, id, version, cascade)])

    def next_id(self) -> str:
        """A new id for a record of this kind, which nobody else is given. TypeError where ids are made of a record's fields."""
        if self._kind.id_template:
            raise TypeError(f"The id of a {self._kind.name} is made of its fields: {self._kind.id_template}")
        if self._kind.sequence_ids:
            return self._scope.allocate(self._kind.name, 1)[0]
        return random_id(self._kind.id_prefix)

    def watch(self, *, ids: Iterable[str] = (), since: int | None = None, cursor: str = "") -> Watch:
        """The changes of this kind; see `Store.watch`."""
        return self._scope.watch([self._kind.name], ids, since, cursor)

    def history(self, id: str, /) -> Iterator[store_service_pb2.Change]:
        """The changes of one record, oldest first, each with the record as it was after it.

        Read from the watch, so it begins where a watch may still begin: the job `compact` leaves out what was before. The whole
        history, as the fields that differ, is in `store.audit.of(kind, id)`.
        """
        try:
            yield from self._replay(id, 0)
        except Compacted as error:
            yield from self._replay(id, error.oldest_revision)

    def _replay(self, id: str, since: int) -> Watch:
        return self._scope.watch([self._kind.name], [id], since, "", replay_only=True)

    def _listed(self, filter: str, order_by: str, page_size: int, limit: int | None) -> Iterator[M]:
        if page_size < 0 or (limit is not None and limit < 0):
            raise InvalidArgument("page_size and limit may not be negative.", reason="VALUE_INVALID")
        request = store_service_pb2.StoreServiceListRequest(
            workspace=self._scope.workspace, kind=self._kind.name, filter=filter, order_by=order_by, page_size=page_size
        )
        if limit is not None and not page_size:
            request.page_size = min(limit, BATCH)
        return self._pages(request, limit)

    def _pages(self, request: store_service_pb2.StoreServiceListRequest, limit: int | None) -> Iterator[M]:
        left = limit
        while left is None or left > 0:
            page = self._scope.connection.call(lambda stubs: stubs.store.List, request)
            report_unreadable(page.unreadable)
            for record in page.records[:left]:
                yield self._value(record)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
            left = None if left is None else left - len(page.records)

    def _found(self, ids: Sequence[str]) -> dict[str, M]:
        keys = [store_service_pb2.RecordKey(kind=self._kind.name, id=each) for each in ids]
        found: dict[str, M] = {}
        while keys:
            request = store_service_pb2.StoreServiceBatchGetRequest(workspace=self._scope.workspace, keys=keys)
            answer = self._scope.connection.call(lambda stubs: stubs.store.BatchGet, request)
            report_unreadable(answer.unreadable)
            found.update((record.id, self._value(record)) for record in answer.records)
            keys = list(answer.remaining)
        return found

    def _committed(self, mutation: store_service_pb2.Mutation) -> M:
        result = self._scope.commit([mutation]).results[0]
        return self._value(result.record) if result.HasField("record") else self.get(result.id)

    def _value(self, record: record_pb2.Record) -> M:
        return cast(M, getattr(record, self._kind.name))


class Collection(Records[M]):
    """The records of a kind whose `save` is the plain one."""

    def save(self, message: M | None = None, /, **fields: object) -> M:
        """Adds the record, or changes the given fields of the one with that id, and returns it as stored.

        A message is written with all its fields. Raises InvalidArgument without an id, and what `create` raises.
        """
        return self._committed(mutations.upsert(self._kind, message, fields))
