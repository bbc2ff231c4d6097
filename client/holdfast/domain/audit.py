"""The audit: each change of a record with its actor, time and fields before and after, derived from the store's history.

Callers add actions of their own to it, in order with the changes.
"""

from __future__ import annotations

import datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import kind_of
from holdfast.errors import InvalidArgument, NotFound
from holdfast.journals.calls import JournalCalls
from holdfast.records.sink import Sink
from holdfast.v1.store_service_pb2 import Mutation, Note
from holdfast.values import views
from holdfast.values.fields import json_field, message_of
from holdfast.values.filters import both, equal, quoted_time
from holdfast.values.mutations import Wrapped
from holdfast.values.view import View
from holdfast.wire.pages import Listing, OnUnreadable, Page, raise_unreadable

JOURNAL = "audit"


RecordLike = str | View | Message | Wrapped


class AuditWrites:
    """Adds actions of the caller's own to the audit."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def record(self, record: RecordLike, id: str = "", /, *, action: str, diff: object = None) -> None:
        """Adds an action to the audit of a record, which it does not change: `record("task", "TASK-001", action="approved")`.

        The entry has the client's actor, the time of the commit, and `diff`, any JSON value. It is durable when this returns, is
        in order with the changes of the record, and stays when the record is deleted. Watches deliver it as a change with a
        `note`. `action` has at most 200 bytes and is none of the audit's own: insert, update, delete, append, drop.
        Raises NotFound if there never was such a record, InvalidArgument, TooLarge above 1 MiB.
        """
        kind, named = _place(record, id)
        told = "" if diff is None else json_field(diff)
        self._sink.write(Mutation(note=Note(kind=kind, id=named, action=action, diff=told)))


class AuditLog(AuditWrites):
    """The audit of one workspace. Every commit adds to it; `record` adds an action of the caller's own. Thread-safe.

    An entry has the `actor`, the `kind` and `id` of the changed record, the `action`, the `version` after it, the `time`, and
    `diff`: a dict of the fields that differ, each with its value before and after. `peer_uid` and `peer_pid` tell which process
    made the commit; they are None in commits of older daemons. `revision` and `number` together order the entries; `key` is both
    as text (`41.2`), by which `get` finds the entry.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        self._calls: JournalCalls[views.AuditEntry] = JournalCalls(sink.scope, JOURNAL)

    def get(self, key: str, /) -> views.AuditEntry:
        """Returns the entry with that key. Raises NotFound, DataLoss if it cannot be read, InvalidArgument for no key."""
        revision, _, number = key.partition(".")
        if not (revision.isdecimal() and number.isdecimal()):
            raise InvalidArgument(f"{key!r} is not the key of an entry of the audit, such as 41.2.", reason="VALUE_INVALID")
        wanted = f"revision = {int(revision)} AND number = {int(number)}"
        found = next(self._entries(1, raise_unreadable, filter=wanted), None)
        if found is None:
            raise NotFound(f"The audit of workspace {self._sink.scope.workspace} has no entry {key}.", reason="RECORD_NOT_FOUND")
        return found

    def of(
        self,
        record: RecordLike,
        id: str = "",
        /,
        *,
        filter: str = "",
        descending: bool = False,
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.AuditEntry]:
        """Yields the entries about one record, oldest first; with `descending`, newest first.

        Takes a kind and an id, `of("task", "TASK-001")`, or a record.

        Raises TypeError for what is not a record, and without an id.
        """
        kind, named = _place(record, id)
        asked = {"parent_kind": kind, "parent_id": named, "descending": descending, "page_size": page_size}
        return self._entries(limit, on_unreadable, filter=filter, **asked)

    def query(
        self,
        *,
        filter: str = "",
        actor: str = "",
        kind: str = "",
        action: str = "",
        since: datetime.datetime | Timestamp | None = None,
        until: datetime.datetime | Timestamp | None = None,
        descending: bool = False,
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.AuditEntry]:
        """Yields the entries about all records, page by page: by `actor`, `kind` and `action`, from `since`, before `until`.

        Oldest first; with `descending`, newest first: in the order of revisions, which is that of times unless the clock was set
        back; then a filter on times logs a warning (logger `holdfast`). The first `next` raises InvalidArgument if the filter
        does not parse. An entry of which the history is damaged is left out; see `Records.list`.
        """
        wanted = _conditions(actor, kind, action, since, until, filter)
        return self._entries(limit, on_unreadable, filter=wanted, page_size=page_size, descending=descending)

    def page(
        self,
        record: RecordLike = "",
        id: str = "",
        /,
        *,
        filter: str = "",
        actor: str = "",
        kind: str = "",
        action: str = "",
        since: datetime.datetime | Timestamp | None = None,
        until: datetime.datetime | Timestamp | None = None,
        descending: bool = False,
        page_size: int = 0,
        page_token: str = "",
        on_unreadable: OnUnreadable | None = None,
    ) -> Page[views.AuditEntry]:
        """Returns one page of what `query` yields, or with a record (as in `of`) of the entries about it; see `Records.page`."""
        parent_kind, parent_id = ("", "") if isinstance(record, str) and not record else _place(record, id)
        return self._calls.page(
            parent_kind=parent_kind,
            parent_id=parent_id,
            filter=_conditions(actor, kind, action, since, until, filter),
            descending=descending,
            page_size=page_size,
            page_token=page_token,
            on_unreadable=on_unreadable,
        )

    def _entries(self, limit: int | None, on_unreadable: OnUnreadable | None, **fields: Any) -> Listing[views.AuditEntry]:
        return self._calls.list(limit, on_unreadable=on_unreadable, **fields)


def _conditions(
    actor: str,
    kind: str,
    action: str,
    since: datetime.datetime | Timestamp | None,
    until: datetime.datetime | Timestamp | None,
    filter: str,
) -> str:
    wanted = both(equal(actor=actor, kind=kind, action=action), filter)
    wanted = both(wanted, f"time >= {quoted_time(since)}" if since is not None else "")
    return both(wanted, f"time < {quoted_time(until)}" if until is not None else "")


def _place(record: RecordLike, id: str) -> tuple[str, str]:
    """The kind and the id of a record. Raises TypeError if one is missing."""
    if isinstance(record, str):
        kind, named = record, id
    else:
        found = message_of(record)
        message: Message = found if isinstance(found, Message) else message_of(found.message)
        kind, named = kind_of(message).name, str(getattr(message, "id", ""))
    if not kind or not named:
        raise TypeError("The audit of one record takes a kind and an id, or the record.")
    return kind, named
