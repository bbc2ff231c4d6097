"""A replica of the store, built from its history: every change from revision 0 on, and every entry of every journal.

Each change is checked as it is applied: revisions 1, 2, 3 … and ordinals 0, 1, 2 … have no gap and no repeat, versions
rise by one, and appends continue at the journal's last number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import holdfast
from holdfast.v1 import record_pb2, store_service_pb2

MARK_FIELDS = {
    "construct": "name",
    "session": "title",
    "checkpoint": "name",
    "artifact": "name",
    "link": "type",
    "task": "description",
}
_INSERT, _UPDATE = store_service_pb2.ACTION_INSERT, store_service_pb2.ACTION_UPDATE
_DELETE = store_service_pb2.ACTION_DELETE
_APPEND, _DROP = store_service_pb2.ACTION_APPEND, store_service_pb2.ACTION_DROP

Key = tuple[str, str]


class History:
    """`seen` maps each mark to the revisions at which it was found, in the order of the history."""

    def __init__(self) -> None:
        self.revision = 0
        self.records: dict[Key, record_pb2.Record] = {}
        self.journals: dict[Key, int] = {}
        self.read_to: dict[Key, int] = {}
        self.seen: defaultdict[str, list[int]] = defaultdict(list)
        self.places: dict[str, tuple[Key, int]] = {}
        self.problems: list[str] = []
        self._ordinal = 0

    def catch_up(self, store: holdfast.Store) -> None:
        """Applies every change since the last call. Raises NotFound while the store has no commit, hence no workspace."""
        with store.watch(since=self.revision, replay_only=True) as changes:
            for change in map(holdfast.message_of, changes):
                self._place(change)
                self._take(change)
        for journal in self.journals:
            self._read_entries(store, journal)

    def _place(self, change: store_service_pb2.Change) -> None:
        follows = (self.revision, self._ordinal + 1) if self.revision else (1, 0)
        if (change.revision, change.ordinal) not in (follows, (self.revision + 1, 0)):
            self._wrong(change, f"came after revision {self.revision} ordinal {self._ordinal}")
        self.revision, self._ordinal = change.revision, change.ordinal

    def _take(self, change: store_service_pb2.Change) -> None:
        if change.action in (_INSERT, _UPDATE):
            self._take_record(change)
        elif change.action == _DELETE:
            self._take_delete(change)
        elif change.action == _APPEND:
            self._take_append(change)
        elif change.action == _DROP and change.last_number == self.journals.pop((change.parent_kind, change.id), 0):
            self.read_to.pop((change.parent_kind, change.id), None)
        else:
            self._wrong(change, "entries were dropped although no client deleted their parent")

    def _take_record(self, change: store_service_pb2.Change) -> None:
        key = (change.kind, change.id)
        known = self.records.get(key)
        if (known is None) != (change.action == _INSERT):
            self._wrong(change, "an insert of a record that exists, or an update of one that does not")
        expected = known.version + 1 if known is not None else 1
        if change.version != expected or change.record.version != expected:
            self._wrong(change, f"has version {change.version}, expected {expected}")
        self.records[key] = change.record
        value = getattr(change.record, change.kind)
        self._see(getattr(value, MARK_FIELDS[change.kind]), change.revision)

    def _take_delete(self, change: store_service_pb2.Change) -> None:
        key = (change.kind, change.id)
        if self.records.pop(key, None) is None:
            self._wrong(change, "a delete of a record that does not exist")
        if self.journals.get(key):
            self._wrong(change, "a delete of a parent that has entries")
        self._see(f"-{change.kind}/{change.id}", change.revision)

    def _take_append(self, change: store_service_pb2.Change) -> None:
        key = (change.parent_kind, change.id)
        expected = self.journals.get(key, 0) + 1
        if change.first_number != expected or change.last_number < change.first_number:
            self._wrong(change, f"entries {change.first_number} to {change.last_number}, expected {expected} first")
        if key not in self.records:
            self._wrong(change, "entries of a parent that does not exist")
        self.journals[key] = change.last_number

    def _read_entries(self, store: holdfast.Store, journal: Key) -> None:
        last = self.read_to.get(journal, 0)
        if last == self.journals[journal]:
            return
        for entry in store.transcripts.read(journal[1], start=last + 1, parent_kind=journal[0]):
            if entry.number != last + 1:
                self.problems.append(f"{journal}: entry {entry.number} follows entry {last}")
            last = entry.number
            mark = entry.transcript.content.partition(" ")[0]
            self._see(mark, entry.revision)
            self.places[mark] = (journal, entry.number)
        if last != self.journals[journal]:
            self.problems.append(f"{journal}: the history ends at entry {self.journals[journal]}, the journal at {last}")
        self.read_to[journal] = last

    def _see(self, mark: str, revision: int) -> None:
        found = self.seen[mark]
        found.append(revision)
        if len(found) > 1:
            self.problems.append(f"{mark} is there {len(found)} times, at revisions {found}")

    def _wrong(self, change: store_service_pb2.Change, what: str) -> None:
        subject = f"revision {change.revision} ordinal {change.ordinal} ({change.kind}/{change.id})"
        self.problems.append(f"{subject}: {what}")


def differences(history: History, store: holdfast.Store) -> list[str]:
    """Returns where the store's lists disagree with its history."""
    current = {(kind, each.id): each for kind in MARK_FIELDS for each in _listed(store, kind)}
    told = {key: getattr(record, key[0]) for key, record in history.records.items()}
    found = [f"{kind}/{id} is in history and not in the list" for kind, id in _sorted(told.keys() - current.keys())]
    found += [f"{kind}/{id} is in the list and not in history" for kind, id in _sorted(current.keys() - told.keys())]
    found += [
        f"{kind}/{id} is listed as something else than history tells"
        for kind, id in _sorted(told.keys() & current.keys())
        if told[kind, id] != current[kind, id]
    ]
    return found


def _listed(store: holdfast.Store, kind: str) -> Iterable[record_pb2.Task]:
    for each in store.collection(kind).list(page_size=1000):
        yield holdfast.message_of(each)


def _sorted(keys: Iterable[Key]) -> list[Key]:
    return sorted(keys)
