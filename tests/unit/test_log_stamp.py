"""A log beside a database file from another moment is recognised, and its own one never refused."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3 as sqlite
import zlib
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from holdfastd.errors import DataLoss
from holdfastd.model.call import Call
from holdfastd.store.engine import Head
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.inspection import Inspection, inspect
from holdfastd.store.sqlite.migrate import find_migrations, migrate


class Store:
    """A database that commits, checkpoints and is read at random. Keeps copies of its files, with the rows committed by then."""

    def __init__(self, directory: Path, dice: random.Random) -> None:
        self.path, self.copies = directory / "holdfast.db", list[list[int]]()
        self._dice, self._rows = dice, list[int]()
        self.open()
        migrate(self._writer, directory / "snapshots")
        self._writer.execute("CREATE TABLE t (x BIGINT, filler TEXT)")
        self.truncate()

    def open(self) -> None:
        self._database = Database(self.path)
        self._writer = self._database.open_writer()
        self._readers = self._database.open_readers(2)
        self._snapshot = ExitStack()

    def close(self) -> None:
        self._snapshot.close()
        self._readers.close()
        self._database.close(lambda error: None)
        self._writer.close()

    def commit(self) -> None:
        self._database.begin_batch(self._writer)
        for _ in range(self._dice.choice([1, 1, 300])):
            self._rows.append(len(self._rows))
            self._writer.execute("INSERT INTO t VALUES (?, ?)", (self._rows[-1], "x" * 100))
        self._database.end_batch(self._writer, Head(0, 0))

    def commit_nothing(self) -> None:
        self._database.begin_batch(self._writer)
        self._database.end_batch(self._writer, Head(0, 0))

    def passive(self) -> None:
        self._database._checkpointer.passive()

    def truncate(self) -> None:
        self._snapshot.close()
        self._database._checkpointer.truncate()

    def read(self) -> None:
        """Holds a snapshot, so that a checkpoint cannot copy all pages, or the log cannot begin anew."""
        self._snapshot.close()
        self._snapshot = ExitStack()
        self._snapshot.enter_context(self._readers.snapshot(Call())).execute("SELECT count(*) FROM t").fetchone()

    def stop_reading(self) -> None:
        self._snapshot.close()

    def restart(self) -> None:
        self.close()
        self.open()

    def copy(self, directory: Path) -> None:
        """Copies the files as a kill leaves them."""
        target = directory / str(len(self.copies))
        target.mkdir()
        for path in (self.path, self.path.with_name("holdfast.db-wal")):
            if path.exists():
                shutil.copy(path, target)
        self.copies.append(list(self._rows))


def rows_of(database: Path) -> list[int] | None:
    """The rows; None when the database is damaged."""
    from holdfastd.store.sqlite.errors import Error

    try:
        connection = Database(database).open_reader()
    except DataLoss:
        return None
    try:
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            return None
        return [row[0] for row in connection.execute("SELECT x FROM t ORDER BY rowid")]
    except Error:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("seed", range(4))
def test_only_a_log_of_this_file_is_accepted(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    store = Store(tmp_path, dice)
    steps = [store.commit] * 6 + [store.passive] * 4 + [store.read, store.stop_reading, store.commit_nothing, store.truncate]
    copies = tmp_path / "copies"
    copies.mkdir()
    for step in range(60):
        (store.restart if step % 25 == 24 else dice.choice(steps))()
        store.copy(copies)
    store.close()
    foreign = 0
    for later in range(0, 60, 3):
        for earlier in {later, *(dice.randrange(later + 1) for _ in range(6))}:
            mixed = tmp_path / f"{earlier}-{later}"
            mixed.mkdir()
            shutil.copy(copies / str(earlier) / "holdfast.db", mixed)
            log = copies / str(later) / "holdfast.db-wal"
            if log.exists():
                shutil.copy(log, mixed)
            found = inspect(mixed / "holdfast.db")
            if earlier == later:
                assert found.store_id and not found.foreign_log, f"its own log was refused: {earlier}"
            elif log.exists() and log.stat().st_size and found.readable and not found.foreign_log:
                assert rows_of(mixed / "holdfast.db") in (store.copies[earlier], store.copies[later]), (earlier, later)
            foreign += found.foreign_log or not found.readable
    assert foreign > 20


def test_a_missing_or_empty_database(tmp_path: Path) -> None:
    database = tmp_path / "holdfast.db"
    assert inspect(database) == Inspection()
    database.touch()
    assert inspect(database) == Inspection()
    (tmp_path / "holdfast.db-wal").write_bytes(b"x")
    assert inspect(database) == Inspection(foreign_log=True)
    database.unlink()
    assert inspect(database) == Inspection(foreign_log=True)
    assert not database.exists()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "holdfast.db").write_bytes(b"no database" * 1000)
    assert inspect(tmp_path / "holdfast.db") == Inspection(readable=False, damaged=True)


def vacuumed(database: Path, copy: Path) -> None:
    with closing(sqlite.connect(database)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))


def dumped(database: Path, copy: Path) -> None:
    with closing(sqlite.connect(database)) as connection, closing(sqlite.connect(copy)) as target:
        target.executescript("".join(connection.iterdump()))


@pytest.mark.parametrize("make_copy", [vacuumed, dumped])
@pytest.mark.parametrize("checkpointed", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_with_the_same_rows_on_other_pages_is_not_taken_for_the_file(
    tmp_path: Path, make_copy: Callable[[Path, Path], None], checkpointed: bool, seed: int
) -> None:
    dice = random.Random(seed)
    store = Store(tmp_path, dice)
    for _ in range(10):
        store.commit()
    store.restart()
    store.commit()
    if checkpointed:
        store.passive()
    (tmp_path / "copies").mkdir()
    store.copy(tmp_path / "copies")
    store.close()
    database = tmp_path / "copies" / "0" / "holdfast.db"
    assert not inspect(database).foreign_log
    log = database.with_name("holdfast.db-wal").read_bytes()
    make_copy(database, tmp_path / "copy.db")
    shutil.copy(tmp_path / "copy.db", database)
    database.with_name("holdfast.db-wal").write_bytes(log)
    found = inspect(database)
    assert found.foreign_log or not found.readable


def test_a_log_that_a_migration_began_is_accepted(tmp_path: Path) -> None:
    """Its first commit has no stamp; the newest one is from an earlier log."""
    store = Store(tmp_path, random.Random(0))
    for _ in range(3):
        store.commit()
        store.restart()
    store._writer.execute("CREATE TABLE later (x BIGINT)")
    store.commit()
    store.passive()
    store.commit()
    (tmp_path / "copies").mkdir()
    store.copy(tmp_path / "copies")
    store.close()
    assert not inspect(tmp_path / "copies" / "0" / "holdfast.db").foreign_log


def test_a_log_that_a_migration_began_is_accepted_after_a_power_cut_in_a_checkpoint(tmp_path: Path) -> None:
    """The power cut takes back the header that the checkpoint wrote and that the first stamp of the log names."""
    store = Store(tmp_path, random.Random(0))
    store.commit()
    store.restart()
    store._writer.execute("CREATE TABLE later (x BIGINT)")
    (tmp_path / "copies").mkdir()
    store.copy(tmp_path / "copies")
    store.read()
    store._writer.execute("INSERT INTO later VALUES (1)")
    store.passive()
    store.commit()
    store.copy(tmp_path / "copies")
    store.close()
    shutil.copy(tmp_path / "copies" / "0" / "holdfast.db", tmp_path / "copies" / "1")
    assert not inspect(tmp_path / "copies" / "1" / "holdfast.db").foreign_log


def test_its_own_log_is_accepted_when_a_power_cut_in_a_checkpoint_tore_the_page_of_the_stamp(tmp_path: Path) -> None:
    store = Store(tmp_path, random.Random(0))
    for _ in range(3):
        store.commit()
        store.restart()
    store.commit()
    (tmp_path / "copies").mkdir()
    store.copy(tmp_path / "copies")
    store.close()
    database = tmp_path / "copies" / "0" / "holdfast.db"
    database.write_bytes(re.sub(rb"log_stamp(?=[0-9a-f]{16} )", bytes(9), database.read_bytes()))
    assert inspect(database).store_id
    assert not inspect(database).foreign_log


@pytest.mark.parametrize("torn", [True, False])
def test_a_log_whose_first_commit_is_torn_is_no_log(tmp_path: Path, torn: bool) -> None:
    """SQLite ignores it, and its pages may have rows of older stamps."""
    store = Store(tmp_path, random.Random(0))
    for _ in range(3):
        store.commit()
        store.restart()
    store.commit()
    (tmp_path / "copies").mkdir()
    store.copy(tmp_path / "copies")
    store.close()
    database = tmp_path / "copies" / "0" / "holdfast.db"
    log = database.with_name("holdfast.db-wal")
    content = log.read_bytes()
    header = b" %08x" % zlib.crc32(database.read_bytes()[:100])
    assert header in content
    log.write_bytes(content.replace(header, b" 00000000") if torn else content)
    assert not inspect(database).foreign_log


def test_no_later_migration_writes_to_the_table_of_stamps() -> None:
    """It would bring the stamp of an earlier log into the first commit of its own; see `log_stamp.fits`."""
    assert [each.version for each in find_migrations() if re.search(r"\bmeta\b", each.script)] == [1, 8]
