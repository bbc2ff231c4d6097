from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfastd import ground, path_lock
from holdfastd.errors import StoreReplaced
from holdfastd.ground import Ground
from holdfastd.model.blobs import PutHeader
from holdfastd.model.call import Call
from holdfastd.path_lock import PathLock
from tests.support.engine import Engine, insert_task


class Held:
    """A directory with a file, held; the reasons with which it was lost."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "store" / "file"
        self.file.parent.mkdir()
        self.file.touch()
        self.written = ""
        self.reasons: list[str] = []
        self.ground = Ground([self.file.parent, self.file], lambda: self.written, self.reasons.append)

    def settle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Waits until an unchanged change time counts."""
        monkeypatch.setattr(ground, "SETTLED_NS", 20_000_000)
        time.sleep(0.05)
        self.ground.check()


@pytest.fixture
def held(tmp_path: Path) -> Held:
    return Held(tmp_path)


def test_other_files_of_the_directory_may_change(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    held.ground.check()
    held.settle(monkeypatch)
    held.file.with_name("other").touch()
    held.file.write_text("written by the daemon itself")
    held.ground.check()
    assert held.reasons == []


@pytest.mark.parametrize("settled", [True, False])
def test_a_removed_file_is_noticed(held: Held, monkeypatch: pytest.MonkeyPatch, settled: bool) -> None:
    if settled:
        held.settle(monkeypatch)
    held.file.unlink()
    with pytest.raises(StoreReplaced, match=r"store/file was removed"):
        held.ground.check()
    assert held.reasons == [f"{held.file} was removed"]


@pytest.mark.parametrize("settled", [True, False])
def test_a_replaced_file_is_noticed(held: Held, monkeypatch: pytest.MonkeyPatch, settled: bool) -> None:
    if settled:
        held.settle(monkeypatch)
    other = held.file.with_name("other")
    other.touch()
    other.rename(held.file)
    with pytest.raises(StoreReplaced, match=r"store/file was replaced"):
        held.ground.check()


def test_a_change_within_the_resolution_of_the_clock_is_noticed(held: Held) -> None:
    """A file system may give two changes the same time; a time that is not old yet says nothing."""
    held.ground.check()
    before = os.stat(held.file.parent)
    other = held.file.with_name("other")
    other.touch()
    other.rename(held.file)
    os.utime(held.file.parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(StoreReplaced):
        held.ground.check()


def test_a_replaced_file_is_noticed_when_the_time_of_its_directory_was_restored(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `cp -a --remove-destination backup/. data` and `tar -xp` do it."""
    before = os.stat(held.file.parent)
    held.settle(monkeypatch)
    other = held.file.with_name("other")
    other.touch()
    other.rename(held.file)
    os.utime(held.file.parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(StoreReplaced, match=r"store/file was replaced"):
        held.ground.check()


def test_a_held_directory_that_was_made_anew_is_noticed(tmp_path: Path) -> None:
    """A file system may give the number of a removed inode to the next directory, unless something holds it."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    held, first = Ground([tmp_path, blobs], str, lambda reason: None), blobs.stat().st_ino
    for _ in range(20):
        blobs.rmdir()
        blobs.mkdir()
        if blobs.stat().st_ino == first:
            break
    with pytest.raises(StoreReplaced, match="blobs was replaced"):
        held.check()


def test_a_replaced_directory_is_noticed(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    held.settle(monkeypatch)
    held.file.parent.rename(held.file.parent.with_name("old"))
    with pytest.raises(StoreReplaced, match=r"store was removed"):
        held.ground.check()


def test_it_stays_lost_and_is_told_once(held: Held) -> None:
    held.written = "another process wrote to it"
    for _ in range(2):
        with pytest.raises(StoreReplaced, match="another process wrote to it"):
            held.ground.check()
        held.written = ""
    assert held.reasons == ["another process wrote to it"]


def test_a_batch_in_a_replaced_store_fails_for_all_and_no_later_one_begins(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    engine = Engine(tmp_path / "store")
    try:
        engine.submit(insert_task("A"))
        published = len(engine.published)
        (tmp_path / "store").rename(tmp_path / "old")
        for id in ("B", "C"):
            with pytest.raises(StoreReplaced):
                engine.submit(insert_task(id))
        assert len(engine.published) == published
        assert engine.query("SELECT id FROM task WHERE id = 'C'") == []
        assert engine.batcher.revision == 1
    finally:
        (tmp_path / "old").rename(tmp_path / "store")
        with pytest.raises(StoreReplaced):  # the last checkpoint
            engine.close()


def test_the_first_batch_after_a_checkpoint_finds_the_store_replaced(tmp_path: Path) -> None:
    """It looks at the header of the database file, which is gone."""
    (tmp_path / "store").mkdir()
    engine = Engine(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "old")
    try:
        for id in ("A", "B"):
            with pytest.raises(StoreReplaced, match="store was removed"):
                engine.submit(insert_task(id))
    finally:
        (tmp_path / "old").rename(tmp_path / "store")
        with pytest.raises(StoreReplaced):
            engine.close()


def test_a_read_of_an_overwritten_database_is_no_damage(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.submit(insert_task("A"))
    engine.parts.scheduler.run("checkpoint", Call(30.0))
    database = tmp_path / "holdfast.db"
    whole = database.read_bytes()
    database.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    with pytest.raises(StoreReplaced, match="another process wrote to"), engine.readers.snapshot(Call()) as connection:
        connection.execute("SELECT count(*) FROM task JOIN commits").fetchall()
    with pytest.raises(StoreReplaced):
        engine.close()


def test_nothing_is_removed_from_the_directory_of_another_store(tmp_path: Path) -> None:
    """A sweep or `recover` that still runs may have paths of files that the other store names."""
    (tmp_path / "store").mkdir()
    engine = Engine(tmp_path / "store")
    upload = engine.parts.blobs.begin(PutHeader(), Call())
    upload.feed(CONTENT)
    upload.finish(Call())
    [path] = (tmp_path / "store").glob("blobs/??/*")
    (tmp_path / "store").rename(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "store")
    with pytest.raises(StoreReplaced):
        engine.parts.blobs._files.unlink(str(path.relative_to(tmp_path / "store")))
    assert path.exists()
    with pytest.raises(StoreReplaced):
        engine.close()


CONTENT = os.urandom(100_000)


@pytest.mark.parametrize("begun", [False, True], ids=["before the first byte", "before the end"])
def test_an_upload_into_a_removed_store_is_refused_as_such(tmp_path: Path, begun: bool) -> None:
    (tmp_path / "store").mkdir()
    engine = Engine(tmp_path / "store")
    try:
        first = engine.parts.blobs.begin(PutHeader(), Call())
        first.feed(CONTENT[:-1])
        stored = first.finish(Call()).digest
        upload = engine.parts.blobs.begin(PutHeader(), Call())
        if begun:
            upload.feed(CONTENT)
        (tmp_path / "store").rename(tmp_path / "old")
        with pytest.raises(StoreReplaced, match="files were replaced"):
            upload.feed(CONTENT if not begun else b"")
            upload.finish(Call())
        upload.abort()
        with pytest.raises(StoreReplaced):
            list(engine.parts.blobs.read(stored, 0, 0, Call()).chunks)
    finally:
        (tmp_path / "old").rename(tmp_path / "store")
        with pytest.raises(StoreReplaced):
            engine.close()


def test_an_upload_whose_directory_alone_was_removed_is_refused(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    (tmp_path / "blobs" / "tmp").rmdir()
    upload = engine.parts.blobs.begin(PutHeader(), Call())
    with pytest.raises(StoreReplaced, match=r"blobs/tmp/\w+ was removed while the daemon ran"):
        upload.feed(CONTENT)
        upload.finish(Call())
    upload.abort()
    engine.close()


def test_no_checkpoint_runs_into_a_database_that_another_process_wrote(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.submit(insert_task("A"))
    database = tmp_path / "holdfast.db"
    content = database.read_bytes()
    database.write_bytes(content)
    with pytest.raises(StoreReplaced, match="another process wrote to"):
        engine.parts.scheduler.run("checkpoint", Call(30.0))
    assert database.read_bytes() == content
    with pytest.raises(StoreReplaced):
        engine.close()


def test_its_own_checkpoints_are_no_foreign_writes(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    for id in ("A", "B"):
        engine.submit(insert_task(id))
        engine.parts.scheduler.run("checkpoint", Call(30.0))
        engine.parts.ground.check()
    engine.close()


def test_a_path_is_locked_for_one_daemon(tmp_path: Path) -> None:
    first, second = PathLock(tmp_path / "store"), PathLock(tmp_path / "store")
    assert first.acquire() == 0
    assert second.acquire(patience_s=0.1) == os.getpid()
    other = PathLock(tmp_path / "other")
    assert other.acquire() == 0
    other.release()
    first.release()
    assert second.acquire(patience_s=0.1) == 0
    second.release()


def test_connections_to_the_lock_of_a_path_do_not_open_it(tmp_path: Path) -> None:
    """Any user can connect to it until its queue is full."""
    first, second = PathLock(tmp_path / "store"), PathLock(tmp_path / "store")
    assert first.acquire() == 0
    assert first._socket is not None
    with ExitStack() as exits:
        with contextlib.suppress(BlockingIOError):
            for _ in range(10_000):
                probe = exits.enter_context(socket.socket(socket.AF_UNIX))
                probe.setblocking(False)
                probe.connect(first._socket.getsockname())
        assert second.acquire(patience_s=0.1) == os.getpid()
    first.release()
    assert second.acquire(patience_s=0.1) == 0
    second.release()


def test_another_users_lock_of_a_path_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the name, and a full queue, so that the kernel does not say who it is."""
    first, second = PathLock(tmp_path / "store"), PathLock(tmp_path / "store")
    assert first.acquire() == 0
    monkeypatch.setattr(path_lock, "_holder_of", lambda name: (0, os.geteuid()))
    assert second.acquire(patience_s=0.1) == 0
    second.release()
    first.release()
