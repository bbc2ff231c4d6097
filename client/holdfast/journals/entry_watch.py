"""Watches a journal's entries across parents: each once, in the order of commits, across outages of the daemon.

A change names its journal and the first and last number of the entries that it appended. The entries are read with one stream
for each parent and group of changes. An entry carries its revision, so entries of a parent that was deleted and made anew are
not taken for those of an older change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Generic, TypeVar

from holdfast.contract.messages import message_with
from holdfast.errors import InvalidArgument, NotFound
from holdfast.journals.calls import JournalCalls
from holdfast.records.watch import revision_now
from holdfast.v1 import store_service_pb2
from holdfast.v1.store_service_pb2 import Action, Change
from holdfast.values import views
from holdfast.values.view import held
from holdfast.wire.pages import Gaps, OnUnreadable
from holdfast.wire.scope import Scope
from holdfast.wire.streams import Stream

E = TypeVar("E", bound="views.Entry")

MOST_PARENTS = 16  # streams that are open at a time; each holds one frame of at most 3 MiB

_log = logging.getLogger("holdfast")
Position = tuple[int, int, int]  # revision, ordinal within the commit, number of the last entry that was handed out
OnSkipped = Callable[[Change, int], object]


class EntryWatch(Generic[E]):
    """An iterator of entries, each with its parent. One thread iterates; any thread may `close`, which ends the iteration."""

    def __init__(
        self,
        scope: Scope,
        journal: str,
        *,
        ids: Sequence[str],
        since: int | None,
        cursor: str,
        replay_only: bool,
        on_skipped: OnSkipped | None,
        on_unreadable: OnUnreadable | None,
    ) -> None:
        if cursor:
            self._position, self._exact = _parsed(cursor)
        else:
            self._position, self._exact = (revision_now(scope) if since is None else since, 0, 0), False
        after = self._position[0] - self._exact
        self._request = message_with(
            store_service_pb2.StoreServiceWatchRequest,
            workspace=scope.workspace,
            kinds=[journal],
            ids=ids,
            after_revision=after,
            replay_only=replay_only,
        )
        self._calls: JournalCalls[E] = JournalCalls(scope, journal)
        self._gaps = Gaps(on_unreadable)
        self._on_skipped, self._on_unreadable = on_skipped or log_skipped, on_unreadable
        self._stream: Stream[store_service_pb2.StoreServiceWatchRequest, store_service_pb2.StoreServiceWatchResponse]
        self._stream = Stream(scope.connection, lambda stubs: stubs.store.Watch, lambda: self._request)
        self._closed = False
        self._entries = self._read()

    @property
    def cursor(self) -> str:
        """The position after the last entry that was handed out. Another watch of the same parents goes on with the next one."""
        return ".".join(map(str, self._position)) if self._exact else str(self._position[0])

    def __iter__(self) -> Iterator[E]:
        return self

    def __next__(self) -> E:
        return next(self._entries)

    def close(self) -> None:
        """Ends the watch, even while another thread waits for an entry."""
        self._closed = True
        self._stream.close()
        # Closing the generator ends its streams now. ValueError: another thread runs it, and the closed stream ends it there.
        with suppress(ValueError):
            self._entries.close()

    def __enter__(self) -> EntryWatch[E]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read(self) -> Generator[E, None, None]:
        for frame in self._stream:
            self._request.cursor = frame.cursor
            self._gaps.note(frame.unreadable)
            for group in _groups(frame.changes):
                yield from self._entries_of(group)
            if frame.revision >= self._position[0]:
                self._position, self._exact = (frame.revision, 0, 0), False

    def _entries_of(self, changes: Sequence[Change]) -> Generator[E, None, None]:
        """Yields the entries of changes of a few parents, in the order of the changes."""
        with ExitStack() as open_readers:
            parents: dict[tuple[str, str], _Parent[E]] = {}
            for each in changes:
                if (place := (each.parent_kind, each.id)) not in parents:
                    parents[place] = open_readers.enter_context(self._parent(place, changes))
            for each in changes:
                yield from self._appended(each, parents[each.parent_kind, each.id])

    def _parent(self, place: tuple[str, str], changes: Sequence[Change]) -> _Parent[E]:
        own = [each for each in changes if (each.parent_kind, each.id) == place]
        first, last = min(each.first_number for each in own), max(each.last_number for each in own)
        return _Parent(lambda: self._calls.read(*place, contents=False, on_unreadable=self._on_unreadable, start=first, end=last))

    def _appended(self, change: Change, parent: _Parent[E]) -> Generator[E, None, None]:
        """Yields the entries of one change that were not handed out yet, and tells of those that are gone."""
        seen = self._position[2] if self._exact and self._position[:2] == (change.revision, change.ordinal) else 0
        if self._exact and (change.revision, change.ordinal) < self._position[:2]:
            return
        wanted = change.last_number - max(change.first_number - 1, seen)
        while not self._closed and (entry := parent.next_of(change)) is not None:
            if entry.number <= seen:
                continue
            wanted -= 1
            message = held(entry)
            message.parent_kind, message.parent_id = change.parent_kind, change.id
            self._position, self._exact = (change.revision, change.ordinal, entry.number), True
            yield from self._calls.whole([message], self._gaps)
        if wanted > 0 and not self._closed:
            self._on_skipped(change, wanted)


class _Parent(Generic[E]):
    """The entries of one parent in a range of numbers, read as they are asked for."""

    def __init__(self, open_reader: Callable[[], Iterator[E]]) -> None:
        self._open = open_reader
        self._reader: Iterator[E] | None = None
        self._next: E | None = None

    def next_of(self, change: Change) -> E | None:
        """Returns the next entry that the change appended; None if there is no other."""
        if self._reader is None:
            self._reader = self._open()
            self._advance()
        place = change.revision, change.first_number
        while (found := self._next) is not None and (found.revision, found.number) < place:
            self._advance()  # of a change that was handed out before
        if found is None or found.revision != change.revision or found.number > change.last_number:
            return None
        self._advance()
        return found

    def __enter__(self) -> _Parent[E]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._reader is not None:
            self._reader.close()  # type: ignore[attr-defined]

    def _advance(self) -> None:
        assert self._reader is not None
        try:
            self._next = next(self._reader, None)
        except NotFound:  # the parent was deleted
            self._next = None


def log_skipped(change: Change, count: int) -> None:
    """Logs that entries of a change cannot be handed out, because their parent was deleted or they are damaged."""
    where = f"{change.parent_kind} {change.id}"
    text = "holdfast: %d of the entries %d to %d of %s (revision %d) are gone or damaged; the watch skips them"
    _log.warning(text, count, change.first_number, change.last_number, where, change.revision)


def _groups(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Yields the appends among the changes in order, in groups of at most `MOST_PARENTS` parents."""
    group: list[Change] = []
    parents: set[tuple[str, str]] = set()
    for each in changes:
        if each.action != Action.ACTION_APPEND:
            continue
        parents.add((each.parent_kind, each.id))
        if len(parents) > MOST_PARENTS:
            yield group
            group, parents = [], {(each.parent_kind, each.id)}
        group.append(each)
    if group:
        yield group


def _parsed(cursor: str) -> tuple[Position, bool]:
    """The position that a cursor names, and whether it is within a commit."""
    parts = cursor.split(".")
    if len(parts) not in (1, 3) or not all(each.isascii() and each.isdigit() and len(each) < 20 for each in parts):
        message = f"{cursor!r} is not the cursor of a watch of entries."
        raise InvalidArgument(message, reason="VALUE_INVALID", metadata={"field": "cursor"})
    revision, ordinal, number = (*map(int, parts), 0, 0)[:3]
    return (revision, ordinal, number), len(parts) == 3
