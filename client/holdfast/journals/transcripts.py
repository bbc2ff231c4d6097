"""The transcripts of sessions and tasks: append in batches, read as a stream, follow."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Generic, TypeVar, Union

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.blobs.contents import open_content, text_of
from holdfast.journals.batches import grouped, in_order
from holdfast.journals.calls import JournalCalls, JournalSink
from holdfast.journals.entry_watch import EntryWatch, OnSkipped
from holdfast.journals.reader import Reader
from holdfast.journals.writer import Acknowledged, TranscriptWriter
from holdfast.v1 import entry_pb2
from holdfast.values import views
from holdfast.wire.pages import Listing, OnUnreadable, Page
from holdfast.wire.scope import Scope

JOURNAL = "transcript"

EntryLike = Union["views.TranscriptEntry", "views.Transcript", entry_pb2.Entry, entry_pb2.Transcript, Mapping[str, object]]
# The types that a sink returns for one entry and for several.
Number = TypeVar("Number")
Numbers = TypeVar("Numbers", bound=Sequence[Any])


class TranscriptWrites(Generic[Number, Numbers]):
    """Writes transcripts. The store returns numbers; a transaction returns the entries, in which the commit sets the numbers.

    `Transcripts` describes the fields.
    """

    def __init__(self, sink: JournalSink[Numbers]) -> None:
        self._sink = sink

    def append(
        self,
        parent_id: str,
        /,
        *,
        role: str,
        content: str = "",
        task_id: str = "",
        phase: str = "",
        iteration: int = 0,
        metadata: object = None,
        time: datetime.datetime | Timestamp | None = None,
        parent_kind: str = "session",
        expected_last_number: int | None = None,
    ) -> Number:
        """Appends one entry and returns its number. It is durable when this returns.

        A content of any size, with any characters, is one call: what an entry cannot hold is put into a blob, which is kept with
        the entry.

        `expected_last_number` is the number of the last entry that the caller knows. Raises VersionMismatch if the transcript
        ends with another number, ParentNotFound, TooLarge, InvalidArgument.
        """
        fields = {"role": role, "content": content, "task_id": task_id, "phase": phase, "iteration": iteration}
        entry = self._sink.contents.stored({**fields, "metadata": metadata, "time": time})
        appended: Number = self._sink.append(parent_kind, parent_id, [entry], expected_last_number)[0]
        return appended

    def append_many(
        self,
        parent_id: str,
        entries: Iterable[EntryLike],
        /,
        *,
        parent_kind: str = "session",
        expected_last_number: int | None = None,
    ) -> Numbers:
        """Appends entries (views, messages, or dicts of their fields), all or none, and returns their numbers.

        Without entries it returns an empty range. One call takes at most 10,000 entries and 16 MiB; `writer` takes any number.
        Raises the errors of `append`.
        """
        made = [self._sink.contents.stored(each) for each in entries]
        return self._sink.append(parent_kind, parent_id, made, expected_last_number)

    def append_batch(self, entries: Iterable[EntryLike], /) -> list[Number]:
        """Appends entries of several tasks in one commit, all or none, and returns their numbers in order.

        Each goes to the transcript of the task that its `task_id` names. One call takes at most 1,000 tasks, 10,000 entries of
        each, and 16 MiB; without entries it does nothing. Raises the errors of `append`.
        """
        made = [self._sink.contents.stored(each) for each in entries]
        appends = grouped("task", [(each.transcript.task_id, each) for each in made])
        return in_order(appends, self._sink.append_all([append for append, _ in appends]))


class Transcripts(TranscriptWrites[int, range]):
    """The transcripts of one workspace. Thread-safe.

    An entry has a `role` (required), `content`, `task_id`, `phase`, `iteration`, `metadata` (any JSON value) and `time` (when the
    author wrote it). The entries of a transcript are numbered 1, 2, 3 … An entry has at most 1 MiB, its content any size.
    A content that an entry cannot hold is in a blob, which the entry names (`content_digest`). Reads fill it in; with
    `contents=False` they leave it in the blob, and `text` and `open_content` fetch it.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._calls: JournalCalls[views.TranscriptEntry] = JournalCalls(scope, JOURNAL)
        super().__init__(self._calls)

    def writer(
        self, parent_id: str, /, *, parent_kind: str = "session", on_acknowledged: Callable[[Acknowledged], None] | None = None
    ) -> TranscriptWriter:
        """Returns a writer that gathers entries while a call is in flight. Use it in a `with` block.

        The end of the block waits until all entries are durable. The writer's thread calls `on_acknowledged` after each batch,
        with the batch's numbers.
        """
        writer = TranscriptWriter(self._scope, parent_kind=parent_kind, parent_id=parent_id, on_acknowledged=on_acknowledged)
        self._scope.connection.add_writer(writer)
        return writer

    def read(
        self,
        parent_id: str,
        /,
        *,
        start: int = 0,
        end: int = 0,
        limit: int = 0,
        descending: bool = False,
        filter: str = "",
        follow: bool = False,
        parent_kind: str = "session",
        contents: bool = True,
        on_unreadable: OnUnreadable | None = None,
    ) -> Reader[views.TranscriptEntry]:
        """Returns the entries with numbers `start` to `end`, in order, at most `limit`; 0 means no bound.

        A `start` past the last entry yields nothing. With `follow` the reader waits for new entries until it is closed. After an
        outage it resumes at its position. An entry that is damaged, or whose content is, is left out: it is in `unreadable` of
        the reader and is logged as a warning, or given to `on_unreadable`, which may raise.
        Raises NotFound for a missing parent, InvalidArgument for a filter that does not parse.
        """
        how = {"start": start, "end": end, "limit": limit, "descending": descending, "filter": filter, "follow": follow}
        return self._calls.read(parent_kind, parent_id, contents=contents, on_unreadable=on_unreadable, **how)

    def text(self, entry: entry_pb2.Entry, /) -> str:
        """Returns the content of an entry exactly as it was given, wherever it is. Raises DataLoss.

        `entry.content` is the same; only the message shows U+FFFD for a lone surrogate, which it cannot hold.
        """
        return text_of(entry, self._calls.contents.blobs)

    def open_content(self, entry: entry_pb2.Entry, /) -> BinaryIO:
        """Returns the content of an entry as a readable, seekable binary file of UTF-8, which fetches what is read of it.

        Read the entry with `contents=False`, to have it in memory only as far as it is read. Raises DataLoss.
        """
        return open_content(entry, self._calls.contents.blobs)

    def follow(
        self, parent_id: str, /, *, start: int = 0, filter: str = "", parent_kind: str = "session"
    ) -> Reader[views.TranscriptEntry]:
        """Returns the entries from number `start`, then new ones as they are appended, until `Reader.close()`."""
        return self._calls.read(parent_kind, parent_id, start=start, filter=filter, follow=True)

    def list(
        self,
        *,
        filter: str = "",
        parent_kind: str = "",
        parent_id: str = "",
        descending: bool = False,
        page_size: int = 0,
        limit: int | None = None,
        contents: bool = True,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.TranscriptEntry]:
        """Yields the entries of all parents, or of one, page by page. Each entry names its parent.

        Entries are ordered by transcript, then by number; `descending` reverses this. For damaged entries see `read`.
        """
        return self._calls.list(
            limit,
            contents=contents,
            parent_kind=parent_kind,
            parent_id=parent_id,
            filter=filter,
            descending=descending,
            page_size=page_size,
            on_unreadable=on_unreadable,
        )

    def page(
        self,
        *,
        filter: str = "",
        parent_kind: str = "",
        parent_id: str = "",
        descending: bool = False,
        page_size: int = 0,
        page_token: str = "",
        contents: bool = True,
        on_unreadable: OnUnreadable | None = None,
    ) -> Page[views.TranscriptEntry]:
        """Returns one page of what `list` yields; see `Records.page`."""
        return self._calls.page(
            parent_kind=parent_kind,
            parent_id=parent_id,
            filter=filter,
            descending=descending,
            page_size=page_size,
            page_token=page_token,
            contents=contents,
            on_unreadable=on_unreadable,
        )

    def watch(
        self,
        *,
        ids: Iterable[str] = (),
        since: int | None = None,
        cursor: str = "",
        replay_only: bool = False,
        on_skipped: OnSkipped | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> EntryWatch[views.TranscriptEntry]:
        """Returns the entries of all parents, or of those with these ids, as they are appended, until `EntryWatch.close()`.

        Each comes once, in the order of commits, and names its parent. The watch begins after the revision `since`, after the
        last entry of an earlier watch (its `cursor`), or (with neither) now. With `replay_only` it ends at the present.
        Entries that are gone by then, because their parent was deleted, are skipped: a warning is logged, or `on_skipped` is
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
