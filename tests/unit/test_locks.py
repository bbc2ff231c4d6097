from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfastd import durable, filesystem, locks
from holdfastd.errors import SetupError
from holdfastd.filesystem import find_mount, is_local
from holdfastd.locks import DataDirLock, FileLock, LockHeld, SocketLock, check_socket_dir, check_socket_path, read_holder


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[FileLock]:
    lock = FileLock(tmp_path / "a.lock")
    yield lock
    lock.release()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_taker_is_told_who_holds_it(lock: FileLock) -> None:
    lock.acquire()
    lock.write({"pid": 4711})
    with pytest.raises(LockHeld) as caught:
        FileLock(lock.path).acquire()
    assert caught.value.holder == {"pid": 4711}
    lock.release()
    assert FileLock(lock.path).acquire() == {"pid": 4711}


def test_a_lock_file_is_private_and_stays_after_release(lock: FileLock) -> None:
    lock.acquire()
    assert mode_of(lock.path) == 0o600
    lock.release()
    lock.release()
    assert lock.path.exists()


def test_a_shorter_content_leaves_nothing_of_the_longer(lock: FileLock) -> None:
    lock.acquire()
    lock.write({"socket": "x" * 1000})
    lock.write({"pid": 1})
    assert read_holder(lock.path) == {"pid": 1}


UNREADABLE = {
    "empty": b"",
    "torn": b'{"pid": 4',
    "half zeros": b'{"pid": 4' + bytes(4000),
    "a list": b"[]",
    "not text": b"\xff",
    "deep": b"[" * 60_000,
    "deep and whole": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "a huge number": b'{"pid": ' + b"9" * 60_000 + b"}",
    "megabytes": b'{"clean": true, "x": "' + b"x" * 5_000_000 + b'"}',
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=list(UNREADABLE))
def test_an_unreadable_content_names_nobody_and_is_replaced(lock: FileLock, content: bytes) -> None:
    lock.path.write_bytes(content)
    assert read_holder(lock.path) == {}
    assert lock.acquire() == {}
    lock.write({"pid": 1})
    assert read_holder(lock.path) == {"pid": 1}
    assert lock.path.stat().st_size == 4096


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a directory": lambda path: path.mkdir(),
    "a symbolic link": lambda path: path.symlink_to("/etc/passwd"),
    "a FIFO": lambda path: os.mkfifo(path),
    "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_regular_file_is_refused_with_what_to_do(lock: FileLock, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lock.path.parent)  # the path of a socket must be short
    NO_FILES[kind](Path(lock.path.name))
    assert read_holder(lock.path) == {}
    with pytest.raises(
        SetupError, match=rf"The lock file \S*a.lock is {kind}.*Remove it; the daemon makes the file anew"
    ) as caught:
        lock.acquire()
    assert not isinstance(caught.value, LockHeld)


@pytest.mark.parametrize("holder", [{"pid": "x" * 1000}, {"pid": 1, "data_dir": ["x"] * 1000}, {"pid": 1}])
def test_a_strange_holder_makes_no_strange_message(tmp_path: Path, holder: dict[str, Any]) -> None:
    first = SocketLock(tmp_path / "s.sock", holder)
    first.acquire()
    with pytest.raises(LockHeld) as caught:
        SocketLock(tmp_path / "s.sock", {}).acquire()
    assert len(caught.value.message) < 200 + len(str(tmp_path))
    first.release()


def test_the_content_is_replaced_by_one_write_of_one_size(lock: FileLock, monkeypatch: pytest.MonkeyPatch) -> None:
    lock.acquire()
    contents: list[bytes] = []
    real = os.pwrite

    def write(descriptor: int, data: bytes, offset: int) -> int:
        contents.append(lock.path.read_bytes())
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(os, "ftruncate", lambda descriptor, size: pytest.fail("the file has its size"))
    lock.write({"clean": True})
    lock.write({"pid": 1, "socket": "/s.sock" * 20})
    lock.write({"clean": True})
    assert [len(each) for each in contents] == [0, 4096, 4096]
    assert [json.loads(each) for each in contents[1:]] == [{"clean": True}, {"pid": 1, "socket": "/s.sock" * 20}]


