"""A refused start changes no file of the store, and `--begin-anew` keeps what it moves away. Real daemons in this process."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfastd.daemon import Daemon
from holdfastd.errors import DataLoss, SetupError
from holdfastd.migration import list_pending, migrate_store
from holdfastd.model.blobs import PutHeader
from holdfastd.model.call import Call
from holdfastd.rpc.listener import Listener
from holdfastd.settings import Settings, load_settings
from holdfastd.store.sqlite.inspection import inspect
from tests.support.engine import Engine, insert_task

DATABASES = ["backup", "earlier copy", "later copy", "smaller"]  # none is the file of the log
LOG, INDEX = "holdfast.db-wal", "holdfast.db-shm"


class Stores:
    """Stores as kills leave them, with a blob file that only the log names, and databases that are not of such a log."""

    def __init__(self, directory: Path) -> None:
        self.killed, self.other = directory / "killed", directory / "other"
        self.databases = {
            name: directory / f"{name}.db" for name in ("backup", "earlier copy", "later copy", "stopped", "smaller")
        }
        self._make(directory / "second", self.other, tasks=3)
        self._make(directory / "first", self.killed, tasks=200)

    def _make(self, data: Path, killed: Path, tasks: int) -> None:
        data.mkdir()
        engine = Engine(data)
        for number in range(tasks):
            engine.submit(insert_task(f"T{number}"))
        self.put(engine)
        engine.close()
        shutil.copy(data / "holdfast.db", self.databases["backup"])
        engine = Engine(data)  # its log has no migrations
        engine.submit(insert_task("B"))
        engine.parts.scheduler.run("checkpoint", Call(30.0))
        self._vacuum(data, "earlier copy")
        self.put(engine)
        for number in range(20):
            engine.submit(insert_task(f"C{number}"))
        shutil.copytree(data, killed)
        self._vacuum(data, "later copy")
        engine.close()
        shutil.copy(data / "holdfast.db", self.databases["stopped"])
        with closing(sqlite3.connect(data / "holdfast.db", isolation_level=None)) as connection:
            connection.execute("DROP TABLE pattern")
        self._vacuum(data, "smaller")

    @staticmethod
    def put(engine: Engine) -> None:
        upload = engine.parts.blobs.begin(PutHeader(), Call())
        upload.feed(os.urandom(100_000))
        upload.finish(Call())

    def _vacuum(self, data: Path, name: str) -> None:
        self.databases[name].unlink(missing_ok=True)
        copy = data.with_name("copy")  # the process must not close the file that the engine has open
        shutil.copytree(data, copy)
        with closing(sqlite3.connect(copy / "holdfast.db", isolation_level=None)) as connection:
            connection.execute("VACUUM INTO ?", (str(self.databases[name]),))
        shutil.rmtree(copy)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return Stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture
def settings(stores: Stores) -> Iterator[Settings]:
    """Those of a copy of `stores.killed`."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        shutil.copytree(stores.killed, f"{directory}/data")
        yield load_settings({"data_dir": f"{directory}/data", "socket": f"{directory}/s.sock", "grace_s": 2.0}, {})


def contents(data_dir: Path) -> dict[str, bytes]:
    """All files but the lock file."""
    found = [path for path in data_dir.rglob("*") if path.is_file() and path.name != "daemon.json"]
    return {str(path.relative_to(data_dir)): path.read_bytes() for path in found}


def refused(
    settings: Settings, error: type[Exception], match: str, *, but: tuple[str, ...] = (), begin_anew: bool = False
) -> None:
    """A start is refused and changes nothing, except the files in `but`."""
    before = contents(settings.data_dir)
    with pytest.raises(error, match=match):
        Daemon(settings, begin_anew=begin_anew).open()
    after = contents(settings.data_dir)
    assert [name for name in before.keys() | after.keys() if before.get(name) != after.get(name) and name not in but] == []


def blob_files(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("blobs/??/*")}


