"""Brings a database to the newest schema, one numbered SQL file at a time.

`NNNN_name.sql` runs on every engine; `NNNN_name.sqlite.sql` or `.postgres.sql` beside it runs after it, in the same step, on one.
Each step and its row of `schema_migrations` are one transaction, so a crash leaves only whole steps. The daemon calls `migrate`
before it serves; `holdfastd migrate` calls it too.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlcipher3.dbapi2 as sqlite

from holdfastd import durable, failpoints
from holdfastd.errors import SetupError
from holdfastd.store import meta
from holdfastd.store.engine import Connection
from holdfastd.store.sqlite.errors import Error, foreign_errors

DIALECT = "sqlite"
_UNFINISHED = ".unfinished"
_FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)(\.(?P<dialect>sqlite|postgres))?\.sql")

# Not in a migration file, because the table must exist before the first migration can be recorded in it.
_BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number, its name, and its SQL for this dialect. `checksum` is the SHA-256 of the SQL."""

    version: int
    name: str
    script: str = field(repr=False)

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.script.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.version:04d}_{self.name}"


def migrations_dir() -> Path:
    """Where the files are: in the installed package, else in the source tree."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def find_migrations(directory: Path | None = None, dialect: str = DIALECT) -> tuple[Migration, ...]:
    """The steps of `directory` in order, 1, 2, 3 … Raises SETUP for a wrong file name, a gap, or a number used twice."""
    directory = directory or migrations_dir()
    shared: dict[int, tuple[str, str]] = {}
    extra: dict[int, tuple[str, str]] = {}
    for path in sorted(directory.glob("*.sql")):
        if (match := _FILE_NAME.fullmatch(path.name)) is None:
            raise SetupError(f"{path}: a migration is called NNNN_name.sql or NNNN_name.{dialect}.sql. Rename it.")
        if match["dialect"] not in (None, dialect):
            continue
        files, version = (extra if match["dialect"] else shared), int(match["version"])
        if version in files:
            raise SetupError(f"{path}: number {version:04d} is taken by {files[version][0]}. Use the next free number.")
        files[version] = (match["name"], path.read_text(encoding="utf-8"))
    return tuple(_join(shared, extra, directory))


def _join(shared: dict[int, tuple[str, str]], extra: dict[int, tuple[str, str]], directory: Path) -> Iterator[Migration]:
    """Each shared file with the dialect's part after it; either may be missing, but not both."""
    for expected, version in enumerate(sorted(shared.keys() | extra.keys()), start=1):
        if version != expected:
            raise SetupError(f"{directory}: migration {expected:04d} is missing before {version:04d}. Number them without gaps.")
        parts = [files[version] for files in (shared, extra) if version in files]
        if len({name for name, _ in parts}) != 1:
            raise SetupError(f"{directory}: migration {version:04d} has two names: {parts[0][0]} and {parts[1][0]}. Use one.")
        yield Migration(version, parts[0][0], "\n".join(script for _, script in parts))


