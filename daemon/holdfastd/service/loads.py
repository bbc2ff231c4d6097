"""AdminService.Load: records and entries of another store, which keep their ids, times, versions and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from holdfast.v1 import admin_service_pb2 as pb
from holdfast.v1 import entry_pb2
from holdfastd.errors import InvalidArgument
from holdfastd.model.blobs import check_digest
from holdfastd.model.call import Call
from holdfastd.model.checking import check_loaded, check_loaded_number, check_required, check_stamp
from holdfastd.model.commands import Committed, Load
from holdfastd.model.loads import LoadedEntries, LoadedRecord, LoadStep
from holdfastd.model.names import check_name
from holdfastd.service.decoding import append_of, check_count, fingerprint, value_of, workspace_of
from holdfastd.service.pending import Pending
from holdfastd.writer.writer import Writer

MAX_ITEMS = 10_000

Numbered = tuple[int, pb.LoadItem]  # an item and its position in the request
# What successive items have in common that are appended together: actor, journal, kind and id of the parent.
Place = tuple[str, str, str, str]


class Loads:
    """Adds existing data to the store. Thread-safe."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def load(
        self, request: pb.AdminServiceLoadRequest, call: Call
    ) -> Pending[Committed, pb.AdminServiceLoadResponse] | pb.AdminServiceLoadResponse:
        """Applies all items of the request, or none."""
        command = _command(request, call)
        if not command.steps:
            return pb.AdminServiceLoadResponse(revision=self._writer.revision)
        return Pending(self._writer, command, call, _answer)


def _command(request: pb.AdminServiceLoadRequest, call: Call) -> Load:
    check_count(len(request.items), MAX_ITEMS, "items")
    if request.assumed_digests and not request.dry_run:
        raise InvalidArgument("assumed_digests is only for a dry run.", reason="VALUE_INVALID", field="assumed_digests")
    if request.on_conflict not in pb.OnConflict.values():
        raise InvalidArgument("on_conflict is none that this daemon knows.", reason="VALUE_INVALID", field="on_conflict")
    return Load(
        workspace_of(request.workspace),
        check_name(request.actor, "actor"),
        check_name(request.request_id, "request_id"),
        fingerprint(request) if request.request_id else b"",
        tuple(_steps(request)),
        call.peer,
        skips=request.on_conflict == pb.ON_CONFLICT_SKIP,
        is_trial=request.dry_run,
        assumed_digests=tuple(check_digest(each, "assumed_digests") for each in request.assumed_digests),
    )


def _answer(loaded: Committed) -> pb.AdminServiceLoadResponse:
    response = pb.AdminServiceLoadResponse(revision=loaded.revision)
    for each in loaded.results:
        is_new = each.version or each.first_number
        response.results.add(id=each.id, version=each.version, number=each.first_number, skipped=not is_new)
    return response


def _steps(request: pb.AdminServiceLoadRequest) -> Iterator[LoadStep]:
    """The steps of the request, checked. INVALID_ARGUMENT has the position of the wrong item in its metadata `item`."""
    actor = check_name(request.actor, "actor")
    for place, items in groupby(enumerate(request.items), lambda item: _place(item[1], actor)):
        if place is None:
            yield from (_record(position, item, actor) for position, item in items)
        else:
            yield _entries(place, list(items))


def _place(item: pb.LoadItem, actor: str) -> Place | None:
    """Where an entry belongs; None for any other item."""
    if item.WhichOneof("item") != "entry":
        return None
    entry = item.entry
    return item.actor or actor, entry.WhichOneof("value") or "", entry.parent_kind, entry.parent_id


def _record(position: int, item: pb.LoadItem, actor: str) -> LoadedRecord:
    try:
        if item.WhichOneof("item") is None:
            raise InvalidArgument("The item holds no record and no entry. Set one.", reason="VALUE_INVALID", field="items")
        kind, message = value_of(item.record)
        check_required(kind, message)
        check_loaded(kind, message)
        return LoadedRecord(position, check_name(item.actor, "actor") or actor, kind, message)
    except InvalidArgument as error:
        error.metadata["item"] = str(position)
        raise


def _entries(place: Place, items: Sequence[Numbered]) -> LoadedEntries:
    """The entries of one journal. They are checked together; when that fails, one by one, to name the wrong one."""
    actor, _, parent_kind, parent_id = place
    first = items[0][0]
    try:
        check_name(actor, "actor")
        append = append_of(parent_kind, parent_id, [item.entry for _, item in items], None)
    except InvalidArgument as error:
        error.metadata["item"] = str(_wrong_one(parent_kind, parent_id, items))
        raise
    numbers, times = zip(*(_kept(position, item.entry) for position, item in items), strict=True)
    return LoadedEntries(first, actor, append, numbers, times)


def _wrong_one(parent_kind: str, parent_id: str, items: Sequence[Numbered]) -> int:
    for position, item in items:
        try:
            append_of(parent_kind, parent_id, [item.entry], None)
        except InvalidArgument:
            return position
    return items[0][0]


def _kept(position: int, entry: entry_pb2.Entry) -> tuple[int, int | None]:
    """The number of an entry, or 0, and the time of its append, or None."""
    try:
        check_loaded_number(entry.number, "entry.number")
        return entry.number, check_stamp(entry.create_time, "create_time") if entry.HasField("create_time") else None
    except InvalidArgument as error:
        error.metadata["item"] = str(position)
        raise