@pytest.mark.parametrize("long", [0, 400])
def test_a_write_that_a_power_cut_tears_never_claims_a_stop_that_did_not_happen(lock: FileLock, long: int) -> None:
    """Any of the sectors may be new. A torn content says `clean` only if its first sector does."""
    cards = [{"clean": True, "store_id": "x"}, {"pid": 4, "socket": "ä" * long, "store_id": "x"}]
    sectors: list[list[bytes]] = []
    lock.acquire()
    for card in cards:
        lock.write(card)
        data = lock.path.read_bytes()
        sectors.append([data[start : start + 512] for start in range(0, len(data), 512)])
    for choice in itertools.product([0, 1], repeat=8):
        lock.path.write_bytes(b"".join(sectors[which][place] for place, which in enumerate(choice)))
        assert read_holder(lock.path).get("clean") in (None, cards[choice[0]].get("clean"))


def test_a_full_disk_is_told_when_the_content_does_not_fit(lock: FileLock, monkeypatch: pytest.MonkeyPatch) -> None:
    lock.acquire()
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: 100)
    with pytest.raises(OSError, match="No space left on device"):
        lock.write({"pid": 1})


def test_the_kernel_gives_the_lock_of_a_killed_process_away_at_once(lock: FileLock) -> None:
    program = f"""
import sys, time
from pathlib import Path
from holdfastd.locks import FileLock
lock = FileLock(Path({str(lock.path)!r}))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockHeld):
            lock.acquire()
        holder.kill()
    lock.acquire()


def test_a_momentary_probe_of_a_client_does_not_keep_a_daemon_from_starting(lock: FileLock) -> None:
    lock.path.touch()
    probe = os.open(lock.path, os.O_RDONLY)
    fcntl.flock(probe, fcntl.LOCK_SH)
    threading.Timer(0.05, os.close, [probe]).start()
    lock.acquire()


def test_ensure_takes_the_lock_anew_when_the_file_was_deleted(lock: FileLock) -> None:
    lock.acquire()
    lock.write({"pid": 1})
    lock.ensure()
    lock.path.unlink()
    lock.ensure()
    assert read_holder(lock.path) == {"pid": 1}
    with pytest.raises(LockHeld):
        FileLock(lock.path).acquire()


def test_ensure_fails_while_another_process_holds_the_new_file(lock: FileLock) -> None:
    lock.acquire()
    lock.path.unlink()
    other = FileLock(lock.path)
    other.acquire()
    with pytest.raises(LockHeld):
        lock.ensure()
    other.release()
    lock.ensure()


def test_two_daemons_on_one_directory(tmp_path: Path) -> None:
    first = DataDirLock(tmp_path / "store")
    assert first.acquire() is False
    assert mode_of(tmp_path / "store") == 0o700
    first.write({"pid": 12, "socket": "/s.sock"})
    with pytest.raises(
        LockHeld, match=r"Another daemon \(pid 12, socket /s.sock\) owns .*store. Stop it, or give another --data-dir"
    ):
        DataDirLock(tmp_path / "store").acquire()
    first.release()


def test_the_directories_are_synced_until_a_daemon_json_shows_that_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was killed between making the directories and syncing them leaves them for the next one to sync."""
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_directory", synced.append)
    data_dir = tmp_path / "made by" / "a killed process"
    data_dir.mkdir(parents=True)
    lock = DataDirLock(data_dir)
    lock.acquire()
    assert synced[-2:] == [tmp_path, tmp_path / "made by"]
    lock.release()
    synced.clear()
    lock.acquire()
    assert synced == []
    lock.release()


def test_deleting_daemon_json_lets_nobody_in(tmp_path: Path) -> None:
    first = DataDirLock(tmp_path)
    first.acquire()
    first.write({"pid": 12})
    (tmp_path / "daemon.json").unlink()
    with pytest.raises(LockHeld):
        DataDirLock(tmp_path).acquire()
    first.ensure()
    assert read_holder(tmp_path / "daemon.json") == {"pid": 12}
    first.release()


@pytest.mark.parametrize(("left", "clean"), [(b"", False), (b'{"clean": true}', True), (b'{"pid": 3}', False), (b'{"pid', False)])
def test_the_next_daemon_knows_how_the_last_one_ended(tmp_path: Path, left: bytes, clean: bool) -> None:
    (tmp_path / "daemon.json").write_bytes(left)
    lock = DataDirLock(tmp_path)
    assert lock.acquire() is clean
    lock.release()


@pytest.mark.parametrize(("left", "id"), [(b'{"store_id": {}}', ""), (b'{"store_id": 7}', ""), (b'{"store_id": "x"}', "x")])
def test_only_a_text_is_a_store_id(tmp_path: Path, left: bytes, id: str) -> None:
    (tmp_path / "daemon.json").write_bytes(left)
    lock = DataDirLock(tmp_path)
    lock.acquire()
    assert lock.last_store_id == id
    lock.release()


