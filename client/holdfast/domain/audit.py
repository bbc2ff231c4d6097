"""The audit: each change of a record with its actor, time and fields before and after, derived from the store's history."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import kind_of
from holdfast.journals.calls import JournalCalls
from holdfast.v1 import entry_pb2
from holdfast.values.filters import both, equal, quoted_time
from holdfast.values.mutations import Wrapped
from holdfast.wire.scope import Scope

JOURNAL = "audit"


class AuditLog:
    """The audit of one workspace. Read-only: every commit adds to it. Thread-safe.

    An entry has the `actor`, the `kind` and `id` of the changed record, the `action`, the `version` after it, the `time`, and
    `diff`: the fields that differ, each with its value before and after, as JSON that `holdfast.json_value` decodes. `peer_uid`
    and `peer_pid` tell which process made the commit; they are unset in commits of older daemons.
    """

    def __init__(self, scope: Scope) -> None:
        self._calls = JournalCalls(scope, JOURNAL)

    def of(
        self, record: str | Message | Wrapped, id: str = "", /, *, filter: str = "", page_size: int = 0, limit: int | None = None
    ) -> Iterator[entry_pb2.Audit]:
        """Yields the entries about one record, oldest first. Takes a kind and an id, `of("task", "TASK-001")`, or a message.

        Raises TypeError for a message that is not a record, and without an id.
        """
        kind, named = (record, id) if isinstance(record, str) else _place(record)
        if not kind or not named:
            raise TypeError("audit.of takes a kind and an id, or a record.")
        return self._entries(limit, parent_kind=kind, parent_id=named, filter=filter, page_size=page_size)

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
    ) -> Iterator[entry_pb2.Audit]:
        """Yields the entries about all records, page by page: by `actor`, `kind` and `action`, from `since`, before `until`.

        Oldest first; with `descending`, newest first: in the order of revisions, which is that of times unless the clock was set
        back; then a filter on times logs a warning (logger `holdfast`). The first `next` raises InvalidArgument if the filter
        does not parse.
        """
        wanted = both(equal(actor=actor, kind=kind, action=action), filter)
        wanted = both(wanted, f"time >= {quoted_time(since)}" if since is not None else "")
        wanted = both(wanted, f"time < {quoted_time(until)}" if until is not None else "")
        return self._entries(limit, filter=wanted, page_size=page_size, descending=descending)

    def _entries(self, limit: int | None, **fields: Any) -> Iterator[entry_pb2.Audit]:
        return (entry.audit for entry in self._calls.list(limit, **fields))


def _place(record: Message | Wrapped) -> tuple[str, str]:
    message = record if isinstance(record, Message) else record.message
    return kind_of(message).name, str(getattr(message, "id", ""))
