from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3.dbapi2 as sqlite

from holdfastd.errors import Cancelled, DataLoss, DeadlineExceeded, DiskFull, Exhausted, Stopping
from holdfastd.model.call import Call, Peer
from holdfastd.store.engine import Constraint
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.database import CACHED_STATEMENTS, Database
from holdfastd.store.sqlite.errors import Error, foreign_errors
from holdfastd.store.sqlite.readers import Readers

ENDLESS = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "odd ?#% name.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Connection]:
    with closing(Database(path).open_writer()) as connection:
        connection.execute("CREATE TABLE t (a BIGINT PRIMARY KEY CHECK (a < 100))")
        yield connection


@pytest.fixture
def readers(path: Path, writer: Connection) -> Iterator[Readers]:
    pool = Database(path).open_readers(2, patience_s=0.2)
    yield pool
    pool.close(0.1)


def test_the_writer_has_the_pragmas_of_the_design(writer: Connection) -> None:
    expected = {
        "foreign_keys": 1,
        "journal_mode": "wal",
        "synchronous": 2,
        "auto_vacuum": 2,
        "wal_autocheckpoint": 0,
        "trusted_schema": 0,
    }
    assert {name: writer.execute(f"PRAGMA {name}").fetchone()[0] for name in expected} == expected


def test_every_connection_keeps_its_statements(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    connect = sqlite.connect

    def noted(*given: Any, **options: Any) -> Connection:
        kept.append(options.get("cached_statements"))
        return connect(*given, **options)

    monkeypatch.setattr(sqlite, "connect", noted)
    for open_one in (Database(path).open_writer, Database(path).open_reader):
        open_one().close()
    assert kept == [CACHED_STATEMENTS] * 2
    assert CACHED_STATEMENTS > 128, "the cache must be larger than sqlite3's default of 128"


def test_a_reader_cannot_write(path: Path, writer: Connection) -> None:
    with closing(Database(path).open_reader()) as reader, pytest.raises(Error):
        reader.execute("INSERT INTO t VALUES (1)")


def test_a_snapshot_does_not_see_later_commits(readers: Readers, writer: Connection) -> None:
    with readers.snapshot(Call()) as reader:
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
        writer.execute("INSERT INTO t VALUES (1)")
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
    with readers.snapshot(Call()) as reader:
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_a_read_whose_caller_goes_is_interrupted(readers: Readers) -> None:
    call = Call()
    threading.Timer(0.1, call.end).start()
    began = time.monotonic()
    with pytest.raises(Cancelled), readers.snapshot(call) as reader:
        reader.execute(ENDLESS).fetchall()
    assert time.monotonic() - began < 0.3


def test_a_read_past_its_deadline_is_interrupted(readers: Readers) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded), readers.snapshot(Call(0.1)) as reader:
        reader.execute(ENDLESS).fetchall()
    assert time.monotonic() - began < 0.3


def test_an_interrupt_between_two_statements_is_not_lost(readers: Readers) -> None:
    call = Call()

    def read() -> None:
        with readers.snapshot(call) as reader:
            reader.execute("SELECT 1").fetchall()
            call.end()
            reader.execute(ENDLESS).fetchall()

    with pytest.raises(Cancelled):
        read()


def test_only_the_callers_own_read_is_interrupted(readers: Readers) -> None:
    """Each call ends just after its read; a late interrupt would hit the next user of the connection."""
    failures: list[BaseException] = []

    def work() -> None:
        for _ in range(200):
            call = Call()
            ending = threading.Thread(target=call.end)
            try:
                with readers.snapshot(call) as reader:
                    reader.execute("SELECT count(*) FROM t").fetchall()
                    ending.start()
            except Cancelled:
                pass
            except BaseException as error:
                failures.append(error)
            with readers.snapshot(Call()) as reader:
                try:
                    reader.execute(
                        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 999) SELECT x FROM n"
                    ).fetchall()
                except BaseException as error:
                    failures.append(error)
            ending.join()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []


