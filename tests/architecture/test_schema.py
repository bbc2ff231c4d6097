"""The schema matches `proto/`: columns, types, NULLs, references and allowed values of every kind and journal."""

from __future__ import annotations

import re

import pytest

from holdfast.contract.kinds import JOURNALS, KINDS, STORED_JOURNALS, Field, FieldType, Journal, Kind, Shape
from holdfastd.store import schema
from holdfastd.store.sqlite.connection import Connection

COLUMN_TYPES = {
    FieldType.STRING: "TEXT",
    FieldType.JSON: "TEXT",
    FieldType.INTEGER: "BIGINT",
    FieldType.REAL: "DOUBLE PRECISION",
    FieldType.BOOLEAN: "BIGINT",
    FieldType.TIME: "BIGINT",
}
ENTRY_COLUMNS = [
    ("journal_id", "BIGINT", False),
    ("number", "BIGINT", False),
    ("revision", "BIGINT", False),
    ("create_time", "BIGINT", False),
]
IMAGE_COLUMNS = [("image", "BYTEA", True), ("checksum", "BIGINT", True)]
MADE = ("made", "BIGINT", False)
# The daemon sets these times on every record, so their columns are NOT NULL.
ALWAYS_SET = {"version", "create_time", "update_time"}

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
journals = pytest.mark.parametrize("journal", STORED_JOURNALS.values(), ids=STORED_JOURNALS.keys())
derived = [each for each in JOURNALS.values() if each.derived]


def columns(database: Connection, table: str) -> list[tuple[str, str, bool]]:
    """Name, type and nullability of each column."""
    return [(name, kind, not not_null) for _, name, kind, not_null, _, _ in database.execute(f"PRAGMA table_info({table})")]


def primary_key(database: Connection, table: str) -> list[str]:
    rows = [(place, name) for _, name, _, _, _, place in database.execute(f"PRAGMA table_info({table})") if place]
    return [name for _, name in sorted(rows)]


def indexes(database: Connection, table: str) -> list[tuple[str, ...]]:
    """The columns of each index, including the primary key's."""
    names = [row[1] for row in database.execute(f"PRAGMA index_list({table})")]
    return [tuple(row[2] for row in database.execute(f"PRAGMA index_info({name})")) for name in names]


def foreign_keys(database: Connection, table: str) -> dict[tuple[str, ...], tuple[str, tuple[str, ...]]]:
    """Maps each foreign key's columns to the table and columns that it refers to."""
    rows: dict[int, list[tuple[int, str, str, str]]] = {}
    for number, place, target, source, to, *_ in database.execute(f"PRAGMA foreign_key_list({table})"):
        rows.setdefault(number, []).append((place, source, target, to))
    return {
        tuple(source for _, source, _, _ in sorted(parts)): (parts[0][2], tuple(to for _, _, _, to in sorted(parts)))
        for parts in rows.values()
    }


def table_sql(database: Connection, table: str) -> str:
    (sql,) = database.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    return re.sub(r"\s+", " ", sql)


def expected_columns(shape: Shape) -> list[tuple[str, str, bool]]:
    return [(each.name, COLUMN_TYPES[each.type], each.nullable and each.name not in ALWAYS_SET) for each in shape.columns]


def home_of(kind: Kind, field: Field) -> tuple[str, str]:
    """The table and the column that store a field."""
    return (f"{kind.name}_{field.name}", "value") if field.repeated else (kind.name, field.name)


@kinds
def test_a_kind_s_table_has_its_fields_as_columns(database: Connection, kind: Kind) -> None:
    expected = [("workspace", "TEXT", False), *expected_columns(kind), *IMAGE_COLUMNS, MADE]
    assert sorted(columns(database, kind.name)) == sorted(expected)  # a column that a migration added or replaced comes last
    assert primary_key(database, kind.name) == ["workspace", "id"]


@kinds
def test_a_repeated_field_is_a_child_table_that_refers_to_the_record(database: Connection, kind: Kind) -> None:
    for field in kind.children:
        table = f"{kind.name}_{field.name}"
        held = expected_columns(field.member) if field.member else [("value", COLUMN_TYPES[field.type], False)]
        head = [("workspace", "TEXT", False), ("id", "TEXT", False), ("ordinal", "BIGINT", False)]
        assert columns(database, table) == [*head, *held], table
        assert primary_key(database, table) == ["workspace", "id", "ordinal"], table
        assert foreign_keys(database, table)["workspace", "id"] == (kind.name, ("workspace", "id")), table
        if field.member is None:
            assert ("workspace", "value") in [each[:2] for each in indexes(database, table)], table


@kinds
def test_fields_that_are_unique_together_are_a_key_of_the_table(database: Connection, kind: Kind) -> None:
    names = [row[1] for row in database.execute(f"PRAGMA index_list({kind.name})") if row[2] and row[3] == "u"]
    found = {tuple(row[2] for row in database.execute(f"PRAGMA index_info({name})")) for name in names}
    assert found == {("workspace", *key.fields) for key in kind.keys if not key.unset}
    for name in {name for key in kind.keys for name in (*key.fields, *key.unset)}:
        field = kind.by_name[name]
        # The key does not apply to records without this field. Their column is then NULL, so it is nullable unless required.
        assert field.nullable or field.required, f"{kind.name}.{name}"
    for wanted in [("workspace", *key.fields) for key in kind.keys]:
        assert wanted in [each[: len(wanted)] for each in indexes(database, kind.name)], "the daemon would scan the table for it"


