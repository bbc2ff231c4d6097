"""The audit: each change of a record with its actor, time and fields before and after, derived from the store's history."""

from __future__ import annotations

import datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import kind_of
from holdfast.journals.calls import JournalCalls
from holdfast.values import views
from holdfast.values.fields import message_of
from holdfast.values.filters import both, equal, quoted_time
from holdfast.values.mutations import Wrapped
from holdfast.values.view import View
from holdfast.wire.pages import Listing, OnUnreadable, Page
from holdfast.wire.scope import Scope

JOURNAL = "audit"


class AuditLog:
    """The audit of one workspace. Read-only: every commit adds to it. Thread-safe.

    An entry has the `actor`, the `kind` and `id` of the changed record, the `action`, the `version` after it, the `time`, and
    `diff`: a dict of the fields that differ, each with its value before and after. `peer_uid` and `peer_pid` tell which process
    made the commit; they are None in commits of older daemons. `revision` and `number` together order the entries.
    """

    def __init__(self, scope: Scope) -> None:
        self._calls: JournalCalls[views.AuditEntry] = JournalCalls(scope, JOURNAL)

    def of(
        self,
        record: str | View | Message | Wrapped,
        id: str = "",
        /,
        *,
        filter: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.AuditEntry]:
        """Yields the entries about one record, oldest first. Takes a kind and an id, `of("task", "TASK-001")`, or a record.

        Raises TypeError for what is not a record, and without an id.
        """
        kind, named = _place(record, id)
        return self._entries(limit, on_unreadable, parent_kind=kind, parent_id=named, filter=filter, page_size=page_size)

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
        record: str | View | Message | Wrapped = "",
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


def _place(record: str | View | Message | Wrapped, id: str) -> tuple[str, str]:
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
