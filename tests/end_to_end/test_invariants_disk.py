"""A disk that is really full: the test mounts a small file system and fills it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.v1 import admin_service_pb2
from tests.end_to_end.daemons import DaemonProcess, Directory, eventually
from tests.support.api import Api, Refusal, delete, insert, refusal_of, refused

pytestmark = pytest.mark.slow  # processes of its own

MIB = 2**20


class SmallDisk:
    """A file system of 24 MiB with a file of 8 MiB that can be deleted to make room."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"
        self._ballast.write_bytes(bytes(8 * MIB))

    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def give_room(self) -> None:
        self._ballast.unlink()

    def fill(self) -> None:
        """Fills all free blocks."""
        with (self.path / "filler").open("ab", buffering=0) as filler:
            try:
                while filler.write(bytes(65536)) == 65536:
                    pass
                while filler.write(bytes(512)):
                    pass
            except OSError:
                return


@pytest.fixture
def disk(directory: Directory) -> Iterator[SmallDisk]:
    path = directory.path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(path)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root; SQLITE_FULL without one is in unit/test_batch.py")
    try:
        yield SmallDisk(path)
    finally:
        for daemon in directory.daemons:
            daemon.process.kill()
            daemon.process.wait()
        subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def daemon(directory: Directory, disk: SmallDisk) -> DaemonProcess:
    return directory.serve("disk/store", "run/s.sock", "--checkpoint-interval", "1")


def append_until_refused(api: Api, contents: str) -> tuple[int, Refusal]:
    """Appends until a refusal; returns the number of acknowledged entries and the refusal."""
    for count in range(1000):
        try:
            api.append("S", contents)
        except grpc.RpcError as error:
            return count, refusal_of(error)
    raise AssertionError("the disk never filled up")


def check_disk_full(refusal: Refusal) -> None:
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
    assert any(each in refusal.message for each in ("ree space", "ree some space", "The next checkpoint"))
    assert refusal.retry_delay_s


def test_a_full_disk_refuses_writes_goes_on_reading_and_recovers(disk: SmallDisk, daemon: DaemonProcess) -> None:
    with Api(daemon.socket, "") as api:
        api.commit(insert("session", id="S"))
        acknowledged, refusal = append_until_refused(api, "x" * 300_000)
        check_disk_full(refusal)
        assert acknowledged > 3
        assert [each.number for each in api.entries("S")] == list(range(1, acknowledged + 1))
        assert api.list("session").records[0].id == "S"
        assert api.revision() == acknowledged + 1
        disk.give_room()
        assert api.append("S", "y" * 300_000).first_number == acknowledged + 1
        assert [each.revision for each in api.changes(after_revision=0)] == list(range(1, acknowledged + 3))
        assert api.problems() == []
    assert daemon.end() == 0


@pytest.mark.parametrize("entry_bytes", [10, 3_000, 40_000])
def test_to_the_last_block(disk: SmallDisk, daemon: DaemonProcess, entry_bytes: int) -> None:
    """A full disk is a refusal, whether the log or its index hits it; no acknowledged entry is lost."""
    with Api(daemon.socket, "") as api:
        api.commit(insert("session", id="S"))
        count, last = 0, None
        for step in range(600):
            if step == 20:
                disk.fill()
            try:
                api.append("S", "x" * entry_bytes)
                count += 1
            except grpc.RpcError as error:
                last = refusal_of(error)
                check_disk_full(last)
                if step > 60:
                    break
        assert last is not None
        assert daemon.process.poll() is None, daemon.log()
        assert len(api.entries("S")) == count
        disk.give_room()
        assert api.append("S", "fits").first_number == count + 1
        assert api.problems() == []
    assert daemon.end() == 0, daemon.log()


def test_blobs_that_do_not_fit_are_refused_and_leave_nothing(disk: SmallDisk, daemon: DaemonProcess) -> None:
    content = [os.urandom(MIB) for _ in range(40)]
    with Api(daemon.socket, "") as api:
        kept = api.put(os.urandom(MIB))
        free = disk.free_bytes()
        with pytest.raises(grpc.RpcError) as caught:
            api.put_stream(content)
        check_disk_full(refusal_of(caught.value))
        assert disk.free_bytes() > free - MIB
        assert blob_bytes(api, kept.digest) == MIB
        disk.give_room()
        assert api.put(b"z" * 100_000 + os.urandom(100_000)).size_bytes == 200_000
        assert api.problems() == []