@kinds
def test_a_reference_is_a_foreign_key_and_an_index_finds_who_refers(database: Connection, kind: Kind) -> None:
    for field in kind.references:
        assert field.reference is not None
        table, column = home_of(kind, field)
        if field.reference.may_be_missing:
            assert ("workspace", column) not in foreign_keys(database, table)
        elif field.reference.kind:
            expected = (field.reference.kind, ("workspace", "id"))
            assert foreign_keys(database, table).get(("workspace", column)) == expected, f"{table}.{column}"
        wanted: tuple[str, ...] = ("workspace", column)
        if not field.reference.kind:
            wanted = ("workspace", field.reference.kind_field, column)
        found = [each[: len(wanted)] for each in indexes(database, table)]
        assert wanted in found, f"deleting a target of {table}.{column} would scan {table}: no index leads with {wanted}"


@kinds
def test_a_digest_is_a_foreign_key_to_its_blob(database: Connection, kind: Kind) -> None:
    for field in kind.blobs:
        table, column = home_of(kind, field)
        assert foreign_keys(database, table).get((column,)) == ("blob", ("digest",)), f"{table}.{column}"
        assert (column,) in [each[:1] for each in indexes(database, table)], f"deleting a blob would scan {table}"


@kinds
def test_foreign_keys_are_those_of_the_contract_and_have_no_actions(database: Connection, kind: Kind) -> None:
    for table in [kind.name, *(f"{kind.name}_{each.name}" for each in kind.children)]:
        rows = list(database.execute(f"PRAGMA foreign_key_list({table})"))
        assert {(on_update, on_delete) for *_, on_update, on_delete, _ in rows} <= {("NO ACTION", "NO ACTION")}, table
        if table == kind.name:
            plain = [each for each in kind.references if each.reference and each.reference.kind and not each.repeated]
            expected = {("workspace", each.name) for each in plain if each.reference and not each.reference.may_be_missing}
            assert set(foreign_keys(database, table)) == expected | {(each.name,) for each in kind.blobs}


@kinds
def test_the_allowed_values_are_a_check(database: Connection, kind: Kind) -> None:
    members = [(f"{kind.name}_{each.name}", inner) for each in kind.children if each.member for inner in each.member.fields]
    for table, field in [*((home_of(kind, each)[0], each) for each in kind.fields), *members]:
        column = "value" if field.repeated else field.name
        found = re.search(rf"\b{column} TEXT[A-Z ]* CHECK \( ?{column} IN \(([^)]*)\)", table_sql(database, table))
        values = tuple(re.findall(r"'([^']*)'", found[1])) if found else ()
        assert values == (() if field.vocabulary else field.values), f"{table}.{column}"
        if field.values:
            assert field.default_value in ("", *field.values)


@journals
def test_a_journal_s_table_has_its_fields_as_columns(database: Connection, journal: Journal) -> None:
    assert sorted(columns(database, journal.name)) == sorted([*ENTRY_COLUMNS, *expected_columns(journal), *IMAGE_COLUMNS])
    assert primary_key(database, journal.name) == ["journal_id", "number"]
    digests = {(each.name,): ("blob", ("digest",)) for each in journal.blobs}
    assert foreign_keys(database, journal.name) == {("journal_id",): ("journal", ("journal_id",)), **digests}
    assert {(each.name,) for each in journal.blobs} <= set(indexes(database, journal.name)), "deleting a blob would scan it"
    assert not journal.children, "a journal's entries may have no child tables"
    assert set(journal.parents) <= set(KINDS)


@pytest.mark.parametrize("journal", derived, ids=lambda each: each.name)
def test_a_derived_journal_is_a_view_with_its_fields_and_its_place(database: Connection, journal: Journal) -> None:
    found = {name: kind for name, kind, _ in columns(database, journal.name)}
    # A computed column of a view has no declared type.
    for field in journal.columns:
        assert found[field.name] in (COLUMN_TYPES[field.type], ""), field.name
    assert set(found) == {"workspace", "revision", "ordinal", "number", "create_time", "image"} | {
        each.name for each in journal.columns
    }
    assert not journal.parents and not journal.children


def test_the_views_are_those_of_the_derived_journals(database: Connection) -> None:
    views = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}
    assert views == {each.name for each in derived}


def test_every_table_is_accounted_for(database: Connection) -> None:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    needed = {each.name for each in schema.tables()}
    children = {f"{kind.name}_{each.name}" for kind in KINDS.values() for each in kind.children}
    assert needed == set(KINDS) | set(STORED_JOURNALS) | children
    assert tables == {*schema.OWN_TABLES, "schema_migrations"} | needed


def test_foreign_keys_are_on(database: Connection) -> None:
    assert database.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
