"""The data directory is replaced, removed or overwritten while a daemon serves it: nothing is acknowledged from then on."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from holdfast.v1 import blob_service_pb2, store_service_pb2
from holdfastd.daemon import EXIT_STORE_REPLACED
from tests.end_to_end.daemons import DaemonProcess, Directory, eventually
from tests.support.api import Api, insert, refusal_of

pytestmark = pytest.mark.slow  # processes of its own


@pytest.fixture
def backup(directory: Directory) -> Path:
    """A copy of a stopped store with the session S and one entry."""
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        api.commit(insert("session", id="S"))
        api.append("S", "in the backup")
        api.put(os.urandom(100_000))
    assert daemon.end() == 0
    target = directory.path / "backup"
    shutil.copytree(daemon.data_dir, target)
    return target


def put_back(backup: Path, data_dir: Path) -> None:
    """As `rm -rf data; cp -a backup data`."""
    shutil.rmtree(data_dir)
    shutil.copytree(backup, data_dir)


def rename_over(backup: Path, data_dir: Path) -> None:
    """As `mv data old; mv copy data`."""
    copy = data_dir.with_name("copy")
    shutil.copytree(backup, copy)
    data_dir.rename(data_dir.with_name("old"))
    copy.rename(data_dir)


def remove(backup: Path, data_dir: Path) -> None:
    shutil.rmtree(data_dir)


def replace_database(backup: Path, data_dir: Path) -> None:
    """As rsync does it: a new file takes the place of the old one."""
    shutil.copy2(backup / "holdfast.db", data_dir / "new")
    (data_dir / "new").rename(data_dir / "holdfast.db")


def replace_blobs(backup: Path, data_dir: Path) -> None:
    (data_dir / "blobs").rename(data_dir / "old-blobs")
    shutil.copytree(backup / "blobs", data_dir / "blobs")


def replace_log(backup: Path, data_dir: Path) -> None:
    (data_dir / "holdfast.db-wal").unlink()
    (data_dir / "holdfast.db-wal").touch()


def overwrite_database(backup: Path, data_dir: Path) -> None:
    """As `cp backup/holdfast.db data/`: the file stays the same, only its content is another."""
    shutil.copyfile(backup / "holdfast.db", data_dir / "holdfast.db")


CHANGES = [put_back, rename_over, remove, replace_database, replace_blobs, replace_log, overwrite_database]
Change = Callable[[Path, Path], None]


@pytest.mark.parametrize("change", CHANGES)
def test_calls_at_that_moment_are_told_why(directory: Directory, backup: Path, change: Change) -> None:
    """A commit, a stream, and a call afterwards. The first batch after a checkpoint looks at the database file, which is gone."""
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        api.append("S", "after the backup")
        api.run_job("checkpoint")
        following = api.store.Watch(store_service_pb2.StoreServiceWatchRequest(workspace=""), timeout=10.0)
        change(backup, daemon.data_dir)
        for call in (lambda: api.append("S", "lost"), lambda: list(following), lambda: api.append("S", "lost too")):
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert refusal_of(refused.value).reason == "STORE_REPLACED"
    assert daemon.wait(5.0) == EXIT_STORE_REPLACED, daemon.log()
    assert "event=call_failed" not in daemon.log()


class Load:
    """Threads that append to S until the daemon is gone. `acknowledged` has the start of each call and the entry's content."""

    def __init__(self, socket: Path) -> None:
        self.acknowledged: list[tuple[float, str]] = []
        self._threads = [threading.Thread(target=self._append, args=(socket, number)) for number in range(4)]
        for each in self._threads:
            each.start()

    def _append(self, socket: Path, number: int) -> None:
        with Api(socket, "") as api:
            for count in range(1_000_000):
                content = f"{number}.{count}"
                began = time.monotonic()
                try:
                    api.append("S", content)
                except grpc.RpcError:
                    return
                self.acknowledged.append((began, content))

    def join(self) -> None:
        for each in self._threads:
            each.join(30.0)
            assert not each.is_alive()


@pytest.mark.parametrize("change", CHANGES)
def test_under_load_nothing_is_acknowledged_after_it(directory: Directory, backup: Path, change: Change) -> None:
    daemon = directory.serve()
    load = Load(daemon.socket)
    assert eventually(lambda: len(load.acknowledged) > 10)
    time.sleep(random.uniform(0.0, 1.0))
    change(backup, daemon.data_dir)
    changed = time.monotonic()
    assert daemon.wait(5.0) == EXIT_STORE_REPLACED, daemon.log()
    load.join()
    # Calls that began after the change are acknowledged into files that are gone.
    assert [content for began, content in load.acknowledged if began > changed] == []
    assert "event=store_replaced" in daemon.log()


