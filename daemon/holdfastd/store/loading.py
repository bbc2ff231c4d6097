"""Loads the record that a commit changes. `store/commits.py` and `store/deletes.py` call it in the writer's transaction.

The new record is made of the loaded one, and gets a new checksum. So damage must not get into it: when the stored image does not
fit its checksum, the newest image of the history takes its place, or the columns, if one of them fits. When none fits, only a
mutation that needs nothing of the record is applied: an update of all fields, or a delete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from holdfast.contract.kinds import Kind, RecordMessage
from holdfastd.errors import VERIFY_AND_RESTORE, DataLoss, HoldfastError, VersionMismatch
from holdfastd.model import checksums
from holdfastd.model.checking import settable
from holdfastd.model.mutations import DELETE, Change
from holdfastd.store import changes, records
from holdfastd.store.engine import Connection
from holdfastd.store.sql import kind_sql

MAX_CREDIBLE_VERSION = 2**31  # a damaged version beyond it is not counted on from
BLOBS = "SELECT digest, field FROM blob_reference WHERE workspace = ? AND kind = ? AND id = ?"
ADVICE = "Write all its fields, delete it, or restore a backup. Run verify for details."


def load(connection: Connection, kind: Kind, workspace: str, id: str) -> RecordMessage | None:
    """The record's message; None when there is no such record. DATA_LOSS (RECORD_DAMAGED) when no copy of it is intact."""
    row = connection.execute(kind_sql(kind).image, (workspace, id)).fetchone()
    if row is None:
        return None
    message = _parsed(connection, kind, workspace, id, *row) or _restored(connection, kind, workspace, id, row[1])
    if message is None:
        raise damaged(kind, id, "its image is damaged, and the history has no copy of it")
    return message


def load_to_delete(connection: Connection, kind: Kind, workspace: str, id: str) -> RecordMessage | None:
    """As `load`. A record without an intact copy has only its id, its version, and its blobs."""
    try:
        return load(connection, kind, workspace, id)
    except DataLoss:
        found: RecordMessage = kind.message_class(id=id, version=_version(connection, kind, workspace, id))
        for digest, field in connection.execute(BLOBS, (workspace, kind.name, id)):
            if field in kind.by_name:
                setattr(found, field, digest)
        return found


def load_to_overwrite(connection: Connection, kind: Kind, workspace: str, id: str) -> RecordMessage | None:
    """As `load`. In place of a record without an intact copy: its newest intact image in the history, or its columns.

    Only the fields that no caller can set may be taken from it.
    """
    try:
        return load(connection, kind, workspace, id)
    except DataLoss:
        earlier = next(_images(connection, kind, workspace, id), None)
        found = _built(connection, kind, workspace, id) if earlier is None else _message(kind, id, earlier.image)
        if found is None:
            raise
        found.version = _version(connection, kind, workspace, id)
        records.restore(connection, kind, workspace, found)
        return found


def replaces_all(kind: Kind, mask: Sequence[str]) -> bool:
    """Whether an update with this mask writes every field that a caller can set."""
    return set(mask).issuperset(settable(kind))


def check_version(kind: Kind, workspace: str, id: str, message: RecordMessage | None, version: int) -> RecordMessage:
    """The loaded record. NOT_FOUND when there is none; ABORTED when `version` is not 0 and differs from the record's."""
    if message is None:
        raise records.not_found(kind, workspace, id)
    actual = message.version
    if version and actual != version:
        raise VersionMismatch(
            f"{kind.name} {id} is at version {actual}, not {version}. Read it again and decide.",
            kind=kind.name,
            id=id,
            expected=version,
            actual=actual,
        )
    return message


def is_hidden(connection: Connection, kind: Kind, workspace: str, id: str) -> bool:
    """Whether the history has a record that the table does not show, because a damaged index or row hides it."""
    return changes.newest_of_record(connection, workspace, kind.name, id) not in (0, DELETE)


def hidden(kind: Kind, id: str) -> DataLoss:
    """The error for a record that the history has and the table does not show."""
    return DataLoss(
        f"The {kind.name} {id} is in the history, but an index or a row of its table is damaged and hides it."
        f" {VERIFY_AND_RESTORE}",
        reason="RECORD_DAMAGED",
        kind=kind.name,
        id=id,
    )


def missing(connection: Connection, kind: Kind, workspace: str, id: str) -> HoldfastError:
    """The error for a reader of a record that the table does not show."""
    return hidden(kind, id) if is_hidden(connection, kind, workspace, id) else records.not_found(kind, workspace, id)


def damaged(kind: Kind, id: str, why: object) -> DataLoss:
    """The error for a record that cannot be read."""
    return DataLoss(f"The {kind.name} {id} cannot be read: {why}. {ADVICE}", reason="RECORD_DAMAGED", kind=kind.name, id=id)


def _parsed(
    connection: Connection, kind: Kind, workspace: str, id: str, image: bytes | None, checksum: int | None
) -> RecordMessage | None:
    """The message of an intact row; None when the row is damaged."""
    try:
        return _message(kind, id, records.checked_image(connection, kind, workspace, id, image, checksum))
    except ValueError:
        return None


def _message(kind: Kind, id: str, image: bytes | None) -> RecordMessage | None:
    """The message of an image; None when it cannot be parsed or is that of another record."""
    try:
        message: RecordMessage = kind.message_class.FromString(image or b"")
    except DecodeError:
        return None
    return message if message.id == id else None


def _restored(connection: Connection, kind: Kind, workspace: str, id: str, checksum: int | None) -> RecordMessage | None:
    """The message of a damaged row from another copy; None when none is known to be what was written.

    The history's newest image is, when it has the checksum or the version of the row; it is written into the row again. The
    columns are, when they make an image with that checksum.
    """
    newest = next(_images(connection, kind, workspace, id), None)
    if newest is not None and newest.image is not None and _is_of_row(connection, kind, workspace, newest, checksum):
        message = _message(kind, id, newest.image)
        if message is not None:
            records.restore(connection, kind, workspace, message)
        return message
    built = _built(connection, kind, workspace, id)
    if built is None or checksum != checksums.of_image(workspace, kind.name, id, built.SerializeToString()):
        return None
    return built


def _built(connection: Connection, kind: Kind, workspace: str, id: str) -> RecordMessage | None:
    """The message of the row's columns, which may be damaged; None when they cannot be read."""
    try:
        return records.from_columns(connection, kind, workspace, id)
    except (TypeError, ValueError):
        return None


def _is_of_row(connection: Connection, kind: Kind, workspace: str, newest: Change, checksum: int | None) -> bool:
    assert newest.image is not None
    if checksums.of_image(workspace, kind.name, newest.id, newest.image) == checksum:
        return True
    return bool(_row_version(connection, kind, workspace, newest.id) == newest.version)


def _row_version(connection: Connection, kind: Kind, workspace: str, id: str) -> Any:
    return connection.execute(kind_sql(kind).version, (workspace, id)).fetchone()[0]


def _version(connection: Connection, kind: Kind, workspace: str, id: str) -> int:
    """The version of a damaged record: that of its newest intact change, or of the row if that is later."""
    newest = next(_images(connection, kind, workspace, id), None)
    stored = _row_version(connection, kind, workspace, id)
    credible = stored if isinstance(stored, int) and 0 < stored < MAX_CREDIBLE_VERSION else 0
    return max(0 if newest is None else newest.version, credible)


def _images(connection: Connection, kind: Kind, workspace: str, id: str) -> Iterator[Change]:
    """The intact changes of the record that have an image, newest first."""
    return (each for each in changes.of_record(connection, workspace, kind.name, id) if each.image is not None)
