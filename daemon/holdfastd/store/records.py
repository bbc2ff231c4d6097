"""Records in SQL: reads one, and inserts, updates and deletes them for a commit.

`store/commits.py` and `store/deletes.py` call the writing functions inside the writer's transaction; readers call `exists` and
`image`. `insert` and `update` return the record's encoded message, which the caller keeps as the image of the change.

References and unique keys are looked up before the statement, so that an error can name what is missing or taken. Foreign keys
and unique constraints catch the rest. Nothing is read after a failed statement, because PostgreSQL answers no query until the
savepoint is rolled back: that an id is taken follows from the columns of the constraint that refused the insert.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.contract.kinds import KINDS, Field, Kind, RecordMessage
from holdfast.contract.rules import Key
from holdfastd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from holdfastd.model import checksums, codec
from holdfastd.model.checking import check_required
from holdfastd.store import blobs, workspaces
from holdfastd.store.engine import Connection, Constraint
from holdfastd.store.sql import child_sql, cycle_sql, key_sql, kind_sql


def exists(connection: Connection, kind: Kind, workspace: str, id: str) -> bool:
    """Whether there is such a record."""
    return connection.execute(kind_sql(kind).exists, (workspace, id)).fetchone() is not None


def image(connection: Connection, kind: Kind, workspace: str, id: str) -> bytes | None:
    """The record's encoded message; None when there is no such record. ValueError when it is damaged."""
    row = connection.execute(kind_sql(kind).image, (workspace, id)).fetchone()
    return None if row is None else checked_image(connection, kind, workspace, id, *row)


def checked_image(
    connection: Connection, kind: Kind, workspace: str, id: str, image: bytes | None, checksum: int | None
) -> bytes | None:
    """The image of a row after its check. When the row has none, the image is built from the columns; None: the row has gone.

    A row that an earlier version wrote may have an image without a checksum. ValueError when image or columns are damaged.
    """
    if image is None:
        try:
            image = image_from_columns(connection, kind, workspace, id)
        except TypeError as error:
            raise ValueError(str(error)) from error
        if image is None:
            return None
    if not isinstance(image, bytes) or checksum not in (None, checksums.of_image(workspace, kind.name, id, image)):
        raise ValueError("its image is damaged")
    return image


def image_from_columns(connection: Connection, kind: Kind, workspace: str, id: str) -> bytes | None:
    """The encoded message of a record without an image, as a migration that changes columns leaves it; None: no such record."""
    message = from_columns(connection, kind, workspace, id)
    return message.SerializeToString() if message is not None else None


def from_columns(connection: Connection, kind: Kind, workspace: str, id: str) -> RecordMessage | None:
    """The record's message, built from its columns and child tables. ValueError or TypeError when the values do not fit."""
    row = connection.execute(kind_sql(kind).columns, (workspace, id)).fetchone()
    if row is None:
        return None
    message: RecordMessage = codec.from_row(kind, row)
    for field in kind.children:
        for row in connection.execute(child_sql(kind, field).select, (workspace, id)):
            codec.add_child(field, message, row)
    return message


def not_found(kind: Kind, workspace: str, id: str) -> NotFound:
    """The error for a record that does not exist."""
    return NotFound(f"There is no {kind.name} {id} in workspace {workspace}.", reason="RECORD_NOT_FOUND", kind=kind.name, id=id)


def insert(connection: Connection, kind: Kind, workspace: str, message: RecordMessage, made: int) -> bytes:
    """Inserts a record whose id, version, times and numbers are set; sets its blob sizes. Returns its image.

    made: the place of the insert in the history (`ordering.place_in_history`).
    """
    check_required(kind, message)
    _check_named_kinds(connection, kind, workspace, message)
    id = message.id
    _set_blob_sizes(connection, kind, message)
    _check_parents(connection, kind, workspace, message, kind.references)
    _check_keys(connection, kind, workspace, message, kind.keys)
    encoded = message.SerializeToString()
    checksum = checksums.of_image(workspace, kind.name, id, encoded)
    try:
        connection.execute(kind_sql(kind).insert, (workspace, *codec.to_row(kind, message), encoded, checksum, made))
    except connection.Error as error:
        if _is_taken(kind, connection.engine.refusal(error)):
            raise AlreadyExists(f"The {kind.name} {id} exists already.", reason="ID_TAKEN", kind=kind.name, id=id) from error
        raise
    for field in kind.children:
        _insert_children(connection, kind, field, workspace, message)
    for field in kind.blobs:
        if digest := getattr(message, field.name):
            blobs.reference(connection, digest, workspace, kind.name, id, field.name)
    _check_itself(kind, message)
    return encoded