@pytest.mark.parametrize("change", CHANGES)
def test_an_idle_daemon_notices_within_a_second(directory: Directory, backup: Path, change: Change) -> None:
    daemon = directory.serve()
    change(backup, daemon.data_dir)
    began = time.monotonic()
    assert daemon.wait(5.0) == EXIT_STORE_REPLACED, daemon.log()
    assert time.monotonic() - began < 1.5
    assert "event=store_replaced" in daemon.log()
    assert "Nothing was acknowledged since. Put the directory back, or start the daemon again" in daemon.log()
    assert "if the files there do not belong together, it refuses to start and says what to do" in daemon.log()


@pytest.mark.parametrize("change", [remove, put_back, rename_over, replace_blobs])
def test_an_upload_and_a_download_at_that_moment_are_told_to_connect_again(
    directory: Directory, backup: Path, change: Change
) -> None:
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        wanted = blob_service_pb2.BlobServiceGetRequest(digest=api.put(os.urandom(100_000)).digest)
        change(backup, daemon.data_dir)
        for call in (lambda: api.put(os.urandom(100_000)), lambda: list(api.blob.Get(wanted))):
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert daemon.wait(5.0) == EXIT_STORE_REPLACED, daemon.log()
    assert "event=call_failed" not in daemon.log()


@pytest.mark.parametrize("change", [put_back, rename_over, overwrite_database])
def test_what_was_put_there_is_served_unchanged(directory: Directory, backup: Path, change: Change) -> None:
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        api.append("S", "after the backup")
    change(backup, daemon.data_dir)
    daemon.process.send_signal(signal.SIGTERM)  # the end is not orderly either
    assert daemon.wait(15.0) == EXIT_STORE_REPLACED, daemon.log()
    for name in ("holdfast.db", *(["daemon.json"] if change is not overwrite_database else [])):
        assert (daemon.data_dir / name).read_bytes() == (backup / name).read_bytes()


def test_the_store_that_was_put_there_opens(directory: Directory, backup: Path) -> None:
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        api.append("S", "after the backup")
    put_back(backup, daemon.data_dir)
    assert daemon.wait(5.0) == EXIT_STORE_REPLACED
    again = directory.serve()
    with Api(again.socket, "") as api:
        assert [each.transcript.content for each in api.entries("S")] == ["in the backup"]
        assert api.problems() == []
    assert again.end() == 0, again.log()


@pytest.fixture
def frozen(directory: Directory) -> DaemonProcess:
    """A daemon that cannot notice anything until it gets SIGCONT."""
    daemon = directory.serve()
    daemon.process.send_signal(signal.SIGSTOP)
    return daemon


def test_no_second_daemon_starts_while_the_first_lives(directory: Directory, frozen: DaemonProcess) -> None:
    frozen.data_dir.rename(frozen.data_dir.with_name("old"))
    log = directory.refused("store", "run/other.sock")
    assert f"pid {frozen.process.pid}" in log
    frozen.process.send_signal(signal.SIGCONT)
    assert frozen.wait(5.0) == EXIT_STORE_REPLACED
    directory.serve("store", "run/other.sock")


def test_a_second_daemon_waits_for_the_end_of_the_first(directory: Directory) -> None:
    daemon = directory.serve()
    daemon.data_dir.rename(daemon.data_dir.with_name("old"))
    directory.serve("store", "run/other.sock")
    assert daemon.process.poll() == EXIT_STORE_REPLACED


def test_the_end_leaves_the_socket_of_a_new_daemon(directory: Directory, frozen: DaemonProcess) -> None:
    """Another daemon, on another host's view of the path, may have bound the socket meanwhile."""
    frozen.socket.unlink()
    frozen.socket.touch()
    frozen.data_dir.rename(frozen.data_dir.with_name("old"))
    frozen.process.send_signal(signal.SIGCONT)
    assert frozen.wait(5.0) == EXIT_STORE_REPLACED
    assert frozen.socket.exists()


def test_a_deleted_daemon_json_alone_ends_nothing(directory: Directory) -> None:
    daemon = directory.serve()
    (daemon.data_dir / "daemon.json").unlink()
    with Api(daemon.socket, "") as api:
        api.commit(insert("session", id="S"))
    assert eventually(lambda: (daemon.data_dir / "daemon.json").exists())
    assert daemon.end() == 0, daemon.log()