def test_an_open_cursor_does_not_spoil_the_connection(readers: Readers) -> None:
    def read() -> None:
        call = Call()
        with readers.snapshot(call) as reader:
            cursor = reader.execute("WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n")
            cursor.fetchone()
            call.end()
            reader.execute(ENDLESS).fetchall()

    for _ in range(3):
        with pytest.raises(Cancelled):
            read()
        with readers.snapshot(Call()) as reader:
            assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_waiting_for_a_connection_is_bounded(readers: Readers) -> None:
    with readers.snapshot(Call()), readers.snapshot(Call(peer=Peer("other", 1, 1, 1))):
        with pytest.raises(Exhausted) as caught, readers.snapshot(Call()):
            pass
        assert (caught.value.reason, caught.value.retry_delay_s) == ("READERS_BUSY", 0.5)
        with pytest.raises(DeadlineExceeded), readers.snapshot(Call(0.05)):
            pass
        gone = Call()
        threading.Timer(0.05, gone.end).start()
        with pytest.raises(Cancelled), readers.snapshot(gone):
            pass


def test_a_stream_of_snapshots_registers_with_its_call_once(readers: Readers) -> None:
    call = Call()
    for _ in range(5):
        with readers.snapshot(call):
            pass
    assert len(call._callbacks) == 1


def test_a_closed_pool_waits_for_its_users_and_lends_no_more(path: Path, writer: Connection) -> None:
    pool = Database(path).open_readers(1)
    inside, leave = threading.Event(), threading.Event()

    def use() -> None:
        with pool.snapshot(Call()):
            inside.set()
            leave.wait()

    user = threading.Thread(target=use)
    user.start()
    inside.wait()
    threading.Timer(0.1, leave.set).start()
    pool.close()
    assert leave.is_set()
    user.join()
    with pytest.raises(Stopping), pool.snapshot(Call()):
        pass


def test_a_full_disk_is_said_by_its_code(writer: Connection) -> None:
    writer.execute("PRAGMA max_page_count = 10")
    writer.execute("CREATE TABLE big (a BLOB)")
    with pytest.raises(DiskFull), foreign_errors():
        writer.execute("INSERT INTO big VALUES (zeroblob(1000000))")


def test_a_file_that_is_no_database_is_data_loss(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"hello " * 1000)
    with pytest.raises(DataLoss):
        Database(tmp_path / "x.db").open_writer()


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        ("INSERT INTO pair VALUES (1, 1, 9, 1)", ("a", "b")),
        ("INSERT INTO pair VALUES (9, 9, 1, 1)", ("c",)),
        ("UPDATE pair SET c = 1 WHERE a = 2", ("c",)),
        ("INSERT INTO pair VALUES (9, 9, 100, 1)", ()),
        ("INSERT INTO pair VALUES (9, 9, NULL, 1)", ()),
        ("INSERT INTO pair VALUES (9, 9, 9, 99)", ()),
    ],
    ids=["primary key", "unique", "unique, by an update", "check", "not null", "foreign key"],
)
def test_a_refusal_names_the_columns_of_a_unique_constraint(writer: Connection, statement: str, columns: tuple[str, ...]) -> None:
    writer.execute("INSERT INTO t VALUES (1)")
    writer.execute(
        "CREATE TABLE pair (a BIGINT, b BIGINT, c BIGINT NOT NULL UNIQUE CHECK (c < 100), d BIGINT REFERENCES t (a),"
        " PRIMARY KEY (a, b))"
    )
    writer.execute("INSERT INTO pair VALUES (1, 1, 1, 1), (2, 2, 2, 1)")
    with pytest.raises(writer.Error) as caught, foreign_errors():
        writer.execute(statement)
    assert writer.engine.refusal(caught.value) == Constraint(columns)


def test_another_error_is_no_refusal(writer: Connection) -> None:
    with pytest.raises(writer.Error) as caught, foreign_errors():
        writer.execute("SELECT nothing")
    assert writer.engine.refusal(caught.value) is None
