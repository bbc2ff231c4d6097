"""Database, log and blobs of different stores under one name: refused with what to do, and moved away by `--begin-anew`."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from holdfast.v1 import admin_service_pb2
from holdfastd.errors import SetupError
from holdfastd.foreign import StoreFiles
from holdfastd.settings import load_settings
from tests.end_to_end.daemons import DaemonProcess, Directory, run
from tests.support.api import Api, insert

pytestmark = pytest.mark.slow  # processes of its own

FILE_BYTES = 100_000  # more than is kept in the database


def fill(daemon: DaemonProcess) -> str:
    """Stores a session and a blob file. Returns the blob's digest."""
    with Api(daemon.socket, "") as api:
        api.commit(insert("session", id="S"))
        return str(api.put(os.urandom(FILE_BYTES)).digest)


def blob_files(directory: Path) -> list[Path]:
    return [path for path in directory.glob("**/blobs/??/*") if path.is_file()]


@pytest.fixture
def store(directory: Directory) -> Path:
    """The data directory of a stopped store with a blob file."""
    daemon = directory.serve()
    fill(daemon)
    assert daemon.end() == 0
    return daemon.data_dir


@pytest.fixture
def other(directory: Directory) -> Path:
    """The data directory of another stopped store."""
    daemon = directory.serve("other", "run/o.sock")
    with Api(daemon.socket, "") as api:
        api.commit(insert("session", id="OTHER"))
    assert daemon.end() == 0
    return daemon.data_dir


def store_id(data_dir: Path) -> str:
    return (data_dir / "blobs" / "store_id").read_text().strip()


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("left", ["nothing", "empty file", "database without a store"])
def test_a_missing_database_beside_blobs_is_refused(directory: Directory, store: Path, left: str, marked: bool) -> None:
    database = store / "holdfast.db"
    database.unlink()
    if left == "empty file":
        database.touch()
    elif left == "database without a store":
        import sqlite3

        sqlite3.connect(database).execute("PRAGMA user_version = 1").connection.close()
    if not marked:
        (store / "blobs" / "store_id").unlink()
        (store / "daemon.json").unlink()
    log = directory.refused()
    assert "reason=SETUP" in log
    assert "missing or empty" in log
    assert "holdfastd --begin-anew" in log
    assert len(blob_files(store)) == 1
    assert database.exists() == (left != "nothing")


@pytest.mark.parametrize("flags", [[], ["--begin-anew"]])
@pytest.mark.parametrize("left", ["dangling link", "directory"])
def test_a_database_path_that_cannot_be_opened_is_never_begun_anew(
    directory: Directory, store: Path, left: str, flags: list[str]
) -> None:
    database, elsewhere = store / "holdfast.db", directory.path / "disk"
    database.rename(elsewhere)
    if left == "directory":
        database.mkdir()
    else:
        database.symlink_to(elsewhere)
        elsewhere.rename(directory.path / "unmounted")
    log = directory.refused("store", "run/s.sock", *flags)
    assert "reason=SETUP" in log
    expected = f"symbolic link to {elsewhere}, which does not exist" if left == "dangling link" else "is a directory"
    assert expected in log
    assert "begin-anew" not in log
    assert len(blob_files(store)) == 1
    assert elsewhere.exists() == (left == "directory")
    assert not (store / "quarantine").exists()


@pytest.mark.parametrize("marks", ["both marks", "no daemon.json", "no marks"])
@pytest.mark.parametrize("damage", ["header", "first page"])
def test_a_damaged_database_is_named_and_nothing_is_moved(directory: Directory, store: Path, damage: str, marks: str) -> None:
    database = store / "holdfast.db"
    with database.open("r+b") as file:
        file.seek(0 if damage == "header" else 100)
        file.write(b"\xff" * 90)
    if marks != "both marks":
        (store / "daemon.json").unlink()
    if marks == "no marks":
        (store / "blobs" / "store_id").unlink()
    for flags in ([], ["--begin-anew"]):
        log = directory.refused("store", "run/s.sock", *flags)
        assert f"{database} is damaged or is not a database. Restore a backup; or move the file away" in log
        assert "reason=DATABASE_DAMAGED" in log
        assert "verify" not in log
        assert len(blob_files(store)) == 1
    migration = run("migrate", "--data-dir", str(store), "--socket", str(directory.path / "run/s.sock"))
    assert f"{database} is damaged" in migration.stderr
    database.rename(directory.path / "damaged.db")
    directory.serve("store", "run/s.sock", "--begin-anew")


