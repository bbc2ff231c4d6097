from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfastd.errors import SetupError
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import find_migrations, migrate, pending, split_statements, store_id

META = "CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);\n"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with closing(Database(tmp_path / "holdfast.db").open_writer()) as opened:
        yield opened


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "migrations"
    directory.mkdir()
    (directory / "0001_first.sql").write_text(META)
    return directory


def tables(connection: Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def run(connection: Connection, files: Path) -> list[str]:
    return [str(step) for step in migrate(connection, files.parent / "snapshots", find_migrations(files))]


def test_the_shipped_migrations_make_a_store(connection: Connection, tmp_path: Path) -> None:
    steps = migrate(connection, tmp_path / "snapshots")
    assert steps == find_migrations()
    assert {"commits", "changes", "task", "transcript", "blob"} <= tables(connection)
    assert pending(connection, find_migrations()) == ()
    assert not (tmp_path / "snapshots").exists()


def test_a_second_run_does_nothing_and_keeps_the_store_id(connection: Connection, files: Path) -> None:
    assert run(connection, files) == ["0001_first"]
    first = store_id(connection)
    assert run(connection, files) == []
    assert store_id(connection) == first


def test_each_step_is_recorded(connection: Connection, files: Path) -> None:
    run(connection, files)
    [(version, name, checksum, applied_at)] = connection.execute("SELECT * FROM schema_migrations").fetchall()
    assert (version, name, len(checksum)) == (1, "first", 64)
    assert applied_at > 1_700_000_000_000_000_000


def test_a_snapshot_is_taken_before_the_first_step_on_an_existing_store(connection: Connection, files: Path) -> None:
    run(connection, files)
    connection.execute("INSERT INTO meta (name, value) VALUES ('kept', 'yes')")
    (files / "0002_second.sql").write_text("DELETE FROM meta WHERE name = 'kept';")
    (files / "0003_third.sql").write_text("CREATE TABLE third (a BIGINT);")
    assert run(connection, files) == ["0002_second", "0003_third"]
    [snapshot] = (files.parent / "snapshots").iterdir()
    assert snapshot.name.startswith("before-0002-")
    with closing(Database(snapshot).open_reader()) as copy:
        assert copy.execute("SELECT value FROM meta WHERE name = 'kept'").fetchone() == ("yes",)
        assert "third" not in tables(copy)


def test_a_snapshot_has_its_name_only_when_it_is_durable(
    connection: Connection, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(connection, files)
    (files / "0002_second.sql").write_text("CREATE TABLE third (x BIGINT);")
    snapshots = files.parent / "snapshots"
    steps: list[str] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(files.parent).as_posix()
        steps.append(re.sub("-.*[0-9]", "-N", name) + f" beside {len(list(snapshots.glob('*.db')))}")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    run(connection, files)
    assert steps == ["snapshots/before-N.db.unfinished beside 0", "snapshots beside 1", ". beside 1"]


def test_what_is_left_of_a_copy_that_was_interrupted_is_removed(connection: Connection, files: Path) -> None:
    run(connection, files)
    (files / "0002_second.sql").write_text("CREATE TABLE third (x BIGINT);")
    snapshots = files.parent / "snapshots"
    snapshots.mkdir()
    kept = snapshots / "before-0001-20200101T000000-000000001.db"
    for path in (kept, kept.with_name(kept.name + ".unfinished"), kept.with_name(kept.name + ".unfinished-journal")):
        path.write_bytes(b"x")
    run(connection, files)
    assert len(list(snapshots.iterdir())) == 2
    assert kept.exists()


def test_the_dialects_part_runs_after_the_shared_one(connection: Connection, files: Path) -> None:
    (files / "0001_first.sqlite.sql").write_text("CREATE INDEX meta_by_value ON meta (value);")
    (files / "0001_first.postgres.sql").write_text("this is not for us;")
    (files / "0002_only_here.sqlite.sql").write_text("CREATE TABLE here (a BIGINT);")
    assert run(connection, files) == ["0001_first", "0002_only_here"]
    assert "here" in tables(connection)


def test_a_failing_step_leaves_nothing_and_the_steps_before_it(connection: Connection, files: Path) -> None:
    (files / "0002_second.sql").write_text("CREATE TABLE second (a BIGINT);")
    (files / "0003_bad.sql").write_text("CREATE TABLE third (a BIGINT);\nCREATE TABLE second (a BIGINT);")
    with pytest.raises(SetupError, match=r"Migration 0003_bad failed: .* Statement: CREATE TABLE second"):
        run(connection, files)
    assert "second" in tables(connection)
    assert "third" not in tables(connection)
    (files / "0003_bad.sql").write_text("CREATE TABLE third (a BIGINT);")
    assert run(connection, files) == ["0003_bad"]


def test_a_step_cannot_end_its_own_transaction(connection: Connection, files: Path) -> None:
    (files / "0002_second.sql").write_text("CREATE TABLE second (a BIGINT); COMMIT;")
    with pytest.raises(SetupError, match=r"take BEGIN, COMMIT and ROLLBACK out"):
        run(connection, files)


def test_an_edited_step_is_refused(connection: Connection, files: Path) -> None:
    run(connection, files)
    (files / "0001_first.sql").write_text(META + "-- better now\n")
    with pytest.raises(SetupError, match=r"0001_first was edited .* Put the file back"):
        run(connection, files)


def test_an_unknown_newer_step_is_refused(connection: Connection, files: Path) -> None:
    (files / "0002_second.sql").write_text("CREATE TABLE second (a BIGINT);")
    run(connection, files)
    (files / "0002_second.sql").unlink()
    with pytest.raises(SetupError, match=r"0002_second, which this holdfastd does not know.*Upgrade holdfast"):
        run(connection, files)


def test_a_database_of_somebody_else_is_left_alone(connection: Connection, files: Path) -> None:
    connection.execute("CREATE TABLE theirs (a BIGINT)")
    with pytest.raises(SetupError, match=r"no Holdfast store: it holds 'theirs'"):
        run(connection, files)
    assert tables(connection) == {"theirs"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0003_third.sql", "migration 0002 is missing before 0003"),
        ("0001_again.sql", "number 0001 is taken by"),
        ("0001_other.sqlite.sql", "two names"),
        ("2_short.sql", "a migration is called NNNN_name.sql"),
    ],
)
def test_gaps_duplicates_and_stray_names_are_refused(files: Path, name: str, message: str) -> None:
    (files / name).write_text("SELECT 1;")
    with pytest.raises(SetupError, match=message):
        find_migrations(files)


def test_statements_are_split_where_sqlite_ends_them() -> None:
    script = """
    -- a comment; with a semicolon
    INSERT INTO a VALUES ('x;y'); /* another; one */
    CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT ';'; SELECT 2; END;
    -- the end; really
    """
    statements = list(split_statements(script))
    assert len(statements) == 2
    assert statements[0].endswith("('x;y');")
    assert statements[1].endswith("END;")


def test_an_unfinished_statement_is_refused() -> None:
    with pytest.raises(SetupError, match=r"ends within a statement"):
        list(split_statements("CREATE TABLE a (b BIGINT);\nCREATE TABLE c (d BIGINT)"))