@pytest.mark.parametrize("index", ["its own", "missing"])
@pytest.mark.parametrize("name", DATABASES)
def test_a_log_beside_another_database_is_refused(stores: Stores, settings: Settings, name: str, index: str) -> None:
    """Also one that cannot be read with that log: SQLite would copy the log into it, call it damaged, and delete the log."""
    shutil.copyfile(stores.databases[name], settings.database_path)
    if index == "missing":
        (settings.data_dir / INDEX).unlink()
    refused(settings, SetupError, "belongs to another file than")
    with pytest.raises(SetupError, match="belongs to another file than"):
        list_pending(settings)
    with pytest.raises(SetupError, match="belongs to another file than"):
        migrate_store(settings)


@pytest.mark.parametrize("other", ["killed", "other"])
def test_another_log_beside_the_database_is_refused(stores: Stores, settings: Settings, other: str) -> None:
    if other == "killed":
        shutil.copyfile(stores.other / LOG, settings.data_dir / LOG)
    else:
        shutil.copyfile(stores.other / "holdfast.db", settings.database_path)
    refused(settings, SetupError, "belongs to another file than")


@pytest.mark.parametrize("begin_anew", [False, True])
@pytest.mark.parametrize("offset", [0, 100])
def test_a_damaged_database_keeps_its_log(settings: Settings, offset: int, begin_anew: bool) -> None:
    log = (settings.data_dir / LOG).read_bytes()
    with closing(sqlite3.connect(settings.database_path)) as connection:
        connection.execute("PRAGMA wal_checkpoint")
    (settings.data_dir / LOG).write_bytes(log)
    # Damages the first page in the file, and cuts the log to a part without it.
    with settings.database_path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 60)
    os.truncate(settings.data_dir / LOG, 32 + 24)
    refused(settings, DataLoss, "is damaged or is not a database.* the log may have the newest commits", begin_anew=begin_anew)


def _of_a_newer_version(settings: Settings) -> None:
    with closing(sqlite3.connect(settings.database_path)) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'later', 'x', 0)")
        connection.commit()
        shutil.copytree(settings.data_dir, settings.data_dir.with_name("copy"))
    shutil.rmtree(settings.data_dir)
    settings.data_dir.with_name("copy").rename(settings.data_dir)


def _of_another_program(settings: Settings) -> None:
    for path in settings.data_dir.glob("holdfast.db*"):
        path.unlink()
    with closing(sqlite3.connect(settings.database_path)) as connection:
        connection.execute("CREATE TABLE note (x)")


@pytest.mark.parametrize(
    ("make", "match"), [(_of_a_newer_version, "a newer one made it"), (_of_another_program, "no Holdfast store: it holds 'note'")]
)
def test_a_database_of_another_program_or_version_is_left_as_it_is(
    settings: Settings, make: Callable[[Settings], None], match: str
) -> None:
    make(settings)
    refused(settings, SetupError, match)


