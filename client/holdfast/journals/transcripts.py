"""The transcripts of sessions and tasks: appended in batches, read as a stream, followed live."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.journals.calls import JournalCalls, JournalSink
from holdfast.journals.reader import Reader
from holdfast.journals.writer import Acknowledged, TranscriptWriter
from holdfast.v1 import entry_pb2
from holdfast.values.entries import entry_of
from holdfast.wire.scope import Scope

JOURNAL = "transcript"

EntryLike = entry_pb2.Entry | entry_pb2.Transcript | Mapping[str, object]
# What a sink returns for one entry and for many.
Number = TypeVar("Number")
Numbers = TypeVar("Numbers", bound=Sequence[Any])


class TranscriptWrites(Generic[Number, Numbers]):
    """Writes transcripts. The store returns numbers; a transaction returns the entries, which get theirs at the commit.

    The fields are told at `Transcripts`.
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
        """Appends one entry and returns its number. Durable when it returns.

        `expected_last_number` is the last entry that the caller has seen; VersionMismatch when there are others.
        Raises ParentNotFound, TooLarge, InvalidArgument.
        """
        fields = {"role": role, "content": content, "task_id": task_id, "phase": phase, "iteration": iteration}
        entry = entry_of({**fields, "metadata": metadata, "time": time})
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
        """Appends entries (messages, or dicts of their fields), all or none, and returns their numbers; none: an empty range.

        One call takes 10,000 entries and 16 MiB; `writer` takes any number. Raises as `append` does.
        """
        return self._sink.append(parent_kind, parent_id, [entry_of(each) for each in entries], expected_last_number)


class Transcripts(TranscriptWrites[int, range]):
    """The transcripts of one workspace. Safe in threads.

    An entry has a `role` (required), `content`, `task_id`, `phase`, `iteration`, `metadata` (any JSON value) and `time` (when the
    author wrote it). It is numbered 1, 2, 3 … within its transcript. At most 1 MiB; put more into a blob.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._calls = JournalCalls(scope, JOURNAL)
        super().__init__(self._calls)

    def writer(
        self, parent_id: str, /, *, parent_kind: str = "session", on_acknowledged: Callable[[Acknowledged], None] | None = None
    ) -> TranscriptWriter:
        """A writer that gathers entries while a call is in flight; use it in a `with` block, at whose end all is durable.

        `on_acknowledged` is called from the writer's own thread after each batch with the numbers that it got.
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
    ) -> Reader:
        """The entries from number `start` to `end`, in order, at most `limit`; 0 means no bound.

        Reading past the end gives nothing. With `follow` it waits for more, until closed. After an outage it goes on
        where it stood. Raises NotFound when there is no such parent, and InvalidArgument for a filter that does not parse.
        """
        how = {"start": start, "end": end, "limit": limit, "descending": descending, "filter": filter, "follow": follow}
        return self._calls.read(parent_kind, parent_id, **how)

    def follow(self, parent_id: str, /, *, start: int = 0, filter: str = "", parent_kind: str = "session") -> Reader:
        """The entries from `start` on and those yet to come, until its `close()` is called."""
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
    ) -> Iterator[entry_pb2.Entry]:
        """Entries over all parents (or one), read page by page. Each names its parent.

        Ordered by transcript and number; `descending` is the reverse.
        """
        return self._calls.list(
            limit,
            parent_kind=parent_kind,
            parent_id=parent_id,
            filter=filter,
            descending=descending,
            page_size=page_size,
        )