def blob_bytes(api: Api, digest: str) -> int:
    from holdfast.v1 import blob_service_pb2

    frames: Any = api.blob.Get(blob_service_pb2.BlobServiceGetRequest(digest=digest), timeout=30)
    return sum(len(frame.chunk) for frame in frames)


def put_until_refused(api: Api, size_bytes: int) -> list[str]:
    """Puts blobs until a refusal; returns the digests of those that were acknowledged."""
    digests = []
    while len(digests) < 1000:
        try:
            digests.append(str(api.put(os.urandom(size_bytes)).digest))
        except grpc.RpcError as error:
            check_disk_full(refusal_of(error))
            return digests
    raise AssertionError("the disk never filled up")


def delete_soon(api: Api, id: str) -> None:
    """Deletes an artifact; tries again while the daemon says that a checkpoint must make room first."""
    for _ in range(10):
        try:
            api.commit(delete("artifact", id))
            return
        except grpc.RpcError as error:
            refusal = refusal_of(error)
            assert refusal.reason == "DISK_FULL"
            assert "The next checkpoint" in refusal.message
            time.sleep(refusal.retry_delay_s or 0)
    raise AssertionError("no checkpoint made room")


def test_uploads_leave_room_for_deletes_the_sweep_and_checkpoints(directory: Directory, disk: SmallDisk) -> None:
    daemon = directory.serve("disk/store", "run/s.sock", "--lease", "1", "--sweep-interval", "3600")
    with Api(daemon.socket, "") as api, ThreadPoolExecutor(8) as crowd:
        api.commit(insert("session", id="S"), insert("construct", id="C", name="c"))
        api.commit(*(insert("artifact", construct_id="C", type="t", name=str(each)) for each in range(20)))
        # Eight at a time, each of which would fit alone.
        digests = [
            each for some in crowd.map(lambda size: put_until_refused(api, size), [700_000] * 4 + [40_000] * 4) for each in some
        ]
        append_until_refused(api, "x" * 30_000)
        assert disk.free_bytes() > 0
        before = disk.free_bytes()
        for each in api.list("artifact").records:
            delete_soon(api, each.artifact.id)
        time.sleep(1.1)  # the leases
        counts = api.run_job("sweep")
        assert counts["files_deleted"] >= len(digests)  # and those whose rows were refused
        api.run_job("checkpoint")
        assert disk.free_bytes() > before + 4 * MIB
        api.put(os.urandom(100_000))
        api.append("S", "fits")
        assert api.problems() == []
    assert daemon.end() == 0, daemon.log()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("index", ["left", "missing"])
def test_a_start_on_a_full_disk_opens_for_reading(
    directory: Directory, disk: SmallDisk, daemon: DaemonProcess, end: signal.Signals, index: str
) -> None:
    with Api(daemon.socket, "") as api:
        api.commit(insert("session", id="S"))
        api.append("S", "first")
        digest = api.put(os.urandom(100_000)).digest
    daemon.end(end)
    if index == "missing":
        (daemon.data_dir / "holdfast.db-shm").unlink(missing_ok=True)
    disk.fill()
    assert disk.free_bytes() == 0
    again = directory.serve("disk/store", "run/s.sock", "--checkpoint-interval", "1")
    assert "event=disk_full" in again.log()
    with Api(again.socket, "") as api:
        assert [each.transcript.content for each in api.entries("S")] == ["first"]
        assert blob_bytes(api, digest) == 100_000
        [warning] = api.admin.GetStatus(admin_service_pb2.AdminServiceGetStatusRequest()).warnings
        assert "is full:" in warning
        check_disk_full(refused(lambda: api.append("S", "does not fit")))
        check_disk_full(refused(lambda: api.put(os.urandom(100_000))))
        disk.give_room()
        assert api.append("S", "fits").first_number == 2
        api.put(os.urandom(100_000))
        assert not [
            each for each in api.admin.GetStatus(admin_service_pb2.AdminServiceGetStatusRequest()).warnings if "is full:" in each
        ]
        assert eventually(lambda: api.problems() == [])
    assert again.end() == 0, again.log()
    assert directory.serve("disk/store", "run/s.sock").end() == 0