def update(connection: Connection, kind: Kind, workspace: str, before: RecordMessage, after: RecordMessage) -> bytes:
    """Replaces a record whose version and times are set. Child tables and references are written only where they differ.

    Returns its image.
    """
    check_required(kind, after)
    changed = [field for field in kind.fields if getattr(before, field.name) != getattr(after, field.name)]
    id = after.id
    _move_references(connection, kind, workspace, before, after, changed)
    _check_parents(connection, kind, workspace, after, [field for field in changed if field.reference is not None])
    _check_keys(
        connection, kind, workspace, after, [key for key in kind.keys if any(each.name in key.fields for each in changed)]
    )
    encoded = after.SerializeToString()
    checksum = checksums.of_image(workspace, kind.name, id, encoded)
    connection.execute(kind_sql(kind).update, (*codec.to_row(kind, after), encoded, checksum, workspace, id))
    for field in changed:
        if field.repeated:
            connection.execute(child_sql(kind, field).delete, (workspace, id))
            _insert_children(connection, kind, field, workspace, after)
    _check_cycles(connection, kind, workspace, after, changed)
    return encoded


def restore(connection: Connection, kind: Kind, workspace: str, message: RecordMessage) -> None:
    """Writes a damaged record again, as it was: its row and all rows of its child tables. Does not check it."""
    encoded = message.SerializeToString()
    checksum = checksums.of_image(workspace, kind.name, message.id, encoded)
    connection.execute(kind_sql(kind).update, (*codec.to_row(kind, message), encoded, checksum, workspace, message.id))
    for field in kind.children:
        connection.execute(child_sql(kind, field).delete, (workspace, message.id))
        _insert_children(connection, kind, field, workspace, message)


def delete(connection: Connection, kind: Kind, workspace: str, message: RecordMessage) -> None:
    """Deletes a record that no other refers to any more."""
    id = message.id
    for field in kind.children:
        connection.execute(child_sql(kind, field).delete, (workspace, id))
    connection.execute(kind_sql(kind).delete, (workspace, id))
    for field in kind.blobs:
        if digest := getattr(message, field.name):
            blobs.unreference(connection, digest, workspace, kind.name, id, field.name)


def _insert_children(connection: Connection, kind: Kind, field: Field, workspace: str, message: RecordMessage) -> None:
    rows = [(workspace, message.id, ordinal, *row) for ordinal, row in enumerate(codec.child_rows(field, message))]
    sql = child_sql(kind, field)
    connection.insert_rows(sql.table, sql.columns, rows)


def set_numbers(connection: Connection, kind: Kind, workspace: str, message: RecordMessage) -> None:
    """Sets the numbered fields of a new record: 1, 2, 3 … for each value of the field `number_within`.

    A number that is set is kept, and later numbers go on after it. ALREADY_EXISTS (NUMBER_TAKEN) when another record has it.
    """
    for field in kind.columns:
        if field.number_within:
            counter = f"{kind.name}.{field.name}/{getattr(message, field.number_within)}"
            if number := getattr(message, field.name):
                _check_number_free(connection, kind, workspace, message, field)
                workspaces.raise_counter(connection, workspace, counter, number)
            else:
                setattr(message, field.name, workspaces.take_numbers(connection, workspace, counter, 1))


def _check_number_free(connection: Connection, kind: Kind, workspace: str, message: RecordMessage, field: Field) -> None:
    holders = _holders(connection, kind, workspace, message, Key((field.number_within, field.name)))
    if other := next((each for each in holders if each != message.id), ""):
        number, owner = getattr(message, field.name), getattr(message, field.number_within)
        raise AlreadyExists(
            f"{kind.name} {other} has {field.name} {number} of {owner}. Leave {field.name} unset to get the next one.",
            reason="NUMBER_TAKEN",
            kind=kind.name,
            id=other,
            field=field.name,
        )


def find_by_key(connection: Connection, kind: Kind, workspace: str, message: RecordMessage, mask: Iterable[str] = ()) -> str:
    """The id of the record with the message's values in a unique key. Empty when there is none, or no key has all its values.

    Where the mask names a whole key, a record that has only a later key of the message is another one. The insert then raises
    KEY_TAKEN, which names it.
    """
    named = set(mask)
    for key in kind.keys:
        if found := _holders(connection, kind, workspace, message, key):
            return found[0]
        if _has_values(message, key) and named.issuperset(key.fields):
            break
    return ""


def _holders(connection: Connection, kind: Kind, workspace: str, message: RecordMessage, key: Key) -> list[str]:
    if not _has_values(message, key):
        return []
    values = [getattr(message, name) for name in key.fields]
    return [str(row[0]) for row in connection.execute(key_sql(kind, key), (workspace, *values))]


