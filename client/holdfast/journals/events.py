"""The events of tasks, runs, sessions, constructs and the workspace: save one or many, query in pages, follow."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Generic, TypeVar, Union

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.blobs.contents import Contents, open_content, text_of
from holdfast.contract.messages import message_with
from holdfast.journals.batches import Grouped, grouped, in_order, parent_of
from holdfast.journals.calls import JournalCalls, JournalSink
from holdfast.journals.entry_watch import EntryWatch, OnSkipped
from holdfast.journals.reader import Reader
from holdfast.v1 import entry_pb2
from holdfast.values import views
from holdfast.values.filters import both, equal, quoted, quoted_time
from holdfast.values.view import copied
from holdfast.wire.pages import Listing, OnUnreadable, Page
from holdfast.wire.scope import Scope

JOURNAL = "event"

EventLike = Union["views.EventEntry", "views.Event", entry_pb2.Entry, entry_pb2.Event, Mapping[str, object]]
Number = TypeVar("Number")  # what a sink returns for one entry


class EventWrites(Generic[Number]):
    """Writes events. The store returns numbers; a transaction returns the entries, in which the commit sets the numbers.

    `Events` describes the fields.
    """

    def __init__(self, sink: JournalSink[Sequence[Any]]) -> None:
        self._sink = sink

    def save(self, parent_id: str = "", /, *, type: str, parent_kind: str = "task", **fields: object) -> Number:
        """Saves one event of a task and returns its number. It is durable when this returns.

        With `parent_kind` it is one of a run, a session or a construct, or (`parent_kind="workspace"`, without an id) of the
        workspace itself.

        `message` and `data` may have any size and any characters: what an event cannot hold is put into a blob, which is kept
        with the event.

        Raises ParentNotFound, TooLarge, InvalidArgument.
        """
        owner = parent_of(parent_kind, parent_id)
        event = event_of(self._sink.contents, {"type": type, **fields}, parent_kind, owner)
        saved: Number = self._sink.append(parent_kind, owner, [event])[0]
        return saved

    def save_many(self, events: Iterable[EventLike], /, *, parent_id: str = "", parent_kind: str = "task") -> list[Number]:
        """Saves events (views, messages, or dicts of their fields) in one commit, all or none; returns their numbers in order.

        Without a `parent_id`, each event belongs to the task that its `task_id` names. One call takes at most 1,000 parents,
        10,000 events of each, and 16 MiB; without events it does nothing. Raises the errors of `save`.
        """
        appends = appends_of(self._sink.contents, events, parent_kind, parent_id)
        return in_order(appends, self._sink.append_all([append for append, _ in appends]))


class Events(EventWrites[int]):
    """The events of one workspace. Thread-safe.

    An event has a `type` (required), `task_id`, `phase`, `iteration`, `source`, `message`, `data` (any JSON value), `duration_ms`
    and `time` (when it happened). Its parent is a task, a run, a session, a construct or the workspace itself; the events
    of a parent are numbered 1, 2, 3 … Those of the workspace belong to no record, so no delete removes them.
    An event has at most 1 MiB, its `message` and `data` any size: what it cannot hold is in blobs, which it names
    (`message_digest`, `data_digest`). Reads fill it in; with `contents=False` they leave it there, and `text` and `open_content`
    fetch it.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._calls: JournalCalls[views.EventEntry] = JournalCalls(scope, JOURNAL)
        super().__init__(self._calls)

    def query(
        self,
        *,
        filter: str = "",
        task_id: str = "",
        type: str | Iterable[str] = "",
        phase: str = "",
        source: str = "",
        since: datetime.datetime | Timestamp | None = None,
        until: datetime.datetime | Timestamp | None = None,
        parent_kind: str = "",
        parent_id: str = "",
        descending: bool = False,
        by_revision: bool = False,
        page_size: int = 0,
        limit: int | None = None,
        contents: bool = True,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.EventEntry]:
        """Yields the events that match all conditions; pages are requested as they are consumed. Each event names its parent.

        `type` may be several types; an event must have one of them. `since` (inclusive) and `until` (exclusive) compare the
        event's `time`, or the time it was saved if it has none. Events are ordered by parent, then by number; with
        `by_revision`, by the commits that saved them, whatever their parent; `descending` reverses either, so that with both the
        newest event of all comes first. For damaged events see `read`. If the filter does not parse, the first `next` raises
        InvalidArgument.
        """
        return self._calls.list(
            limit,
            contents=contents,
            parent_kind=parent_kind,
            parent_id=parent_id,
            filter=_conditions(task_id, type, phase, source, since, until, filter),
            descending=descending,
            by_revision=by_revision,
            page_size=page_size,
            on_unreadable=on_unreadable,
        )

    def page(
        self,
        *,
        filter: str = "",
        task_id: str = "",
        type: str | Iterable[str] = "",
        phase: str = "",
        source: str = "",
        since: datetime.datetime | Timestamp | None = None,
        until: datetime.datetime | Timestamp | None = None,
        parent_kind: str = "",
        parent_id: str = "",
        descending: bool = False,
        by_revision: bool = False,
        page_size: int = 0,
        page_token: str = "",
        contents: bool = True,
        on_unreadable: OnUnreadable | None = None,
    ) -> Page[views.EventEntry]:
        """Returns one page of what `query` yields; see `Records.page`."""
        return self._calls.page(
            parent_kind=parent_kind,
            parent_id=parent_id,
            filter=_conditions(task_id, type, phase, source, since, until, filter),
            descending=descending,
            by_revision=by_revision,
            page_size=page_size,
            page_token=page_token,
            contents=contents,
            on_unreadable=on_unreadable,
        )

    def read(
        self,
        parent_id: str = "",
        /,
        *,
        start: int = 0,
        end: int = 0,
        limit: int = 0,
        descending: bool = False,
        filter: str = "",
        follow: bool = False,
        parent_kind: str = "task",
        contents: bool = True,
        on_unreadable: OnUnreadable | None = None,
    ) -> Reader[views.EventEntry]:
        """Returns the events of one parent with numbers `start` to `end`, in order, at most `limit`; see `Transcripts.read`."""
        how = {"start": start, "end": end, "limit": limit, "descending": descending, "filter": filter, "follow": follow}
        owner = parent_of(parent_kind, parent_id)
        return self._calls.read(parent_kind, owner, contents=contents, on_unreadable=on_unreadable, **how)

    def text(self, event: entry_pb2.Entry, field: str = "message", /) -> str:
        """Returns the `message` of an event, or its `data` as JSON text, exactly as it was given. Raises DataLoss.

        `entry.event.message` is the same; only the protobuf shows U+FFFD for a lone surrogate, which it cannot hold.
        """
        return text_of(event, self._calls.contents.blobs, field)

    def open_content(self, event: entry_pb2.Entry, field: str = "data", /) -> BinaryIO:
        """Returns the `data` (JSON) or the `message` of an event as a readable, seekable file of UTF-8. Raises DataLoss."""
        return open_content(event, self._calls.contents.blobs, field)

    def follow(
        self, parent_id: str = "", /, *, start: int = 0, filter: str = "", parent_kind: str = "task"
    ) -> Reader[views.EventEntry]:
        """Returns the events of one parent from number `start`, then new ones as they are saved, until `Reader.close()`."""
        return self._calls.read(parent_kind, parent_of(parent_kind, parent_id), start=start, filter=filter, follow=True)

    def watch(
        self,
        *,
        ids: Iterable[str] = (),
        since: int | None = None,
        cursor: str = "",
        replay_only: bool = False,
        on_skipped: OnSkipped | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> EntryWatch[views.EventEntry]:
        """Returns the events of all parents, or of those with these ids, as they are saved, until `EntryWatch.close()`.

        Each comes once, in the order of commits, and names its parent. The watch begins after the revision `since`, after the
        last event of an earlier watch (its `cursor`), or (with neither) now. With `replay_only` it ends at the present.
        Events that are gone by then, because their parent was deleted, are skipped: a warning is logged, or `on_skipped` is
        called with the change and their number; it may raise. Raises Compacted, OutOfRange as `Store.watch` does.
        """
        return EntryWatch(
            self._scope,
            JOURNAL,
            ids=tuple(ids),
            since=since,
            cursor=cursor,
            replay_only=replay_only,
            on_skipped=on_skipped,
            on_unreadable=on_unreadable,
        )


def event_of(contents: Contents, value: EventLike, parent_kind: str, parent_id: str) -> entry_pb2.Entry:
    """Returns an event to append. If its parent is a task, `task_id` defaults to the parent. Raises the errors of `stored`."""
    entry: entry_pb2.Entry = copied(contents.stored(value, JOURNAL))
    if parent_kind == "task" and not entry.event.task_id:
        entry.event.MergeFrom(message_with(entry_pb2.Event, task_id=parent_id))
    return entry


def appends_of(contents: Contents, events: Iterable[EventLike], parent_kind: str, parent_id: str) -> Grouped:
    """Groups events by parent; without a `parent_id`, by the tasks that they name."""
    given = parent_of(parent_kind, parent_id)
    made = (event_of(contents, each, parent_kind, given) for each in events)
    return grouped(parent_kind, ((given or (each.event.task_id if parent_kind == "task" else ""), each) for each in made))


def _conditions(
    task_id: str,
    types: str | Iterable[str],
    phase: str,
    source: str,
    since: datetime.datetime | Timestamp | None,
    until: datetime.datetime | Timestamp | None,
    filter: str,
) -> str:
    wanted = both(equal(task_id=task_id, phase=phase, source=source), _of_types(types))
    return both(both(wanted, _at(">=", since)), both(_at("<", until), filter))


def _of_types(types: str | Iterable[str]) -> str:
    names = [types] if isinstance(types, str) else list(types)
    return " OR ".join(f"type = {quoted(each)}" for each in names if each)


def _at(operator: str, time: datetime.datetime | Timestamp | None) -> str:
    """Returns a filter on an event's time, or on the time it was saved if it has none."""
    if time is None:
        return ""
    literal = quoted_time(time)
    return f"time {operator} {literal} OR (time = null AND create_time {operator} {literal})"
