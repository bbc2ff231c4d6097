"""The store has one SQL text: PostgreSQL accepts every statement of it and gives the same answers as SQLite."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.engine import Engine
from tests.support.every_statement import SETTINGS, drive, written
from tests.support.postgres import POSTGRES, store_on, types_of

# Without a context PostgreSQL infers `integer` (32 bits) for a parameter, and a larger value fails.
TYPES = {"text", "bigint", "double precision", "bytea", "numeric", "jsonpath", "text[]"}
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH) ")
HOLE = "\1"
ONLY_SQLITE = re.compile(
    r"PRAGMA|json_each|json_extract|json_type|json_valid|VACUUM|instr\(|LIMIT -1|rowid|sqlite_|INSERT OR|IFNULL|GLOB|[ (]\+\w"
)


@pytest.fixture(scope="module")
def answers(postgres: psycopg.Connection, server_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The answers of both engines, and every statement that PostgreSQL ran. Both engines are open at the same time."""
    given = [tmp_path_factory.mktemp(name) for name in ("postgres", "sqlite")]
    with ExitStack() as exits:
        store = store_on(server_uri, exits)
        engines = [Engine(given[0], store=store, **SETTINGS), Engine(given[1], **SETTINGS)]
        for each in engines:
            exits.callback(each.close)
        on_postgres, on_sqlite = (drive(engine, directory) for engine, directory in zip(engines, given, strict=True))
        yield on_postgres, on_sqlite, store.engine.statements


def test_two_engines_in_one_process_answer_alike(answers: Any) -> None:
    on_postgres, on_sqlite, _ = answers
    assert on_postgres == on_sqlite
    assert on_postgres[-1] == [], "verify must find no problem"
    assert {"", "AlreadyExists ID_TAKEN", "AlreadyExists KEY_TAKEN", "FailedPrecondition PARENT_NOT_FOUND"} <= {
        each for each in on_postgres if isinstance(each, str)
    }


def test_postgres_prepares_every_statement(answers: Any, postgres: psycopg.Connection) -> None:
    statements = {*answers[2], *written(POSTGRES)}
    assert len(statements) > 4_000
    strange = {}
    for sql in sorted(statements):
        if SQL.match(sql):
            found = set(types_of(postgres, sql)) - TYPES
            strange |= {sql: found} if found else {}
    assert strange == {}


def test_every_text_of_the_store_was_prepared(answers: Any, root: Path) -> None:
    """Each string literal of `store/` matches a statement that PostgreSQL ran; a placeholder matches any text."""
    given = "\0".join({*answers[2], *written(POSTGRES)})
    texts = [(path, text) for path, text in literals(root) if SQL.match(text)]
    assert len(texts) > 60
    missing = [f"{path}: {text}" for path, text in texts if not re.search(pattern(text), given)]
    assert missing == []


def test_rows_were_added_to_every_table(answers: Any, postgres: psycopg.Connection) -> None:
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    added = {match[1] for sql in answers[2] if (match := re.match(r'INSERT INTO "?(\w+)"?', sql.strip()))}
    assert {name for (name,) in postgres.execute(tables)} - {"schema_migrations"} == added


def test_sql_that_only_sqlite_knows_is_in_its_package(root: Path) -> None:
    said = [f"{path}: {match[0]!r} in {text!r}" for path, text in literals(root) if (match := ONLY_SQLITE.search(text))]
    assert said == []


def literals(root: Path) -> Iterator[tuple[str, str]]:
    """The strings of every module of `store/` outside the engines' packages, without docstrings; HOLE marks a placeholder."""
    for path in sorted((root / "daemon/holdfastd/store").glob("*.py")):
        tree = ast.parse(path.read_text())
        skipped: set[ast.AST] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr):
                skipped.add(node.value)
            elif isinstance(node, ast.JoinedStr) and node not in skipped:
                skipped |= set(ast.walk(node)) - {node}
                yield path.name, "".join(each.value if isinstance(each, ast.Constant) else HOLE for each in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
                yield path.name, re.sub(r"\{\w+\}", HOLE, node.value)


def pattern(text: str) -> str:
    return "[^\0]*".join(re.escape(part) for part in text.strip().split(HOLE))