@pytest.mark.parametrize("evidence", ["store_id", "daemon.json"])
def test_a_database_of_another_store_beside_blobs_is_refused(
    directory: Directory, store: Path, other: Path, evidence: str
) -> None:
    shutil.copy(other / "holdfast.db", store / "holdfast.db")
    if evidence == "daemon.json":
        (store / "blobs" / "store_id").unlink()
    log = directory.refused()
    assert f"is the store {store_id(other)}" in log
    assert "holdfastd --begin-anew" in log


@pytest.mark.parametrize("killed", [True, False])
def test_begin_anew_moves_the_blobs_and_starts(directory: Directory, store: Path, killed: bool) -> None:
    content = blob_files(store)[0].read_bytes()
    (store / "holdfast.db").unlink()
    old_id = store_id(store)
    if killed:
        daemon = directory.start("store", "run/s.sock", "--begin-anew", HOLDFAST_FAILPOINTS="begin_anew.moved=kill")
        assert daemon.wait(15.0) == -signal.SIGKILL
    daemon = directory.serve("store", "run/s.sock", "--begin-anew")
    [moved] = blob_files(store)
    assert moved.is_relative_to(store / "quarantine")
    assert moved.read_bytes() == content
    assert store_id(store) != old_id
    fill(daemon)
    assert daemon.end() == 0
    again = directory.serve("store", "run/s.sock", "--begin-anew")  # nothing is foreign any more
    assert len(list((store / "quarantine").iterdir())) == 1
    with Api(again.socket, "") as api:
        assert [each.session.id for each in api.list("session").records] == ["S"]
        assert api.problems() == []


def test_begin_anew_keeps_the_database_of_another_store(directory: Directory, store: Path, other: Path) -> None:
    shutil.copy(other / "holdfast.db", store / "holdfast.db")
    daemon = directory.serve("store", "run/s.sock", "--begin-anew")
    with Api(daemon.socket, "") as api:
        assert api.list("session").records[0].session.id == "OTHER"
    assert store_id(store) == store_id(other)
    assert len(blob_files(store / "quarantine")) == 1


@pytest.mark.parametrize("left", ["nothing", "empty file"])
@pytest.mark.parametrize("evidence", ["store_id", "daemon.json"])
def test_a_missing_database_of_a_store_without_blob_files_is_refused(
    directory: Directory, other: Path, left: str, evidence: str
) -> None:
    old_id = store_id(other)
    (other / "holdfast.db").unlink()
    if left == "empty file":
        (other / "holdfast.db").touch()
    (other / ("daemon.json" if evidence == "store_id" else "blobs/store_id")).unlink()
    log = directory.refused("other", "run/o.sock")
    assert "reason=SETUP" in log
    assert f"missing or empty, but {other} belongs to the store {old_id}" in log
    assert "holdfastd --begin-anew, which begins a new store" in log
    assert (other / "holdfast.db").exists() == (left == "empty file")
    migration = run("migrate", "--data-dir", str(other), "--socket", str(directory.path / "run/o.sock"))
    assert migration.returncode == 1
    assert "missing or empty" in migration.stderr
    daemon = directory.serve("other", "run/o.sock", "--begin-anew")
    with Api(daemon.socket, "") as api:
        assert not api.list("session").records
        api.put(os.urandom(FILE_BYTES))
    assert daemon.end() == 0
    assert store_id(other) != old_id
    assert not (other / "quarantine").exists()
    directory.serve("other", "run/o.sock")


