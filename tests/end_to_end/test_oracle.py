"""The oracle of the crash and power-cut tests must be able to fail: it has to report stores whose database or files are damaged.

Where possible the damaged rows are consistent with each other, so that only the ledgers show the damage.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import holdfast
from tests.durability.daemon import DaemonProcess, on_directory
from tests.durability.ledger import Ledger, LedgerFiles
from tests.durability.oracle import Oracle, stray_files
from tests.durability.worker import Worker, set_up
from tests.end_to_end.daemons import eventually

pytestmark = pytest.mark.slow  # processes of its own

Damage = Callable[[sqlite3.Connection], object]


class Loaded:
    """A copy of a store after some load, with its ledgers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = Ledger(directory, "late")
        self.daemon: DaemonProcess | None = None

    def damage(self, how: Damage) -> None:
        """Changes the database while no daemon runs."""
        with closing(sqlite3.connect(self.directory / "store" / "holdfast.db")) as connection:
            how(connection)
            connection.commit()

    def connect(self) -> holdfast.Store:
        """Connects to the store's daemon; starts it if necessary."""
        if self.daemon is None:
            self.daemon = on_directory(self.directory)
            assert self.daemon.wait_until_serving()
        return holdfast.connect(self.daemon.socket)

    def problems(self) -> str:
        """The oracle's problems, one per line."""
        with self.connect() as store:
            return "\n".join(Oracle(LedgerFiles(self.directory)).ask(store))


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    """The directory of a stopped store, after every operation was run."""
    with tempfile.TemporaryDirectory(prefix="hf-oracle-") as name:
        directory = Path(name)
        daemon = on_directory(directory)
        assert daemon.wait_until_serving()
        set_up(daemon.socket, directory)
        with holdfast.connect(daemon.socket, actor="w") as store:
            worker = Worker(store, Ledger(directory, "w"), random.Random(1))
            worker.begin()
            worker.every_operation()
            worker.every_operation()
            worker.append_many()
        assert daemon.terminate()
        yield directory


@pytest.fixture
def loaded(original: Path) -> Iterator[Loaded]:
    with tempfile.TemporaryDirectory(prefix="hf-oracle-") as name:
        copy = Loaded(Path(shutil.copytree(original, Path(name) / "o")))
        yield copy
        if copy.daemon is not None:
            copy.daemon.kill()


# Without a checksum: the daemon itself refuses to read a change whose checksum does not fit.
OF_CHANGE = ", checksum = NULL WHERE revision = ? AND ordinal = ?"
LAST_APPEND = "SELECT revision, ordinal, id, last_number FROM changes WHERE action = 4 AND last_number > first_number"


def last_append(connection: sqlite3.Connection) -> tuple[int, int, int, int]:
    """Revision and ordinal of the newest change that appended several entries, its journal, and the last number."""
    revision, ordinal, parent, last = connection.execute(f"{LAST_APPEND} ORDER BY revision DESC").fetchone()
    (journal,) = connection.execute("SELECT journal_id FROM journal WHERE parent_id = ?", (parent,)).fetchone()
    return revision, ordinal, journal, last


def drop_last_entry(connection: sqlite3.Connection) -> None:
    revision, ordinal, journal, last = last_append(connection)
    connection.execute("DELETE FROM transcript WHERE journal_id = ? AND number = ?", (journal, last))
    connection.execute(f"UPDATE changes SET last_number = last_number - 1 {OF_CHANGE}", (revision, ordinal))


def double_last_entry(connection: sqlite3.Connection) -> None:
    revision, ordinal, journal, last = last_append(connection)
    columns = "revision, create_time, task_id, phase, iteration, role, content, metadata, time"
    connection.execute(
        f"INSERT INTO transcript (journal_id, number, {columns}) SELECT journal_id, number + 1, {columns}"
        " FROM transcript WHERE journal_id = ? AND number = ?",
        (journal, last),
    )
    connection.execute(f"UPDATE changes SET last_number = last_number + 1 {OF_CHANGE}", (revision, ordinal))


def drop_entry_in_the_middle(connection: sqlite3.Connection) -> None:
    _, _, journal, last = last_append(connection)
    connection.execute("DELETE FROM transcript WHERE journal_id = ? AND number = ?", (journal, last - 1))


def lose_update(connection: sqlite3.Connection) -> None:
    changed = "name = 'nobody', version = version + 1, image = NULL, checksum = NULL"  # without an image the columns are read
    connection.execute(f"UPDATE construct SET {changed} WHERE id IN (SELECT MIN(id) FROM construct)")


def change_columns_only(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE construct SET name = 'nobody' WHERE id IN (SELECT MIN(id) FROM construct)")


def test_sound_store_has_no_problems(loaded: Loaded) -> None:
    assert loaded.problems() == ""


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (drop_last_entry, "was acknowledged, and"),
        (double_last_entry, "is there 2 times"),
        (drop_entry_in_the_middle, "verify: journal_gap"),
        (lose_update, "is listed as something else than history tells"),
        (change_columns_only, "verify: record_differs"),
    ],
)
def test_damaged_rows_are_reported(loaded: Loaded, damage: Damage, found: str) -> None:
    loaded.damage(damage)
    assert found in loaded.problems()


def test_flipped_byte_in_a_blob_file_is_reported(loaded: Loaded) -> None:
    """In a blob that a record names: the daemon may sweep another before the oracle reads it."""
    with loaded.connect() as store:
        artifact = store.artifacts.put(source=random.Random(1).randbytes(200_000), name="kept")
        file = loaded.directory / "store" / store.blobs.stat(artifact.content_digest).path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert "verify: blob_damaged" in loaded.problems()


def test_a_lost_acknowledged_operation_is_reported(loaded: Loaded) -> None:
    op = loaded.ledger.new_id()
    loaded.ledger.tried(op, "construct", [op])
    loaded.ledger.done(op, id="cst_none")
    assert f"LOST {op} (construct, done): was acknowledged, and ['{op}'] are not there" in loaded.problems()


def test_refused_and_unknown_operations_in_the_store_are_reported(loaded: Loaded) -> None:
    op = loaded.ledger.new_id()
    loaded.ledger.tried(op, "construct", [op])
    loaded.ledger.refused(op, "VERSION_MISMATCH")
    with loaded.connect() as store:
        store.constructs.create(name=op)
        store.constructs.create(name="uninvited")
    problems = loaded.problems()
    assert "was refused, and is there" in problems
    assert "uninvited is there at revisions" in problems


def test_file_that_no_row_names_is_reported(loaded: Loaded) -> None:
    first, stray = (loaded.directory / "store" / "blobs" / "tmp" / name for name in ("first", "left"))
    first.touch()
    with loaded.connect() as store:
        assert eventually(lambda: not first.exists())  # the store is a copy, so its first start deletes such files
        stray.touch()
        assert stray_files(store, loaded.directory / "store") == ["blobs/tmp/left is a file that no row names"]
