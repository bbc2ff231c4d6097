"""Loads existing records and entries, which keep their ids, times, versions, numbers and actors: `store.load`.

The items are sent in batches. Each batch is one call of AdminService.Load, which applies all of it or nothing. A dry run changes
nothing, so what a batch needs from an earlier one is not there: `_Trial` keeps account of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.contract.ids import request_id
from holdfast.contract.kinds import KINDS, STORED_JOURNALS, Kind
from holdfast.domain.load_items import EntryItems, NoUploads, RecordItems, Uploads
from holdfast.errors import AlreadyExists, FailedPrecondition, HoldfastError, InvalidArgument
from holdfast.v1 import admin_service_pb2 as pb
from holdfast.wire.scope import Scope

BATCH = 1000
BATCH_BYTES = 4 << 20
LARGEST_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did, or with `dry_run` would do.

    loaded: items added. skipped: those that the store had. unchecked: in a dry run, records that refer to records of an earlier
    batch, which are not there to be checked against. revision: of the last commit.
    """

    loaded: int = 0
    skipped: int = 0
    unchecked: int = 0
    dry_run: bool = False
    revision: int = 0


@dataclass(slots=True)
class Batch:
    """Items to send in one call, and the position of each in the whole load."""

    items: list[pb.LoadItem] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    size_bytes: int = 0
    assumed: list[str] = field(default_factory=list)  # digests that a dry run takes as stored

    def add(self, item: pb.LoadItem, place: int) -> None:
        """Adds an item."""
        self.items.append(item)
        self.places.append(place)
        self.size_bytes += item.ByteSize()


class Loader:
    """One load into one kind or journal. Use it once."""

    def __init__(
        self, scope: Scope, name: str, *, parent: tuple[str, str], skip_existing: bool, dry_run: bool, batch: int
    ) -> None:
        if not 1 <= batch <= LARGEST_BATCH:
            raise InvalidArgument(f"A batch has 1 to {LARGEST_BATCH:,} items.", reason="VALUE_INVALID")
        self._scope = scope
        self._batch_items = batch
        self._on_conflict = pb.ON_CONFLICT_SKIP if skip_existing else pb.ON_CONFLICT_FAIL
        self._uploads = NoUploads(scope.connection) if dry_run else Uploads(scope.connection)
        self._maker = _maker_of(name, self._uploads, parent)
        self._trial = _Trial(KINDS.get(name), skip_existing) if dry_run else None
        self.report = LoadReport(dry_run=dry_run)

    def run(self, items: Iterable[Any], on_batch: Callable[[LoadReport], None] = lambda report: None) -> LoadReport:
        """Loads all items; `on_batch` is called after each batch. After an error, `report` says what was loaded before.

        The metadata of an error has `index`, the position of the wrong item from 0, and `loaded`, the number of items that were
        loaded before its batch.
        """
        try:
            return self._run(items, on_batch)
        except HoldfastError as error:
            error.metadata["loaded"] = str(self.report.loaded)
            raise

    def _run(self, items: Iterable[Any], on_batch: Callable[[LoadReport], None]) -> LoadReport:
        batch = Batch()
        for place, given in enumerate(items):
            item = self._made(given, place)
            assumed = self._uploads.take_assumed()
            if batch.items and (len(batch.items) >= self._batch_items or batch.size_bytes + item.ByteSize() > BATCH_BYTES):
                self._load(batch)
                on_batch(self.report)
                batch = Batch()
            batch.add(item, place)
            batch.assumed += assumed
        self._load(batch)
        on_batch(self.report)
        return self.report

    def _made(self, given: Any, place: int) -> pb.LoadItem:
        try:
            return self._maker(given)
        except HoldfastError as error:
            error.metadata.setdefault("index", str(place))
            raise

    def _load(self, batch: Batch) -> None:
        if self._trial is not None:
            self._count(*self._trial.settled(batch))
            for part, on_conflict in self._trial.parts(batch, self._on_conflict):
                self._trial.note(part, self._send(part, on_conflict))
            self._trial.end_batch(batch)
        else:
            self._send(batch, self._on_conflict)

    def _count(self, skipped: int, unchecked: int) -> None:
        report = self.report
        self.report = replace(report, skipped=report.skipped + skipped, unchecked=report.unchecked + unchecked)

    def _send(self, batch: Batch, on_conflict: pb.OnConflict.ValueType) -> Sequence[pb.LoadResult]:
        if not batch.items:
            return ()
        request = pb.AdminServiceLoadRequest(
            workspace=self._scope.workspace,
            actor=self._scope.actor,
            request_id="" if self.report.dry_run else request_id(),
            items=batch.items,
            on_conflict=on_conflict,
            dry_run=self.report.dry_run,
            assumed_digests=batch.assumed,
        )
        try:
            answer = self._scope.connection.call(lambda stubs: stubs.admin.Load, request)
        except HoldfastError as error:
            if (place := error.metadata.pop("item", None)) is not None:
                error.metadata["index"] = str(batch.places[int(place)])
            raise
        skipped = sum(each.skipped for each in answer.results)
        loaded = self.report.loaded + len(answer.results) - skipped
        self.report = replace(self.report, loaded=loaded, skipped=self.report.skipped + skipped, revision=answer.revision)
        return answer.results


