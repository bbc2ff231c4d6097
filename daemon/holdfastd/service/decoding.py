"""Decodes requests: checks everything that needs no read of the store, and converts the contract's messages to mutations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from holdfast.contract.kinds import KINDS, STORED_JOURNALS, WORKSPACE, Journal, Kind, RecordMessage
from holdfast.v1 import entry_pb2, record_pb2, store_service_pb2
from holdfastd import MAX_API_VERSION, MIN_API_VERSION
from holdfastd.errors import FailedPrecondition, InvalidArgument
from holdfastd.model import entry_blobs
from holdfastd.model.checking import (
    MAX_ENTRY_BYTES,
    check_mask,
    check_record,
    check_required,
    check_size,
    clear_output_only,
    refuse_output_only,
)
from holdfastd.model.codec import canonical_json
from holdfastd.model.entries import entry_codec
from holdfastd.model.mutations import OWN_ACTIONS, Append, Delete, Insert, Mutation, Note, Update, Upsert
from holdfastd.model.names import check_id, check_name, kind_named, stored_journal

DEFAULT_WORKSPACE = "default"
MAX_MUTATIONS = 1_000
MAX_ENTRIES = 10_000
OUTPUT_ONLY_SINCE = 4  # the API version from which an insert with output-only fields is refused


def check_api_version(version: int) -> None:
    """FAILED_PRECONDITION when the daemon does not speak this version; the message says whether to upgrade client or daemon.

    `min` and `max` in the error's metadata are the versions that the daemon speaks. Clients that send no version, such as
    grpcurl, are not checked.
    """
    if not MIN_API_VERSION <= version <= MAX_API_VERSION:
        older = "client" if version < MIN_API_VERSION else "daemon"
        raise FailedPrecondition(
            f"The client speaks API version {version}, this daemon {MIN_API_VERSION} to {MAX_API_VERSION}: upgrade the {older}.",
            reason="API_VERSION_UNSUPPORTED",
            min=MIN_API_VERSION,
            max=MAX_API_VERSION,
        )


def workspace_of(name: str) -> str:
    """The workspace of a request: the one it names, or `default`."""
    return check_name(name, "workspace") or DEFAULT_WORKSPACE


def fingerprint(request: Message) -> bytes:
    """A digest of the request's body. A retry has the same digest; another request under the same request id does not."""
    return hashlib.blake2b(request.SerializeToString(deterministic=True), digest_size=16).digest()


def check_count(count: int, limit: int, noun: str) -> None:
    """INVALID_ARGUMENT (TOO_LARGE), with the limit, when `count` is above it."""
    if count > limit:
        raise InvalidArgument(
            f"{count:,} {noun} in one request; the limit is {limit:,}. Split the request.",
            reason="TOO_LARGE",
            limit=limit,
            size=count,
        )


def value_of(record: record_pb2.Record) -> tuple[Kind, RecordMessage]:
    """The kind and the message of a record, which is checked. INVALID_ARGUMENT (KIND_UNKNOWN) when it holds no kind."""
    name = record.WhichOneof("value")
    if name is None:
        known = ", ".join(sorted(KINDS))
        raise InvalidArgument(
            f"The record holds no kind that this daemon knows. Set one of: {known}.", reason="KIND_UNKNOWN", kind=record.kind
        )
    kind = KINDS[name]
    message: RecordMessage = getattr(record, name)
    check_record(kind, message)
    return kind, message


def _insert(operation: store_service_pb2.Insert, api_version: int) -> Insert:
    kind, message = value_of(operation.record)
    _read_as_of(kind, message, api_version)
    check_required(kind, message)
    refuse_output_only(kind, message)
    return Insert(kind, message)


def _upsert(operation: store_service_pb2.Upsert, api_version: int) -> Upsert:
    kind, message = value_of(operation.record)
    if not (kind.id_template or kind.keys):
        check_id(message.id, f"{kind.name}.id")
    _check_version(operation.version)
    mask = check_mask(kind, message, operation.update_mask.paths)
    _read_as_of(kind, message, api_version)
    return Upsert(kind, message, mask, operation.version)


def _update(operation: store_service_pb2.Update, api_version: int) -> Update:
    kind, message = value_of(operation.record)
    check_id(message.id, f"{kind.name}.id")
    _check_version(operation.version)
    mask = check_mask(kind, message, operation.update_mask.paths)
    _read_as_of(kind, message, api_version)
    return Update(kind, message, mask, operation.version)


def _read_as_of(kind: Kind, message: RecordMessage, api_version: int) -> None:
    """Reads a message as the caller's API version means it. Call it after `check_mask`, as it may set fields.

    Before version 4, daemons ignored output-only fields, so clients send them in copies of records. And a client sends no zero in
    a field that is not optional in its contract.
    """
    if api_version >= MAX_API_VERSION:
        return
    if api_version < OUTPUT_ONLY_SINCE:
        clear_output_only(kind, message)
    for field in kind.columns:
        if field.optional_since > api_version and not message.HasField(field.name):
            setattr(message, field.name, getattr(message, field.name))


