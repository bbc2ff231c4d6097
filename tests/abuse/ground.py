"""The ground under the daemon: its data directory replaced, removed, overwritten or another store's, and a disk that is full."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc

from tests.abuse.attack import FLAGS, Attack, described, run_quietly
from tests.end_to_end.daemons import DaemonProcess, Directory
from tests.support.api import Api, delete

DATABASE = "holdfast.db"
DISK_MIB = 24
END_S = 5.0  # how long a daemon may take to notice, without a commit, that its files are gone
_REFUSED = 1

Change = Callable[[Path, Path], None]  # the data directory, and a backup of it


def run(attack: Attack) -> None:
    for name, change in list(_UNDER_A_DAEMON.items())[: attack.size(len(_UNDER_A_DAEMON), 3)]:
        _changed_under_a_daemon(attack, name, change, 0.0)
        if attack.full:
            _changed_under_a_daemon(attack, f"{name}, noticed without a commit", change, END_S)
    for name, change in list(_BEFORE_A_START.items())[: attack.size(len(_BEFORE_A_START), 2)]:
        _changed_before_a_start(attack, name, change)
    _full_disk(attack)


def _removed(data: Path, backup: Path) -> None:
    shutil.rmtree(data)


def _replaced(data: Path, backup: Path) -> None:
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    data.chmod(0o700)


def _moved_away(data: Path, backup: Path) -> None:
    data.rename(data.with_name("moved"))


def _without_database(data: Path, backup: Path) -> None:
    for path in data.glob(f"{DATABASE}*"):
        path.unlink()


def _database_replaced(data: Path, backup: Path) -> None:
    _without_database(data, backup)
    shutil.copy(backup / DATABASE, data / DATABASE)


def _overwritten(data: Path, backup: Path) -> None:
    """The same inode with older content."""
    shutil.copyfile(backup / DATABASE, data / DATABASE)


def _emptied(data: Path, backup: Path) -> None:
    os.truncate(data / DATABASE, 0)


def _with_foreign_database(data: Path, other: Path) -> None:
    shutil.copyfile(other / DATABASE, data / DATABASE)


def _with_foreign_log(data: Path, other: Path) -> None:
    shutil.copyfile(other / f"{DATABASE}-wal", data / f"{DATABASE}-wal")


# The short form has the first few of each.
_UNDER_A_DAEMON: dict[str, Change] = {
    "the directory replaced": _replaced,
    "the directory removed": _removed,
    "the database replaced": _database_replaced,
    "the database removed": _without_database,
    "the database overwritten": _overwritten,
    "the directory moved away": _moved_away,
}
_BEFORE_A_START: dict[str, Change] = {
    "no database beside blobs": _without_database,
    "another store's log": _with_foreign_log,
    "another store's database beside blobs": _with_foreign_database,
    "an empty database beside blobs": _emptied,
}


def _fill(daemon: DaemonProcess, first: str) -> None:
    """A session with an entry, and a blob in a file."""
    with Api(daemon.socket, workspace="ground") as api:
        api.insert("session", id="S", title="s")
        api.append("S", first)
        api.insert("artifact", type="f", name="f", content_digest=api.put(os.urandom(100_000)).digest)


def _slug(name: str) -> str:
    return name.replace(" ", "-").replace(",", "").replace("'", "")


def _changed_under_a_daemon(attack: Attack, name: str, change: Change, wait_s: float) -> None:
    """After the change nothing is acknowledged that a restart does not find, and the daemon ends with an error."""
    place = attack.directory(_slug(name))
    first = place.serve("store", "s", *FLAGS)
    _fill(first, "in the backup")
    attack.stop(first, "filling it")
    backup = place.path / "backup"
    shutil.copytree(first.data_dir, backup)
    daemon = place.serve("store", "s", *FLAGS)
    with Api(daemon.socket, workspace="ground") as api:
        api.append("S", "not in the backup")
        change(daemon.data_dir, backup)
        if wait_s:
            _ends(daemon, wait_s)
        acknowledged = _acknowledged(api)
    ended = _ends(daemon, END_S)
    code = daemon.process.poll() if ended else daemon.end()
    found = _entries_at(place, daemon.data_dir) if acknowledged else set()
    lost = [each for each in acknowledged if each not in found]
    attack.tell(f"{name}: {len(acknowledged)} acknowledged afterwards, {len(lost)} of them lost; exit code {code}")
    attack.demand(not lost, f"{name}: {len(lost)} acknowledged entries are lost; exit code {code}")
    kept = change is _overwritten and not lost  # the same files, and nothing lost: the daemon need not notice
    attack.demand((ended and code != 0) or kept, f"{name}: the daemon {f'ended with {code}' if ended else 'does not end'}")


def _ends(daemon: DaemonProcess, timeout_s: float) -> bool:
    """Whether the daemon ends by itself in that time."""
    with suppress(TimeoutError):
        daemon.wait(timeout_s)
    return daemon.process.poll() is not None


def _acknowledged(api: Api) -> list[str]:
    """Appends for a second; returns the acknowledged entries."""
    found, end = [], time.monotonic() + 1.0
    while time.monotonic() < end:
        text = f"entry {len(found)}"
        try:
            api.append("S", text)
            found.append(text)
        except grpc.RpcError:
            time.sleep(0.05)
    return found


def _entries_at(place: Directory, data_dir: Path) -> set[str]:
    """The entries that a new daemon on the path finds; none if it does not start."""
    daemon = place.start(str(data_dir), "s", *FLAGS)
    if daemon.ended_or_serves() == "ended":
        return set()
    try:
        with Api(daemon.socket, workspace="ground") as api:
            return {each.transcript.content for each in api.entries("S")}
    except grpc.RpcError:
        return set()
    finally:
        daemon.end(signal.SIGKILL)


def _changed_before_a_start(attack: Attack, name: str, change: Change) -> None:
    """The start is refused and leaves the blobs alone; only `--begin-anew` begins a new store."""
    place = attack.directory(_slug(name))
    daemon, other = place.serve("store", "s", *FLAGS), place.serve("other", "o", *FLAGS)
    _fill(daemon, "ours")
    _fill(other, "another store's")
    daemon.end()
    other.end(signal.SIGKILL)  # its log stays
    if change is not _with_foreign_log:
        place.serve("other", "o", *FLAGS).end()  # its log is in the database now
    change(daemon.data_dir, other.data_dir)
    blobs = _files(daemon.data_dir / "blobs")
    again = place.start("store", "s", *FLAGS)
    refused = again.ended_or_serves() == "ended"
    again.process.kill()
    code, said = again.process.wait(), again.log().strip().splitlines()[-1:]
    attack.tell(f"{name}: {'refused' if refused else 'starts'}; {said[0][:160] if refused and said else ''}")
    attack.demand(refused and code == _REFUSED, f"{name}: the daemon {f'ended with {code}' if refused else 'starts'}")
    attack.demand(_files(daemon.data_dir / "blobs") == blobs, f"{name}: the refused start changed the blob files")
    _begin_anew(attack, name, place, expects_missing_blobs=change is _with_foreign_database)


def _begin_anew(attack: Attack, name: str, place: Directory, *, expects_missing_blobs: bool) -> None:
    """`--begin-anew` starts, keeps the blobs of the database that is served, and moves others away."""
    anew = place.start("store", "s", *FLAGS, "--begin-anew")
    if not attack.demand(anew.ended_or_serves() == "serves", f"{name}: --begin-anew does not start: {anew.log()[-200:]}"):
        return
    with Api(anew.socket) as api:
        found = api.problems()
    wrong = [each for each in found if not (expects_missing_blobs and each.startswith("blob_missing"))]
    attack.demand(not wrong, f"{name}: after --begin-anew verify finds {wrong}")
    attack.stop(anew, f"{name} and --begin-anew")


def _files(path: Path) -> list[str]:
    return sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())


@contextmanager
def _small_disk(path: Path) -> Iterator[bool]:
    """Mounts a small file system; False when this user may not."""
    path.mkdir(mode=0o700)
    mounted = run_quietly("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "none", str(path))
    try:
        yield mounted
    finally:
        if mounted:
            run_quietly("umount", "--lazy", str(path))


def _full_disk(attack: Attack) -> None:
    """The store fills its disk: deletes and a sweep still make room, and a start serves reads."""
    place = attack.directory("full")
    with _small_disk(place.path / "disk") as mounted:
        if not mounted:
            attack.cannot("a full disk needs the right to mount a file system")
            return
        flags = ("--lease", "1", "--sweep-interval", "1000", *FLAGS)
        daemon = place.serve("disk/store", "s", *flags)
        with Api(daemon.socket, workspace="ground") as api:
            kept = _fill_disk(attack, api)
        daemon.end(signal.SIGKILL)
        again = place.start("disk/store", "s", *flags)
        if not attack.demand(again.ended_or_serves() == "serves", f"a full disk: no start; {again.log()[-300:]}"):
            return
        with Api(again.socket, workspace="ground") as api:
            attack.demand(bool(api.get("artifact", kept[0]).name), "a full disk: a start does not serve reads")
            _make_room(attack, api, kept)
        attack.check_serving(again, "a full disk")
        attack.stop(again, "a full disk")


def _fill_disk(attack: Attack, api: Api) -> list[str]:
    """Stores blobs of falling size until each is refused; returns the ids of their records."""
    kept: list[str] = []
    for size in (1_500_000, 100_000, 33_000, 33_000):
        try:
            while True:
                content = os.urandom(size)
                chunks = [content[at : at + (1 << 20)] for at in range(0, size, 1 << 20)]
                kept.append(api.insert("artifact", type="f", name="f", content_digest=api.put(*chunks).digest))
        except grpc.RpcError as error:
            refused = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            attack.demand(refused, f"a full disk: a Put of {size} bytes got {described(error)}")
    return kept


def _make_room(attack: Attack, api: Api, kept: list[str]) -> None:
    """Deletes a few records and sweeps; then a new blob has room."""
    try:
        for id in kept[:5]:
            api.commit(delete("artifact", id))
        time.sleep(1.2)  # the leases end
        counts = api.run_job("sweep")
        attack.tell(f"a full disk: {len(kept)} blobs, 5 deleted; the sweep: {counts}")
        api.put(os.urandom(1_000_000))
    except grpc.RpcError as error:
        attack.demand(False, f"a full disk: deleting does not make room: {described(error)}")
