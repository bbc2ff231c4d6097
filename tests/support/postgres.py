"""PostgreSQL behind the interface `Engine`, for tests only: a second engine beside SQLite in one process.

It proves that `store/*.py` has one SQL text. It proves nothing about durability, and it reads whole results into memory. The
database's collation must be C.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.numeric import Int8Dumper

from holdfastd.composition import OpenStore
from holdfastd.errors import HoldfastError
from holdfastd.model.call import Call
from holdfastd.model.filters import LiteralKind
from holdfastd.model.jobs import Job
from holdfastd.store import changes
from holdfastd.store.dialect import Parameter, Where
from holdfastd.store.engine import Alone, Constraint, Head

ROWS_A_STATEMENT = 64
UNIQUE_COLUMNS = """
    SELECT found.relname, array_agg(columns.attname::text ORDER BY key.place)
    FROM pg_index JOIN pg_class AS found ON found.oid = pg_index.indexrelid
    CROSS JOIN LATERAL unnest(pg_index.indkey) WITH ORDINALITY AS key (number, place)
    JOIN pg_attribute AS columns ON columns.attrelid = pg_index.indrelid AND columns.attnum = key.number
    WHERE pg_index.indisunique GROUP BY found.relname
"""


class PostgresDialect:
    """Implements `Dialect`. In strict mode jsonpath descends into objects only, as SQLite's paths do."""

    def contains(self, text: str, parameter: str) -> Where:
        return Where(f"strpos({text}, ?) > 0", (parameter,))

    def any_of(self, column: str, values: Sequence[str]) -> Where:
        return Where(f"{column} = ANY (?)", (list(values),))

    def walked(self, column: str) -> str:
        return column

    def in_table_order(self, table: str) -> str:
        return table

    def json_present(self, column: str, keys: Sequence[str]) -> Where:
        return Where(f"{_found(column)} IS NOT NULL", (_path(keys),))

    def json_compares(self, column: str, keys: Sequence[str], operator: str, kind: LiteralKind, operand: Parameter) -> Where:
        return _compared(Where(_found(column), (_path(keys),)), operator, kind, operand)

    def json_array_has(self, column: str, keys: Sequence[str], kind: LiteralKind, operand: Parameter) -> Where:
        found = _found(column)
        elements = f"jsonb_array_elements(CASE WHEN jsonb_typeof({found}) = 'array' THEN {found} END) AS element (value)"
        same = _compared(Where("element.value"), "=", kind, operand)
        return Where(f"EXISTS (SELECT 1 FROM {elements} WHERE {same.sql})", (_path(keys), _path(keys), *same.parameters))

    def json_text_contains(self, column: str, keys: Sequence[str], operand: str) -> Where:
        found = _found(column)
        inside = self.contains(f"({found} #>> '{{}}')", operand)
        return Where(f"(jsonb_typeof({found}) = 'string' AND {inside.sql})", (_path(keys), _path(keys), operand))


POSTGRES = PostgresDialect()


def _found(column: str) -> str:
    document = f"CASE WHEN {column} IS JSON THEN CAST({column} AS JSONB) END"
    return f"jsonb_path_query_first({document}, CAST(? AS JSONPATH), '{{}}', true)"


def _path(keys: Sequence[str]) -> str:
    return "strict $" + "".join("." + json.dumps(key) for key in keys)


def _compared(found: Where, operator: str, kind: LiteralKind, operand: Parameter) -> Where:
    value, twice = found.sql, found.parameters * 2
    if kind is LiteralKind.NULL:
        return Where(f"jsonb_typeof({value}) = 'null'", found.parameters)
    if kind is LiteralKind.BOOLEAN:
        return Where(f"{value} = CAST('{'true' if operand else 'false'}' AS JSONB)", found.parameters)
    if kind is LiteralKind.TEXT:
        text = f"({value} #>> '{{}}') COLLATE \"C\" {operator} ?"
        return Where(f"(jsonb_typeof({value}) = 'string' AND {text})", (*twice, operand))
    number = f"CAST({value} #>> '{{}}' AS NUMERIC) {operator} CAST(? AS NUMERIC)"
    return Where(f"CASE WHEN jsonb_typeof({value}) = 'number' THEN {number} ELSE false END", (*twice, operand))


@cache
def numbered(sql: str) -> str:
    """The statement with $1, $2 … instead of question marks. No statement of the store has a question mark in a string."""
    parts = sql.split("?")
    return parts[0] + "".join(f"${number}{part}" for number, part in enumerate(parts[1:], 1))