def _delete(operation: store_service_pb2.Delete, api_version: int) -> Delete:
    _check_version(operation.version)
    return Delete(kind_named(operation.kind), check_id(operation.id, "id"), operation.version, operation.cascade)


def _check_version(version: int) -> None:
    if version < 0:
        raise InvalidArgument("An expected version is 1 or more; 0 means any.", reason="VALUE_INVALID", field="version")


def _append(operation: store_service_pb2.Append, api_version: int) -> Append:
    expected = operation.expected_last_number if operation.HasField("expected_last_number") else None
    return append_of(operation.parent_kind, operation.parent_id, operation.entries, expected)


def append_of(parent_kind: str, parent_id: str, entries: Sequence[entry_pb2.Entry], expected: int | None) -> Append:
    """An append whose entries are checked and converted to rows."""
    check_count(len(entries), MAX_ENTRIES, "entries")
    journal = _journal_of(entries)
    check_parent(journal, parent_kind, parent_id)
    name, codec = journal.name, entry_codec(journal)
    row_of, blob_values, no_blobs = codec.row, codec.blob_values, codec.no_blobs  # a call may have 10,000 entries
    rows, with_blobs = [], []
    for position, entry in enumerate(entries):
        if entry.WhichOneof("value") != name:
            raise InvalidArgument(
                f"Entry {position} does not belong to the {name}, to which the first entry belongs.", reason="JOURNAL_UNKNOWN"
            )
        message = getattr(entry, name)
        if blob_values(message) != no_blobs and entry_blobs.check(journal, message):
            with_blobs.append(position)
        rows.append(row_of(message))
    return Append(journal, parent_kind, parent_id, tuple(rows), expected, tuple(with_blobs))


def _journal_of(entries: Sequence[entry_pb2.Entry]) -> Journal:
    name = entries[0].WhichOneof("value") if entries else "transcript"
    if name is None:
        raise InvalidArgument(
            f"The entry holds no journal that this daemon knows. Set one of: {', '.join(sorted(STORED_JOURNALS))}.",
            reason="JOURNAL_UNKNOWN",
        )
    return stored_journal(name)


def check_parent(journal: Journal, parent_kind: str, parent_id: str) -> None:
    """INVALID_ARGUMENT when records of that kind have no such journal, or when the id cannot be that of a parent."""
    check_id(parent_id, "parent_id")
    if parent_kind == WORKSPACE != parent_id and journal.of_workspace:
        raise InvalidArgument(
            f"The workspace itself has one {journal.name} journal: its parent_kind and its parent_id are {WORKSPACE!r}, the"
            " workspace is that of the request.",
            reason="VALUE_INVALID",
            field="parent_id",
        )
    if parent_kind not in journal.parent_kinds:
        raise InvalidArgument(
            f"A {parent_kind or 'record without a kind'} has no {journal.name}."
            f" These have one: {', '.join(journal.parent_kinds)}.",
            reason="VALUE_INVALID",
            field="parent_kind",
        )


def _note(operation: store_service_pb2.Note, api_version: int) -> Note:
    kind, id = kind_named(operation.kind), check_id(operation.id, "id")
    action = check_name(operation.action, "action") or check_id("", "action")
    if action.strip().casefold() in OWN_ACTIONS:
        raise InvalidArgument(
            f"The action {action!r} is the daemon's own. Choose another name than {', '.join(OWN_ACTIONS)}.",
            reason="VALUE_INVALID",
            field="action",
        )
    diff = canonical_json(operation.diff, "diff") if operation.diff else ""
    note = store_service_pb2.Note(kind=kind.name, id=id, action=action, diff=diff)
    check_size(note, MAX_ENTRY_BYTES, "action in the audit")
    return Note(kind, id, action, note.SerializeToString())


_OPERATIONS: dict[str, Callable[[Any, int], Mutation]] = {
    "insert": _insert,
    "upsert": _upsert,
    "update": _update,
    "delete": _delete,
    "append": _append,
    "note": _note,
}


def mutations_of(request: store_service_pb2.StoreServiceCommitRequest, api_version: int) -> tuple[Mutation, ...]:
    """The request's mutations, checked. INVALID_ARGUMENT has the position of the wrong one in its metadata `mutation`.

    api_version: that of the caller.
    """
    check_count(len(request.mutations), MAX_MUTATIONS, "mutations")
    mutations = []
    for position, mutation in enumerate(request.mutations):
        operation = mutation.WhichOneof("operation")
        if operation is None:
            raise InvalidArgument(
                f"mutations[{position}] names no operation that this daemon knows.", reason="VALUE_INVALID", field="mutations"
            )
        try:
            mutations.append(_OPERATIONS[operation](getattr(mutation, operation), api_version))
        except InvalidArgument as error:
            error.metadata["mutation"] = str(position)
            raise
    return tuple(mutations)