def pending(connection: Connection, migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    """The steps that were not applied to the database yet. Changes nothing; works on a read-only connection.

    Raises SETUP when an applied step is unknown here or has another checksum, and when the database has tables but is not a
    Holdfast store.
    """
    applied = _applied(connection)
    known = {each.version: each for each in migrations}
    for version, (name, checksum) in sorted(applied.items()):
        if version not in known:
            raise SetupError(
                f"The store has had migration {version:04d}_{name}, which this holdfastd does not know: a newer one made it. "
                "Upgrade holdfast, or restore the snapshot taken before that migration (in the data directory's snapshots/)."
            )
        if known[version].checksum != checksum:
            raise SetupError(
                f"Migration {known[version]} was edited after it had been applied to this store. "
                "Put the file back as it was and write the change as a new migration."
            )
    return tuple(each for each in migrations if each.version not in applied)


def _applied(connection: Connection) -> dict[int, tuple[str, str]]:
    with foreign_errors():
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "schema_migrations" not in tables:
            if tables:
                raise SetupError(f"The database is no Holdfast store: it holds {min(tables)!r}. Choose another path.")
            return {}
        rows = connection.execute("SELECT version, name, checksum FROM schema_migrations").fetchall()
    return {version: (name, checksum) for version, name, checksum in rows}


def migrate(connection: Connection, snapshots: Path, migrations: Sequence[Migration] | None = None) -> tuple[Migration, ...]:
    """Applies the pending steps and returns them. Gives a new store its id.

    Before the first step on an existing store, copies the database to `snapshots`/before-NNNN-TIME.db. A step
    that fails leaves the database as it was before the step, and raises SETUP with the statement that failed.
    """
    migrations = find_migrations() if migrations is None else migrations
    steps = pending(connection, migrations)
    if steps and len(steps) < len(migrations):
        take_snapshot(connection, snapshots, steps[0])
        failpoints.hit("migrate.after_snapshot")
    with foreign_errors():
        connection.execute(_BOOKKEEPING)
        for step in steps:
            _apply(connection, step)
        _ensure_store_id(connection)
    return steps


def take_snapshot(connection: Connection, snapshots: Path, step: Migration) -> Path:
    """Copies the whole database as it is before `step`. Returns the path of the copy, which is durable.

    The copy gets its name when it is complete and synced. Removes what is left of an earlier copy that was interrupted.
    """
    snapshots.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in snapshots.glob(f"*{_UNFINISHED}*"):
        left.unlink()
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    target = snapshots / f"before-{step.version:04d}-{moment}-{time.time_ns() % 1_000_000_000:09d}.db"
    unfinished = target.with_name(target.name + _UNFINISHED)
    with foreign_errors():
        connection.execute("VACUUM INTO ?", (str(unfinished),))
        # A copy with other pages must not be taken for the file that a log was written over.
        with closing(sqlite.connect(unfinished, isolation_level=None)) as copy:
            copy.execute("DELETE FROM meta WHERE name = ?", (meta.LOG_STAMP,))
    failpoints.hit("migrate.before_snapshot_sync")
    durable.sync_file(unfinished)
    unfinished.rename(target)
    durable.sync_directory(snapshots)
    durable.sync_directory(snapshots.parent)
    return target


def _apply(connection: Connection, step: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in split_statements(step.script):
            _run(connection, step, statement)
        connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
            (step.version, step.name, step.checksum, time.time_ns()),
        )
        failpoints.hit("migrate.before_commit")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    failpoints.hit("migrate.after_commit")


def _run(connection: Connection, step: Migration, statement: str) -> None:
    try:
        connection.execute(statement)
    except Error as error:
        raise SetupError(f"Migration {step} failed: {error}. The store is as it was before it. Statement: {statement}") from error
    if not connection.in_transaction:
        raise SetupError(f"Migration {step} ends its own transaction: take BEGIN, COMMIT and ROLLBACK out of it. {statement}")


def split_statements(script: str) -> Iterator[str]:
    """The statements one by one, each with its semicolon. (`executescript` commits first, so it cannot be used.)

    Strings, comments and trigger bodies may hold semicolons, so SQLite decides where a statement ends. Raises SETUP when the
    last statement is not complete.
    """
    statement = ""
    for piece in re.split(r"(?<=;)", script):
        statement += piece
        if sqlite.complete_statement(statement):
            yield statement.strip()
            statement = ""
    if re.sub(r"--[^\n]*|/\*.*?\*/", "", statement, flags=re.DOTALL).strip():
        raise SetupError(f"The SQL ends within a statement; end it with a semicolon: {statement.strip()}")


def _ensure_store_id(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('store_id', ?) ON CONFLICT (name) DO NOTHING", (str(uuid.uuid4()),)
    )


def store_id(connection: Connection) -> str:
    """The store's id. It is given once, when the store is created; backups and restores keep it."""
    (value,) = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone()
    return str(value)


def schema_version(connection: Connection) -> int:
    """The number of the newest step that was applied; 0 for none."""
    return max((int(version) for version in _applied(connection)), default=0)


def changed_definitions(connection: Connection) -> list[str]:
    """The names of tables, indexes and views whose definition differs from what the applied migrations make."""
    applied = _applied(connection)
    with closing(sqlite.connect(":memory:", isolation_level=None)) as fresh:
        fresh.execute(_BOOKKEEPING)
        for step in find_migrations():
            if step.version in applied:
                for statement in split_statements(step.script):
                    fresh.execute(statement)
        expected, found = _definitions(fresh), _definitions(connection)
    return sorted({str(name) for name, _ in expected ^ found})


def renamed_steps(connection: Connection) -> list[str]:
    """The applied steps that have another name than here."""
    known = {each.version: each.name for each in find_migrations()}
    return [f"{version:04d}_{name}" for version, (name, _) in _applied(connection).items() if known.get(version) != name]


def _definitions(connection: Any) -> set[tuple[str, str]]:
    rows = connection.execute("SELECT name, type || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_master").fetchall()
    return {(name, " ".join(text.split())) for name, text in rows}


def columns_by_table(connection: Connection) -> dict[str, set[str]]:
    """The column names of every table."""
    found: dict[str, set[str]] = {}
    query = "SELECT t.name, c.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table'"
    with foreign_errors():
        for table, column in connection.execute(query):
            found.setdefault(table, set()).add(column)
    return found
