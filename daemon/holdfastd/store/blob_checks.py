"""The checks of verify that compare the rows of blobs with each other and with the rows of records and entries.

Each query reports MAX_FOUND problems at most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import fields

from holdfast.contract.kinds import KINDS, STORED_JOURNALS, Shape
from holdfastd.model.blobs import BlobProblem, BlobRow
from holdfastd.store.engine import Connection
from holdfastd.store.entry_blobs import REFERENCE_ID
from holdfastd.store.sql import quoted
from holdfastd.store.verify import MAX_FOUND

_ALL_ROWS = f"SELECT {', '.join(each.name for each in fields(BlobRow))} FROM blob"


def count_references(connection: Connection) -> int:
    """How many fields of records and entries refer to a blob."""
    return int(connection.execute("SELECT count(*) FROM blob_reference").fetchone()[0])


def dangling_references(connection: Connection) -> Iterator[BlobProblem]:
    """References to blobs that have no row, and deltas whose base has no row."""
    for digest, kind, id in connection.execute(
        "SELECT r.digest, r.kind, r.id FROM blob_reference AS r LEFT JOIN blob AS b ON b.digest = r.digest WHERE b.digest IS NULL"
    ).fetchmany(MAX_FOUND):
        yield BlobProblem("reference_dangling", f"{kind}/{id}", f"it refers to the blob {digest}, which does not exist")
    for digest, base in connection.execute(
        "SELECT d.digest, d.base_digest FROM blob AS d LEFT JOIN blob AS b ON b.digest = d.base_digest"
        " WHERE d.base_digest IS NOT NULL AND b.digest IS NULL"
    ).fetchmany(MAX_FOUND):
        yield BlobProblem("blob_base_missing", digest, f"its base {base} does not exist")


def untrusted_rows(connection: Connection, paths: Collection[str]) -> list[BlobProblem]:
    """What forbids to delete these files, which no row seems to name: a damaged row may have named any of them.

    The rows are read without an index, which may be damaged too. Rows of other files than `paths` are compared only with their
    checksums and their number.
    """
    found, count = [], 0
    for row in (BlobRow(*values) for values in connection.execute(_ALL_ROWS)):
        count += 1
        if not row.is_intact:
            found.append(BlobProblem("blob_row_damaged", row.digest, "its row in the database is damaged"))
        elif row.path in paths:
            found.append(BlobProblem("database_damaged", row.digest, f"an index does not show that it names the file {row.path}"))
    (known,) = connection.execute("SELECT count(*) FROM blob WHERE digest >= ''").fetchone()
    if known != count:
        found.append(BlobProblem("database_damaged", "blob", f"an index has {known} rows, the table {count}"))
    return found


def hidden_needs(connection: Connection) -> list[BlobProblem]:
    """What forbids to delete any blob: references and deltas that the sweep would not find, because an index is damaged.

    Reads both tables without an index and looks each row up as the sweep does.
    """
    found, dialect = [], connection.dialect
    for (digest,) in connection.execute(_HIDDEN_REFERENCE.format(table=dialect.in_table_order("blob_reference AS r"))):
        found.append(BlobProblem("database_damaged", digest, "an index does not show a field that refers to it"))
    deltas = _HIDDEN_DELTA.format(table=dialect.in_table_order("blob AS d"), digest=dialect.walked("f.digest"))
    for (digest,) in connection.execute(deltas):
        found.append(BlobProblem("database_damaged", str(digest), "an index does not show a delta that is based on it"))
    return found


def unkept_references(connection: Connection) -> Iterator[BlobProblem]:
    """Fields of records and entries without their row in `blob_reference`, and rows without their field."""
    for kind in KINDS.values():
        yield from _unkept(connection, kind, _FIELD_WITHOUT_ROW, _ROW_WITHOUT_FIELD)
    for journal in STORED_JOURNALS.values():
        yield from _unkept(connection, journal, _ENTRY_WITHOUT_ROW, _ROW_WITHOUT_ENTRY)


def _unkept(connection: Connection, shape: Shape, without_row: str, without_field: str) -> Iterator[BlobProblem]:
    for field in shape.blobs:
        named = {"table": quoted(shape.name), "field": quoted(field.name), "entry": REFERENCE_ID}
        parameters = (shape.name, field.name)
        for (id,) in connection.execute(without_row.format(**named), parameters).fetchmany(MAX_FOUND):
            yield BlobProblem("reference_missing", f"{shape.name}/{id}", f"nothing keeps the blob of its field {field.name}")
        for (id,) in connection.execute(without_field.format(**named), parameters).fetchmany(MAX_FOUND):
            said = f"its field {field.name} keeps a blob that it does not name"
            yield BlobProblem("reference_unused", f"{shape.name}/{id}", said)


def unswept(connection: Connection) -> Iterator[BlobProblem]:
    """Blobs that nothing needs and that are not candidates, so that no sweep would ever delete them."""
    for (digest,) in connection.execute(_UNSWEPT).fetchmany(MAX_FOUND):
        yield BlobProblem("blob_unswept", digest, "nothing needs it, and it is not a candidate of the sweep")


_FIELD_WITHOUT_ROW = """
    SELECT t.id FROM {table} AS t
    LEFT JOIN blob_reference AS r
        ON r.digest = t.{field} AND r.workspace = t.workspace AND r.kind = ? AND r.id = t.id AND r.field = ?
    WHERE t.{field} IS NOT NULL AND r.digest IS NULL
"""
_ROW_WITHOUT_FIELD = """
    SELECT r.id FROM blob_reference AS r
    LEFT JOIN {table} AS t ON t.workspace = r.workspace AND t.id = r.id AND t.{field} = r.digest
    WHERE r.kind = ? AND r.field = ? AND t.id IS NULL
"""
_ENTRY_WITHOUT_ROW = """
    SELECT {entry} FROM {table} AS e JOIN journal AS j ON j.journal_id = e.journal_id
    LEFT JOIN blob_reference AS r
        ON r.digest = e.{field} AND r.workspace = j.workspace AND r.kind = ? AND r.id = {entry} AND r.field = ?
    WHERE e.{field} IS NOT NULL AND r.digest IS NULL
"""
_ROW_WITHOUT_ENTRY = """
    SELECT r.id FROM blob_reference AS r WHERE r.kind = ? AND r.field = ? AND NOT EXISTS (
        SELECT 1 FROM {table} AS e JOIN journal AS j ON j.journal_id = e.journal_id
        WHERE e.{field} = r.digest AND j.workspace = r.workspace AND {entry} = r.id
    )
"""
_HIDDEN_REFERENCE = """
    SELECT r.digest FROM {table} WHERE NOT EXISTS (
        SELECT 1 FROM blob_reference AS f
        WHERE f.digest = r.digest AND f.workspace = r.workspace AND f.kind = r.kind AND f.id = r.id AND f.field = r.field
    )
"""
_HIDDEN_DELTA = """
    SELECT d.base_digest FROM {table} WHERE d.base_digest IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM blob AS f WHERE f.base_digest = d.base_digest AND {digest} = d.digest)
"""
_UNSWEPT = """
    SELECT b.digest FROM blob AS b
    WHERE NOT EXISTS (SELECT 1 FROM blob_reference AS r WHERE r.digest = b.digest)
    AND NOT EXISTS (SELECT 1 FROM blob AS d WHERE d.base_digest = b.digest)
    AND NOT EXISTS (SELECT 1 FROM blob_candidate AS c WHERE c.digest = b.digest)
"""