class _IntDumper(Int8Dumper):
    """Sends every integer and boolean as BIGINT, the schema's only integer type."""

    def dump(self, obj: Any) -> bytes:
        return b"%d" % obj


class PostgresConnection:
    """Implements `engine.Connection`."""

    dialect = POSTGRES
    Error = psycopg.Error

    def __init__(self, engine: PostgresEngine) -> None:
        self.engine = engine
        self._connection = psycopg.connect(engine.uri, autocommit=True, cursor_factory=psycopg.RawCursor)
        for sort in (int, bool):
            self._connection.adapters.register_dumper(sort, _IntDumper)

    @property
    def in_transaction(self) -> bool:
        return self._connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        self.engine.statements.add(sql)
        return self._connection.execute(numbered(sql).encode(), parameters)

    def insert_rows(self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
        row = f"({', '.join('?' * len(columns))})"
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            some = rows[start : start + ROWS_A_STATEMENT]
            sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * len(some))}"
            self.execute(sql, [value for each in some for value in each])

    def together(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def close(self) -> None:
        self._connection.close()


class PostgresReaders:
    """Implements `engine.Readers` with one connection."""

    dialect = POSTGRES

    def __init__(self, engine: PostgresEngine) -> None:
        self._connection = PostgresConnection(engine)
        self._lock = threading.Lock()

    @contextmanager
    def snapshot(self, call: Call) -> Iterator[PostgresConnection]:
        with self._lock:
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield self._connection
            finally:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


class PostgresEngine:
    """Implements `Engine` for a database with every migration applied. `statements` are the statements that were run."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.statements: set[str] = set()
        with psycopg.connect(uri) as connection:
            self._columns = {name: tuple(columns) for name, columns in connection.execute(UNIQUE_COLUMNS)}

    def open_writer(self) -> PostgresConnection:
        return PostgresConnection(self)

    def open_readers(self, count: int) -> PostgresReaders:
        return PostgresReaders(self)

    def begin_batch(self, connection: Any) -> Head:
        connection.execute("BEGIN")
        return Head(*changes.newest(connection))

    def end_batch(self, connection: Any, head: Head) -> None:
        connection.execute("COMMIT")

    def jobs(
        self,
        interval_s: float,
        alone: Alone,
        has_room_for_log: Callable[[], bool],
        on_sync_failure: Callable[[BaseException], None],
    ) -> tuple[Job, ...]:
        return ()

    def close(self, on_sync_failure: Callable[[BaseException], None], *, keeps_log: bool = False) -> None:
        """Does nothing: the server of a test is deleted with its directory."""

    def size_bytes(self) -> int:
        return 0

    def held_files(self) -> tuple[Path, ...]:
        return ()

    def foreign_write(self) -> str:
        return ""

    def guard(self, check: Callable[[], None]) -> None:
        pass

    def growth_bytes(self) -> int:
        return 0

    def empty_pages(self, connection: Any) -> int:
        return 0

    def free_pages(self, connection: Any, limit: int) -> int:
        return 0

    def refusal(self, error: Exception) -> Constraint | None:
        if not isinstance(error, psycopg.errors.IntegrityError):
            return None
        return Constraint(self._columns.get(error.diag.constraint_name or "", ()))

    def translate(self, error: Exception) -> HoldfastError | None:
        return None

    def is_sync_failure(self, error: Exception) -> bool:
        return False

    def check(self, connection: Any) -> Iterator[tuple[str, str, str]]:
        return iter(())

    def follow(self, wake: Callable[[], None]) -> None:
        """Does nothing: no other process writes to a test's database."""


def store_on(uri: str, exits: ExitStack) -> OpenStore:
    """The counterpart of `composition.open_store` for PostgreSQL."""
    engine = PostgresEngine(uri)
    connection, readers = engine.open_writer(), engine.open_readers(1)
    exits.callback(connection.close)
    exits.callback(readers.close)
    return OpenStore(engine, connection, readers, "postgres", 0)


def types_of(connection: psycopg.Connection, sql: str) -> list[str]:
    """Prepares a statement of the store and returns the types that PostgreSQL infers for its parameters."""
    connection.execute(b"PREPARE held AS " + numbered(re.sub(r";\s*$", "", sql)).encode())
    try:
        row = connection.execute("SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'held'").fetchone()
    finally:
        connection.execute("DEALLOCATE held")
    assert row is not None
    return list(row[0])
