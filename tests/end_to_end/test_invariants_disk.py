"""A disk that is really full: the test mounts a small file system and fills it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.end_to_end.daemons import DaemonProcess, Directory
from tests.support.api import Api, Refusal, insert, refusal_of

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
    assert "Free" in refusal.message
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