def _has_values(message: RecordMessage, key: Key) -> bool:
    return all(getattr(message, name) for name in key.fields) and not any(getattr(message, name) for name in key.unset)


def _set_blob_sizes(connection: Connection, kind: Kind, message: RecordMessage) -> None:
    for field in kind.blobs:
        if field.size_field:
            digest = getattr(message, field.name)
            setattr(message, field.size_field, blobs.size_bytes(connection, digest) if digest else 0)


def _move_references(
    connection: Connection, kind: Kind, workspace: str, before: RecordMessage, after: RecordMessage, changed: list[Field]
) -> None:
    id = after.id
    for field in changed:
        if field.blob:
            if new := getattr(after, field.name):
                blobs.reference(connection, new, workspace, kind.name, id, field.name)
            if old := getattr(before, field.name):
                blobs.unreference(connection, old, workspace, kind.name, id, field.name)
    _set_blob_sizes(connection, kind, after)


def _check_named_kinds(connection: Connection, kind: Kind, workspace: str, message: RecordMessage) -> None:
    """Checks the references whose kind is in another field. They have no foreign key, so nothing else would refuse them."""
    for field in kind.references:
        assert field.reference is not None
        if field.reference.kind_field:
            target = KINDS.get(name := getattr(message, field.reference.kind_field))
            if target is None:
                raise InvalidArgument(
                    f"{field.reference.kind_field} {name!r} is not a kind.",
                    reason="KIND_UNKNOWN",
                    field=field.reference.kind_field,
                )
            _require_parent(connection, field, target, workspace, getattr(message, field.name))


def _require_parent(connection: Connection, field: Field, target: Kind, workspace: str, id: str) -> None:
    if not exists(connection, target, workspace, id):
        raise FailedPrecondition(
            f"{field.name} names {target.name} {id}, which does not exist in workspace {workspace}.",
            reason="PARENT_NOT_FOUND",
            field=field.name,
            kind=target.name,
            id=id,
        )


def _check_parents(
    connection: Connection, kind: Kind, workspace: str, message: RecordMessage, references: Iterable[Field]
) -> None:
    """Checks that the referenced records exist. Skips references to the record itself; `_check_itself` refuses those."""
    for field in references:
        assert field.reference is not None
        if field.reference.kind and not field.reference.may_be_missing:
            values = getattr(message, field.name)
            for value in values if field.repeated else [values]:
                if value and (value != message.id or field.reference.kind != kind.name):
                    _require_parent(connection, field, KINDS[field.reference.kind], workspace, value)


def _check_keys(connection: Connection, kind: Kind, workspace: str, message: RecordMessage, keys: Iterable[Key]) -> None:
    """Checks that no other record has the message's values in one of these unique keys."""
    for key in keys:
        for other in _holders(connection, kind, workspace, message, key):
            if other != message.id:
                raise AlreadyExists(
                    f"{kind.name} {other} has the same {' and '.join(key.fields)}.", reason="KEY_TAKEN", kind=kind.name, id=other
                )


def _is_taken(kind: Kind, refused: Constraint | None) -> bool:
    """Whether an insert was refused because the id is taken. `_check_keys` has excluded that another record has a unique key."""
    return refused is not None and refused.columns[1:] in (("id",), *(key.fields for key in kind.keys))


def _check_itself(kind: Kind, message: RecordMessage) -> None:
    """Checks that a record does not refer to itself. A new record can be in no longer cycle, as nothing refers to it yet."""
    for field in kind.references:
        if field.reference is None or field.reference.kind != kind.name:
            continue
        value = getattr(message, field.name)
        if message.id in value if field.repeated else message.id == value:
            raise _cycle(kind, message.id, field, f"{kind.name} {message.id} names itself as its {field.name}.")


def _check_cycles(connection: Connection, kind: Kind, workspace: str, message: RecordMessage, changed: Sequence[Field]) -> None:
    """Checks that the references of the changed fields do not lead back to the record. The others were checked when set."""
    _check_itself(kind, message)
    id = message.id
    for field in changed:
        if field.reference is None or not field.reference.acyclic or not getattr(message, field.name):
            continue
        if connection.execute(cycle_sql(kind, field), (workspace, id, workspace, id)).fetchone():
            raise _cycle(kind, id, field, f"{kind.name} {id} would wait for itself through {field.name}.")


def _cycle(kind: Kind, id: str, field: Field, message: str) -> FailedPrecondition:
    return FailedPrecondition(message, reason="DEPENDENCY_CYCLE", kind=kind.name, id=id, field=field.name)