def test_a_start_that_fails_late_keeps_the_log(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(listener: Listener) -> None:
        raise SetupError("the socket cannot be bound")

    monkeypatch.setattr(Listener, "bind", fail)
    refused(settings, SetupError, "cannot be bound", but=(INDEX, "blobs/store_id"))


@pytest.mark.parametrize("log", ["none", "empty"])
def test_looking_at_a_stopped_store_makes_no_file(stores: Stores, settings: Settings, log: str) -> None:
    shutil.copyfile(stores.databases["stopped"], settings.database_path)
    (settings.data_dir / INDEX).unlink()
    (settings.data_dir / LOG).unlink() if log == "none" else os.truncate(settings.data_dir / LOG, 0)
    before = contents(settings.data_dir)
    assert inspect(settings.database_path).store_id
    assert contents(settings.data_dir) == before


@pytest.mark.parametrize("name", ["backup", "earlier copy"])
def test_begin_anew_keeps_the_blobs_of_the_log_that_it_moves(stores: Stores, settings: Settings, name: str) -> None:
    data, before = settings.data_dir, blob_files(settings.data_dir)
    original = data.with_name("original.db")
    shutil.copy(settings.database_path, original)
    shutil.copyfile(stores.databases[name], settings.database_path)
    daemon = Daemon(settings, begin_anew=True)
    daemon.open()
    assert daemon.scheduler.run("recover", Call())["orphan_files"] == 0
    daemon.close()
    [quarantine] = data.glob("quarantine/*")
    assert len(before) == 2
    assert len(blob_files(quarantine)) == 1
    assert blob_files(quarantine) | blob_files(data) == before
    # Putting back the old database, its log and the blobs undoes it.
    shutil.copy(original, settings.database_path)
    shutil.copytree(quarantine, data, dirs_exist_ok=True)
    daemon = Daemon(settings)
    daemon.open()
    assert daemon.scheduler.run("recover", Call())["orphan_files"] == 0
    daemon.close()
    with closing(sqlite3.connect(settings.database_path)) as connection:
        assert connection.execute("SELECT count(*) FROM blob WHERE path <> ''").fetchone() == (2,)


def test_begin_anew_that_is_killed_half_way_is_refused_until_it_is_repeated(
    stores: Stores, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(stores.databases["backup"], settings.database_path)

    class Killed(BaseException): ...

    def kill(name: str) -> None:
        if name == "begin_anew.moved_files":
            raise Killed

    monkeypatch.setattr("holdfastd.failpoints.hit", kill)
    with pytest.raises(Killed):
        Daemon(settings, begin_anew=True).open()
    monkeypatch.undo()
    assert (settings.data_dir / LOG).exists()
    refused(settings, SetupError, "belongs to another file than")
    daemon = Daemon(settings, begin_anew=True)
    daemon.open()
    daemon.close()
    assert len(list(settings.data_dir.glob("quarantine/*/blobs/??/*"))) == 1


def stopped_in_order(settings: Settings) -> Path:
    """Starts and stops a daemon, and returns a copy of the directory from before it stored a blob that the directory has now."""
    daemon = Daemon(settings)
    daemon.open()
    daemon.scheduler.run("recover", Call())
    daemon.close()
    backup = settings.data_dir.with_name("backup")
    shutil.copytree(settings.data_dir, backup)
    daemon = Daemon(settings)
    daemon.open()
    upload = daemon._parts.blobs.begin(PutHeader(), Call())
    upload.feed(os.urandom(100_000))
    upload.finish(Call())
    daemon.close()
    return backup


@pytest.mark.parametrize("what", ["all files", "the database"])
def test_blobs_of_a_database_that_a_backup_took_the_place_of_are_moved_away(
    settings: Settings, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`recover` would delete them, and without it they would stay for good. As `cp -a backup/. data`, also of the clean mark."""
    backup = stopped_in_order(settings)
    assert "not_as_stopped" not in caplog.text
    if what == "all files":
        shutil.copytree(backup, settings.data_dir, dirs_exist_ok=True)
        assert json.loads((settings.data_dir / "daemon.json").read_text())["clean"] is True
    else:
        shutil.copy2(backup / "holdfast.db", settings.database_path)
    daemon = Daemon(settings)
    daemon.open()
    assert daemon._parts.blob_sweep.needs_recovery
    assert daemon.scheduler.run("recover", Call())["orphan_files"] == 0
    daemon.close()
    assert "not_as_stopped" in caplog.text
    assert len(list(settings.data_dir.glob("quarantine/*/blobs/??/*"))) == 1
    assert blob_files(settings.data_dir) == blob_files(backup)


def test_a_stopped_store_is_as_it_was_left(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    stopped_in_order(settings)
    migrate_store(settings)
    caplog.clear()
    daemon = Daemon(settings)
    daemon.open()
    assert not daemon._parts.blob_sweep.needs_recovery
    assert "not_as_stopped" not in caplog.text
    assert "unclean" not in caplog.text
    daemon.close()