@pytest.mark.parametrize("left", ["nothing", "empty database", "empty card", "database before its store"])
def test_a_first_start_that_was_killed_early_starts_again(directory: Directory, left: str) -> None:
    data_dir = directory.path / "store"
    (data_dir / "blobs" / "tmp").mkdir(parents=True, mode=0o700)
    if left == "empty database":
        (data_dir / "holdfast.db").touch()
    elif left == "empty card":
        (data_dir / "daemon.json").touch()
    elif left == "database before its store":
        import sqlite3

        sqlite3.connect(data_dir / "holdfast.db").execute("PRAGMA journal_mode = WAL").connection.close()
    fill(directory.serve())


@pytest.fixture
def killed(directory: Directory) -> Path:
    """The data directory of a killed daemon, which left a log; `backup` beside it has the database from before."""
    daemon = directory.serve()
    fill(daemon)
    assert daemon.end() == 0
    shutil.copytree(daemon.data_dir, directory.path / "backup")
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        for each in range(3):
            api.commit(insert("session", id=f"later-{each}"))
            api.run_job("checkpoint")
        api.commit(insert("session", id="last"))
    daemon.end(signal.SIGKILL)
    return daemon.data_dir


def test_a_log_of_its_own_is_applied(directory: Directory, killed: Path) -> None:
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        assert api.count("session") == 5
        assert api.problems() == []


def test_a_log_that_was_removed_after_a_kill_is_told_of(directory: Directory, killed: Path) -> None:
    for each in killed.glob("holdfast.db-*"):
        each.unlink()
    daemon = directory.serve()
    assert "event=log_missing" in daemon.log()
    assert f"{killed / 'holdfast.db-wal'} is missing" in daemon.log()
    assert daemon.end() == 0
    assert "event=log_missing" not in directory.serve().log()


def test_no_log_is_missed_after_a_kill_or_a_stop_in_order(directory: Directory, killed: Path) -> None:
    daemon = directory.serve()
    assert "event=last_stop_was_unclean" in daemon.log()
    assert "event=log_missing" not in daemon.log()
    daemon.end()
    # As after a stop that left work to `recover`: in order, so the log was applied and removed.
    card = daemon.card()
    assert "pid" not in card
    (killed / "daemon.json").write_text(json.dumps({key: each for key, each in card.items() if key != "clean"}))
    (killed / "holdfast.db-wal").unlink(missing_ok=True)
    again = directory.serve()
    assert "event=last_stop_was_unclean" in again.log()
    assert "event=log_missing" not in again.log()


@pytest.mark.parametrize("change", ["backup", "another store", "missing"])
def test_a_log_of_another_database_is_refused(directory: Directory, killed: Path, other: Path, change: str) -> None:
    database, log = killed / "holdfast.db", killed / "holdfast.db-wal"
    content = log.read_bytes()
    database.unlink()
    if change != "missing":
        shutil.copy((directory.path / "backup" if change == "backup" else other) / "holdfast.db", database)
    refusal = directory.refused()
    assert "holdfast.db-wal" in refusal
    assert "holdfastd --begin-anew" in refusal
    assert log.read_bytes() == content
    daemon = directory.serve("store", "run/s.sock", "--begin-anew")
    assert [path.read_bytes() for path in killed.glob("quarantine/*/holdfast.db-wal")] == [content]
    with Api(daemon.socket, "") as api:
        found = [each.session.id for each in api.list("session").records]
        assert found == {"backup": ["S"], "another store": ["OTHER"], "missing": []}[change]
        assert api.problems() == []