def _maker_of(name: str, uploads: Uploads, parent: tuple[str, str]) -> Callable[[Any], pb.LoadItem]:
    if (kind := KINDS.get(name)) is not None:
        return RecordItems(kind, uploads).item
    if (journal := STORED_JOURNALS.get(name)) is not None:
        return EntryItems(journal, uploads, parent).item
    raise InvalidArgument(
        f"There is no kind and no journal {name!r}. There are: {', '.join([*KINDS, *STORED_JOURNALS])}.", reason="KIND_UNKNOWN"
    )


class _Trial:
    """What the earlier batches of a dry run would have made."""

    def __init__(self, kind: Kind | None, skips: bool) -> None:
        self._kind = kind
        self._skips = skips
        self._ids: set[str] = set()
        self._ends: dict[tuple[str, str], int] = {}  # parent → number of its last entry, if that is a new one
        self._news: dict[tuple[str, str], int] = {}  # the same, of the batch that is tried now

    def settled(self, batch: Batch) -> tuple[int, int]:
        """Takes out of the batch what cannot be tried. Returns how many records were skipped, and how many are unchecked."""
        skipped = unchecked = 0
        kept = Batch()
        for item, place in zip(batch.items, batch.places, strict=True):
            if self._is_repeated(item, place):
                skipped += 1
            elif self._refers_back(item):
                unchecked += 1
                self._note_id(item)
            else:
                kept.add(item, place)
        batch.items, batch.places = kept.items, kept.places
        return skipped, unchecked

    def parts(self, batch: Batch, on_conflict: pb.OnConflict.ValueType) -> list[tuple[Batch, pb.OnConflict.ValueType]]:
        """The batch in the calls that try it: entries that go on after those of an earlier batch are tried without numbers."""
        first, later = Batch(assumed=batch.assumed), Batch(assumed=batch.assumed)
        for item, place in zip(batch.items, batch.places, strict=True):
            parent = (item.entry.parent_kind, item.entry.parent_id)
            if self._kind is None and parent in self._ends:
                self._go_on(item.entry, parent, place)
                later.add(item, place)
            else:
                first.add(item, place)
        return [(first, on_conflict), (later, pb.ON_CONFLICT_FAIL)]

    def note(self, part: Batch, results: Sequence[pb.LoadResult]) -> None:
        """Keeps the last number of each journal that the batch would have added to."""
        for item, result in zip(part.items, results, strict=True):
            parent = (item.entry.parent_kind, item.entry.parent_id)
            if self._kind is None and not result.skipped and parent not in self._ends:
                self._news[parent] = result.number

    def end_batch(self, batch: Batch) -> None:
        """The batch was tried."""
        for item in batch.items if self._kind is not None else ():
            self._note_id(item)
        self._ends |= self._news
        self._news = {}

    def _go_on(self, entry: Any, parent: tuple[str, str], place: int) -> None:
        expected = self._ends[parent] + 1
        if entry.number not in (0, expected):
            raise FailedPrecondition(
                f"The journal of {parent[0]} {parent[1]} goes on with entry {expected}, not {entry.number}: the numbers of a"
                " journal have no gaps.",
                reason="ENTRY_GAP",
                metadata={"index": str(place)},
            )
        entry.ClearField("number")
        self._ends[parent] = expected

    def _note_id(self, item: pb.LoadItem) -> None:
        if id := self._id_of(item):
            self._ids.add(id)

    def _id_of(self, item: pb.LoadItem) -> str:
        assert self._kind is not None
        message = getattr(item.record, self._kind.name)
        return message.id or self._kind.made_id(message)

    def _is_repeated(self, item: pb.LoadItem, place: int) -> bool:
        if self._kind is None or not (id := self._id_of(item)) or id not in self._ids:
            return False
        if not self._skips:
            raise AlreadyExists(
                f"The {self._kind.name} {id} comes twice.", reason="ID_TAKEN", metadata={"id": id, "index": str(place)}
            )
        return True

    def _refers_back(self, item: pb.LoadItem) -> bool:
        if self._kind is None or not self._ids:
            return False
        message = getattr(item.record, self._kind.name)
        for each in self._kind.references:
            assert each.reference is not None
            target = each.reference.kind or getattr(message, each.reference.kind_field)
            if target == self._kind.name:
                value = getattr(message, each.name)
                if not self._ids.isdisjoint(value if each.repeated else [value]):
                    return True
        return False
