"""A log that another process truncated or overwrote is noticed after the next commit, and SQLite's own work never is."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfastd.errors import StoreReplaced
from holdfastd.model.call import Call
from holdfastd.store.engine import Head
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import migrate
from tests.support.engine import Engine, insert_task


class Store:
    """A guarded database with a table."""

    def __init__(self, directory: Path) -> None:
        self.path, self.log, self.index = (directory / f"holdfast.db{suffix}" for suffix in ("", "-wal", "-shm"))
        self.database = Database(self.path)
        self.writer = self.database.open_writer()
        migrate(self.writer, directory / "snapshots")
        self.writer.execute("CREATE TABLE t (x BIGINT, filler TEXT)")
        self.writer.execute("PRAGMA synchronous = OFF")
        self.database.guard(lambda: None)
        self.rows = 0

    def commit(self, rows: int = 1) -> str:
        """Commits and returns what is noticed then."""
        self.commit_unwatched(rows)
        return self.database.foreign_write()

    def commit_unwatched(self, rows: int = 1) -> None:
        self.database.begin_batch(self.writer)
        for _ in range(rows):
            self.rows += 1
            self.writer.execute("INSERT INTO t VALUES (?, ?)", (self.rows, "x" * 100))
        self.database.end_batch(self.writer, Head(0, 0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.writer.close()


def empty(store: Store, older: bytes) -> None:
    os.truncate(store.log, 0)


def cut(store: Store, older: bytes) -> None:
    os.truncate(store.log, store.log.stat().st_size // 2)


def overwrite(store: Store, older: bytes) -> None:
    store.log.write_bytes(older)


def overwrite_beginning(store: Store, older: bytes) -> None:
    with store.log.open("r+b") as file:
        file.write(older)


@pytest.mark.parametrize("change", [empty, cut, overwrite])
@pytest.mark.parametrize("commits", [1, 300])
def test_a_changed_log_is_noticed_after_the_commit(store: Store, change: Callable[[Store, bytes], None], commits: int) -> None:
    store.commit()
    older = store.log.read_bytes()
    store.commit(300)
    change(store, older)
    assert store.commit(commits) == f"another process wrote to {store.log}"


@pytest.mark.parametrize("change", [empty, cut, overwrite])
def test_a_changed_log_is_noticed_without_a_commit(store: Store, change: Callable[[Store, bytes], None]) -> None:
    store.commit()
    older = store.log.read_bytes()
    store.commit(300)
    change(store, older)
    assert store.database.foreign_write() == f"another process wrote to {store.log}"


@pytest.mark.parametrize("change", [overwrite, overwrite_beginning])
def test_a_log_from_before_a_checkpoint_is_noticed(store: Store, change: Callable[[Store, bytes], None]) -> None:
    store.commit(300)
    older = store.log.read_bytes()
    store.database._checkpointer.passive()
    store.commit()
    change(store, older)
    assert store.commit() == f"another process wrote to {store.log}"


@pytest.mark.parametrize("is_anew", [True, False], ids=["another log", "the same log"])
@pytest.mark.parametrize("lost", [1, 3])
def test_an_older_log_with_its_index_is_noticed(store: Store, is_anew: bool, lost: int) -> None:
    """As `cp -a backup/. data` writes them, where the database file did not change since the backup."""
    store.commit(10)
    if is_anew:
        store.database._checkpointer.passive()
    older, index = store.log.read_bytes(), store.index.read_bytes()
    for _ in range(lost):
        store.commit()
    store.log.write_bytes(older)
    with store.index.open("r+b") as file:
        file.write(index)
    assert store.commit() == f"another process wrote to {store.log}"


@pytest.mark.parametrize("place", [0, -4096 - 24], ids=["header", "last frame"])
def test_a_changed_header_or_last_frame_is_noticed_at_the_first_look(store: Store, place: int) -> None:
    store.commit_unwatched()
    with store.log.open("r+b") as file:
        file.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
        file.write(bytes(24))
    assert store.database.foreign_write() == f"another process wrote to {store.log}"


@pytest.mark.parametrize("seed", range(4))
def test_commits_checkpoints_and_readers_are_no_foreign_writes(store: Store, seed: int) -> None:
    dice, reading = random.Random(seed), ExitStack()
    readers = store.database.open_readers(2)
    checkpointer = store.database._checkpointer

    def roll_back() -> None:
        store.database.begin_batch(store.writer)
        store.writer.execute("INSERT INTO t SELECT x, hex(randomblob(2000)) FROM t LIMIT 3000")  # some of it reaches the log
        store.writer.execute("ROLLBACK")

    def read() -> None:
        reading.close()
        reading.enter_context(readers.snapshot(Call())).execute("SELECT count(*) FROM t").fetchone()

    def truncate() -> None:
        reading.close()
        checkpointer.truncate()

    store.writer.execute("PRAGMA cache_size = 50")
    steps = [store.commit, lambda: store.commit(300), checkpointer.passive, truncate, read, reading.close, roll_back]
    for _ in range(200):
        dice.choice(steps)()
        if dice.random() < 0.7:
            assert store.database.foreign_write() == ""
    reading.close()
    readers.close()


def test_nothing_is_acknowledged_over_a_truncated_log(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    engine = Engine(tmp_path / "store")
    engine.submit(insert_task("A"))
    content = (tmp_path / "store" / "holdfast.db").read_bytes()
    os.truncate(tmp_path / "store" / "holdfast.db-wal", 0)
    with pytest.raises(StoreReplaced, match=r"another process wrote to .*holdfast.db-wal"):
        engine.submit(insert_task("B"))
    with pytest.raises(StoreReplaced):
        engine.parts.scheduler.run("checkpoint", Call(30.0))
    assert (tmp_path / "store" / "holdfast.db").read_bytes() == content
    with pytest.raises(StoreReplaced):  # the last checkpoint
        engine.close()
