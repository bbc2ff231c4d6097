"""The shared DDL runs unchanged on a real PostgreSQL, which enforces its foreign keys and checks."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from holdfast.contract.kinds import JOURNALS, KINDS, FieldType
from holdfastd.model.codec import child_columns
from holdfastd.store.sqlite.migrate import find_migrations

INSERT_TASK = (
    "INSERT INTO task (workspace, id, version, create_time, update_time, title, description, status, priority, construct_id)"
    " VALUES ('w', %s, 1, 0, 0, '', '', %s, '', %s)"
)
COLUMNS = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
POSTGRES_TYPES = {
    FieldType.STRING: "text",
    FieldType.JSON: "text",
    FieldType.INTEGER: "bigint",
    FieldType.REAL: "double precision",
    FieldType.BOOLEAN: "bigint",
    FieldType.TIME: "bigint",
}


def test_the_files_are_applied_as_they_stand(root: Path) -> None:
    shared = [path for path in sorted((root / "migrations").glob("*.sql")) if path.name.count(".") == 1]
    assert shared
    scripts = {each.version: each.script for each in find_migrations(dialect="postgres")}
    for path in shared:
        assert path.read_text() in scripts[int(path.name[:4])]


def test_every_kind_and_journal_has_its_table(postgres: psycopg.Connection) -> None:
    rows = postgres.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
    )
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        found.setdefault(table, {})[column] = kind
    for shape in [*KINDS.values(), *JOURNALS.values()]:
        for field in shape.columns:
            assert found[shape.name][field.name] == POSTGRES_TYPES[field.type], f"{shape.name}.{field.name}"
        for field in shape.children:
            table = f"{shape.name}_{field.name}"
            held = field.member.columns if field.member else (field,)
            for name, each in zip(child_columns(field), held, strict=True):
                assert found[table][name] == POSTGRES_TYPES[each.type], f"{table}.{name}"


def test_foreign_keys_hold(postgres: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        postgres.execute(INSERT_TASK, ("TASK-001", "created", "no-such-construct"))


def test_checks_hold(postgres: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        postgres.execute("INSERT INTO vocabulary_terms VALUES ('w', 'task.status', 0, 'todo', 'no-such-meaning', '')")


def test_a_good_row_goes_in(postgres: psycopg.Connection) -> None:
    with postgres.transaction(force_rollback=True):
        assert postgres.execute(INSERT_TASK, ("TASK-003", "created", None)).rowcount == 1