def test_a_snapshot_put_in_place_of_the_database_is_not_mixed_with_its_log(directory: Directory, killed: Path) -> None:
    """A snapshot has the same rows on other pages."""
    import sqlcipher3.dbapi2 as sqlite

    from holdfastd.store.sqlite.migrate import Migration, take_snapshot

    connection = sqlite.connect(killed / "holdfast.db")
    snapshot = take_snapshot(connection, directory.path / "snapshots", Migration(7, "x", ""))
    backup = (killed / "holdfast.db-wal").read_bytes()
    connection.close()
    shutil.copy(snapshot, killed / "holdfast.db")
    (killed / "holdfast.db-wal").write_bytes(backup)
    assert "belongs to another file" in directory.refused()


def test_a_store_without_its_mark_gains_it(directory: Directory, store: Path) -> None:
    id = store_id(store)
    (store / "blobs" / "store_id").unlink()
    daemon = directory.serve()
    assert store_id(store) == id
    daemon.end()
    (store / "blobs" / "store_id").unlink()
    (store / "daemon.json").unlink()
    directory.serve()
    assert store_id(store) == id


def warnings_of(api: Api) -> list[str]:
    return list(api.admin.GetStatus(admin_service_pb2.AdminServiceGetStatusRequest()).warnings)


def test_blob_files_that_were_removed_are_told_of(directory: Directory, store: Path) -> None:
    aside = store / "aside"
    (store / "blobs").rename(aside)
    daemon = directory.serve()
    assert "event=blob_files_missing" in daemon.log()
    with Api(daemon.socket, "") as api:
        api.put(os.urandom(FILE_BYTES))
        [warning] = warnings_of(api)
        assert "blob files were missing: 1 of 1" in warning
        assert "Run verify" in warning
        assert api.problems()
        shutil.copytree(aside, store / "blobs", dirs_exist_ok=True)
        assert warnings_of(api) == []
        assert api.problems() == []
    daemon.end()
    assert "event=blob_files_missing" not in directory.serve().log()


def test_verify_counts_and_names_orphans(directory: Directory, store: Path) -> None:
    orphan = store / "blobs" / "00" / ("0" * 64 + "-aaaaaaaaaaaaaaaa.zst")
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"12345")
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        [problem] = api.problems()
        assert problem.startswith(f"blob_orphan {orphan.relative_to(store)}")
        assert "5 bytes" in problem
        api.run_job("recover")
        assert api.problems() == []
    assert not orphan.exists()


def another_file_system(path: Path) -> Path:
    """A directory on another file system: memory, or the disk of this file."""
    return next(each for each in (Path("/dev/shm"), Path(__file__).parent) if each.stat().st_dev != path.stat().st_dev)


def test_begin_anew_moves_a_log_on_the_file_system_of_the_database(tmp_path: Path) -> None:
    settings = load_settings({"data_dir": tmp_path, "socket": tmp_path / "s"}, {})
    with tempfile.TemporaryDirectory(prefix=".hf-", dir=another_file_system(tmp_path)) as elsewhere:
        settings = dataclasses.replace(settings, persist_db_path=Path(elsewhere) / "holdfast.db")
        settings.database_path.with_name("holdfast.db-wal").touch()
        settings.blobs_dir.mkdir(exist_ok=True)
        files = StoreFiles(settings, "", foreign_log=True, owner="", has_blobs=True)
        files.begin_anew()
        assert [path.name for path in Path(elsewhere).glob("quarantine/*/*")] == ["holdfast.db-wal"]
        assert [path.name for path in tmp_path.glob("quarantine/*/*")] == ["blobs"]


def test_begin_anew_moves_nothing_when_blobs_is_a_mount_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings({"data_dir": tmp_path, "socket": tmp_path / "s"}, {})
    settings.blobs_dir.mkdir()
    (tmp_path / "holdfast.db-wal").touch()
    files = StoreFiles(settings, "", foreign_log=True, owner="", has_blobs=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: path == settings.blobs_dir)
    with pytest.raises(SetupError, match="blobs is a mount point"):
        files.begin_anew()
    assert sorted(os.listdir(tmp_path)) == ["blobs", "holdfast.db-wal"]