def test_two_daemons_on_one_socket(tmp_path: Path) -> None:
    socket = tmp_path / "run" / "s.sock"
    first = SocketLock(socket, {"pid": 12, "data_dir": "/store"})
    first.acquire()
    assert mode_of(socket.parent) == 0o700
    second = SocketLock(socket, {"pid": 13, "data_dir": "/other"})
    with pytest.raises(LockHeld, match=r"Another daemon \(pid 12, data directory /store\) listens on"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_deleted_socket_directory_is_made_again(tmp_path: Path) -> None:
    lock = SocketLock(tmp_path / "run" / "s.sock", {"pid": 12})
    lock.acquire()
    shutil.rmtree(tmp_path / "run")
    lock.ensure()
    with pytest.raises(LockHeld):
        SocketLock(tmp_path / "run" / "s.sock", {"pid": 13}).acquire()
    lock.release()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_socket_directory_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(SetupError, match=r"Others can write to .* chmod 0700"):
        check_socket_dir(tmp_path)


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_socket_directory_that_others_can_only_read_is_taken(tmp_path: Path, mode: int) -> None:
    """The socket's own mode excludes other users; `--socket ./store.sock` must work in one's own directory."""
    tmp_path.chmod(mode)
    check_socket_dir(tmp_path)
    assert mode_of(tmp_path) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_socket_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(SetupError, match=r"belongs to user 12345"):
        check_socket_dir(tmp_path)


def test_a_file_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"cannot be made"):
        SocketLock(tmp_path / "file" / "s.sock", {}).acquire()


def test_a_socket_path_that_is_too_long_is_refused_before_anything_is_made() -> None:
    check_socket_path(Path("/" + "x" * 102))
    with pytest.raises(SetupError, match=r"has 104 bytes, but Unix sockets allow 103 here"):
        check_socket_path(Path("/" + "x" * 103))
    with pytest.raises(SetupError, match=r"has 105 bytes"):
        check_socket_path(Path("/" + "ä" * 52))


MOUNTINFO = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:20 / /proc rw shared:2 - proc proc rw
30 22 0:40 / /home rw - nfs4 server:/home rw
31 30 0:41 / /home/with\040space rw shared:5 master:3 - tmpfs tmpfs rw
32 22 0:42 / /mnt/remote rw - fuse.sshfs me@there: rw
33 22 0:43 / /twice rw - cifs //there/x rw
34 22 0:44 / /twice rw - overlay overlay rw
"""


@pytest.mark.parametrize(
    ("path", "file_system"),
    [
        ("/var/lib", "ext4"),
        ("/home/me/store", "nfs4"),
        ("/homework", "ext4"),
        ("/home/with space/x", "tmpfs"),
        ("/mnt/remote", "fuse.sshfs"),
        ("/twice/x", "overlay"),
    ],
)
def test_the_longest_mount_point_decides(tmp_path: Path, path: str, file_system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTINFO.lstrip())
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    found = find_mount(Path(path))
    assert found is not None
    assert found[1] == file_system


@pytest.mark.parametrize(
    "file_system", ["nfs", "cifs", "smb3", "9p", "vboxsf", "virtiofs", "fuse.sshfs", "fuse.s3fs", "fuse", "ceph"]
)
def test_network_file_systems_are_not_local(file_system: str) -> None:
    assert not is_local(file_system)


@pytest.mark.parametrize("file_system", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "fuse.fuse-overlayfs"])
def test_disks_and_containers_are_local(file_system: str) -> None:
    assert is_local(file_system)


def test_this_machines_own_mounts_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_mount(tmp_path)
    assert found is None or filesystem.MOUNTS.exists()
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "no such file")
    assert find_mount(tmp_path) is None


def test_a_lock_on_a_file_that_was_replaced_meanwhile_does_not_count(lock: FileLock, monkeypatch: pytest.MonkeyPatch) -> None:
    take, taken = locks._try_lock, []

    def replace_the_first(descriptor: int) -> bool:
        taken.append(take(descriptor))
        if len(taken) == 1:
            lock.path.unlink()
        return taken[-1]

    monkeypatch.setattr(locks, "_try_lock", replace_the_first)
    lock.acquire()
    with pytest.raises(LockHeld):
        FileLock(lock.path).acquire()
