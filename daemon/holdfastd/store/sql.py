"""The SQL statements of a kind's table and child tables, built once from the registry.

Identifiers come only from the registry and are quoted; values are always bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from holdfast.contract.kinds import Field, Journal, Kind
from holdfast.contract.rules import Key
from holdfastd.model.codec import child_columns


def quoted(name: str) -> str:
    """An identifier of the registry, quoted for SQL."""
    return f'"{name}"'


@dataclass(frozen=True, slots=True)
class KindSql:
    """Statements on one kind's table. Rows are `workspace`, the kind's columns in their order, the image and its checksum.

    An inserted row also has `made`, which never changes.
    """

    image: str  # and checksum, WHERE workspace = ? AND id = ?
    columns: str  # WHERE workspace = ? AND id = ?
    insert: str
    update: str  # SET every column, image and checksum WHERE workspace = ? AND id = ?
    delete: str
    exists: str
    version: str  # WHERE workspace = ? AND id = ?


@dataclass(frozen=True, slots=True)
class ChildSql:
    """Statements on the child table of one repeated field."""

    table: str
    columns: tuple[str, ...]  # for an insert: workspace, id, ordinal, then the field's own
    select: str  # WHERE workspace = ? AND id = ?
    delete: str


@cache
def kind_sql(kind: Kind) -> KindSql:
    """The statements of a kind."""
    table = quoted(kind.name)
    columns = [quoted(field.name) for field in kind.columns]
    where = "WHERE workspace = ? AND id = ?"
    return KindSql(
        image=f"SELECT image, checksum FROM {table} {where}",
        columns=f"SELECT {', '.join(columns)} FROM {table} {where}",
        insert=f"INSERT INTO {table} (workspace, {', '.join(columns)}, image, checksum, made)"
        f" VALUES (?{', ?' * len(columns)}, ?, ?, ?)",
        update=f"UPDATE {table} SET {', '.join(f'{column} = ?' for column in columns)}, image = ?, checksum = ? {where}",
        delete=f"DELETE FROM {table} {where}",
        exists=f"SELECT 1 FROM {table} {where}",
        version=f"SELECT version FROM {table} {where}",
    )


@cache
def child_sql(kind: Kind, field: Field) -> ChildSql:
    """The statements of a repeated field."""
    table = quoted(f"{kind.name}_{field.name}")
    columns = tuple(quoted(name) for name in child_columns(field))
    return ChildSql(
        table=table,
        columns=("workspace", "id", "ordinal", *columns),
        select=f"SELECT {', '.join(columns)} FROM {table} WHERE workspace = ? AND id = ? ORDER BY ordinal",
        delete=f"DELETE FROM {table} WHERE workspace = ? AND id = ?",
    )


@cache
def referrers_sql(kind: Kind, field: Field, kind_field: str) -> str:
    """The ids of a kind's records whose field refers to (workspace, id), or to (workspace, kind, id) by a kind field.

    Without ORDER BY: with one, SQLite would scan all records in that order instead of using the index of the reference.
    """
    if field.repeated:
        return f"SELECT id FROM {quoted(f'{kind.name}_{field.name}')} WHERE workspace = ? AND value = ?"
    by_kind = f"{quoted(kind_field)} = ? AND " if kind_field else ""
    return f"SELECT id FROM {quoted(kind.name)} WHERE workspace = ? AND {by_kind}{quoted(field.name)} = ?"


@cache
def cycle_sql(kind: Kind, field: Field) -> str:
    """Whether following a repeated field's references from (workspace, id) leads back to the id itself."""
    table = quoted(f"{kind.name}_{field.name}")
    return (
        f"WITH RECURSIVE reached (id) AS (SELECT value FROM {table} WHERE workspace = ? AND id = ?"
        # CROSS JOIN: SQLite goes from the reached ids to their edges, instead of scanning all edges for each id.
        f" UNION SELECT edge.value FROM reached CROSS JOIN {table} AS edge WHERE edge.workspace = ? AND edge.id = reached.id)"
        " SELECT 1 FROM reached WHERE id = ? LIMIT 1"
    )


@cache
def entry_columns(journal: Journal) -> tuple[str, ...]:
    """The columns of an insert of entries that name no blobs."""
    fields = (quoted(field.name) for field in journal.own_columns)
    return ("journal_id", "number", "revision", "create_time", *fields, "image", "checksum")


@cache
def blob_entry_columns(journal: Journal) -> tuple[str, ...]:
    """The columns of an insert of entries of which some name blobs."""
    *columns, image, checksum = entry_columns(journal)
    return (*columns, *(quoted(field.name) for field in journal.blob_columns), image, checksum)


@cache
def key_sql(kind: Kind, key: Key) -> str:
    """The ids of the records with these values in the fields of a unique key, at most two.

    There are two only in a store from before the key, if the key has no constraint.
    """
    same = " AND ".join([f"{quoted(name)} = ?" for name in key.fields] + [f"{quoted(name)} IS NULL" for name in key.unset])
    return f"SELECT id FROM {quoted(kind.name)} WHERE workspace = ? AND {same} LIMIT 2"


@cache
def value_sql(kind: Kind, field: str) -> str:
    """The value of a field of the record (workspace, id)."""
    return f"SELECT {quoted(field)} FROM {quoted(kind.name)} WHERE workspace = ? AND id = ?"


@cache
def numbered_sql(kind: Kind, field: str) -> str:
    """The ids of the records that have this number in the field: a numbered field, or one that refers to it (`number_of`)."""
    rules = kind.by_name[field]
    within = rules.number_within or kind.by_name[rules.number_of].number_within
    return f"SELECT id FROM {quoted(kind.name)} WHERE workspace = ? AND {quoted(within)} = ? AND {quoted(field)} = ?"
