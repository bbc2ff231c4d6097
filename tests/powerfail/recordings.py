"""The recordings: a daemon and its clients on the recorder's file system, which leave a log.

A recording's directory holds `log`, the daemon's `daemon.log` and, for a store that was filled before the recording, that store
in `earlier/` and its ledgers in `before/`.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.durability.daemon import BUSY_FLAGS, DaemonProcess, Start, starter
from tests.foreign.tools import ROOT
from tests.landed.trees import BEFORE_SCAN, LANDED, Tree, unpack
from tests.powerfail import load as load_client
from tests.powerfail import recorder, records
from tests.powerfail.disk import Disk
from tests.powerfail.states import MODES, draw, write_out
from tests.powerfail.tree import LEDGERS

# Two directories below the mount: that the parents of the data directory are durable belongs to the claim.
STORE = Path("deep/store")
CLIENTS = 4
STEPS = 45
PUTS = 40
KILLS = 3
_EARLIER, _BEFORE = "earlier", "before"
_TIMEOUT_S = 240.0
_PUTS_BEGIN_S = 1.5


class RecordingFailed(Exception):
    """The recorder did not start, the daemon did not serve, or a client did not finish."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished recording."""

    directory: Path

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def migrates(self) -> bool:
        """Whether the daemon migrated the store of an earlier version."""
        return self.name == "migration"

    @property
    def before(self) -> Path | None:
        """The ledgers of a store that was filled before the recording; None when the store began empty."""
        before = self.directory / _BEFORE
        return before if before.exists() else None


class Stage:
    """Where a recording is made: the mount, the daemon, the clients."""

    def __init__(self, directory: Path, seed: str, start: Start) -> None:
        self.directory = directory
        self.seed = seed
        self.rng = random.Random(seed)
        self.mount = directory / "mnt"
        self.ledgers = self.mount / LEDGERS
        self._start = start
        self._clients: list[subprocess.Popen[bytes]] = []
        self._daemons: list[DaemonProcess] = []
        self._born = 0

    def daemon(self) -> DaemonProcess:
        """Starts a daemon. Its file system counts as remote, because it is FUSE."""
        flags = ("--data-dir", str(self.mount / STORE), "--force-nonlocal", *BUSY_FLAGS)
        daemon = DaemonProcess(self.directory / "s", self.directory / "daemon.log", flags, self._start)
        self._daemons.append(daemon)
        return daemon

    def serving(self) -> DaemonProcess:
        """Starts a daemon and waits until it serves."""
        daemon = self.daemon()
        if not daemon.wait_until_serving():
            raise RecordingFailed("the daemon ended before it served")
        return daemon

    def kill_at(self, change: int) -> None:
        """Has the process killed that makes the `change`-th change of the disk from now on; 0 calls it off."""
        (self.ledgers / recorder.KILL).write_text(str(change))

    def set_up(self) -> None:
        """Creates what all clients share."""
        self.begin("setup", 0, 1)
        self.finish()

    def begin(self, what: str, count: int, clients: int = CLIENTS) -> None:
        """Starts clients."""
        begin = str(time.time() + _PUTS_BEGIN_S)
        for _ in range(clients):
            self._born += 1
            name = f"{self.directory.name}.{self._born}"
            arguments = [name, what, str(self.directory / "s"), str(self.ledgers), self.seed, str(count), begin]
            self._clients.append(subprocess.Popen([sys.executable, "-m", "tests.powerfail.load", *arguments]))

    def finish(self) -> None:
        """Waits for the clients. Raises RecordingFailed. What a client found wrong is in its ledger."""
        while self._clients:
            if (code := self._clients.pop().wait(_TIMEOUT_S)) not in (0, load_client.NOTED):
                raise RecordingFailed(f"a client of {self.directory} ended with exit code {code}")

    def close(self) -> None:
        for each in self._clients:
            each.kill()
            each.wait()
        for daemon in self._daemons:
            daemon.kill()


def load(stage: Stage) -> None:
    """First start, load, an orderly stop, a second start, load, an orderly stop."""
    for steps in (STEPS, STEPS // 3):
        daemon = stage.serving()
        if steps == STEPS:
            stage.set_up()
        stage.begin("steps", steps)
        stage.finish()
        daemon.terminate()


def kills(stage: Stage) -> None:
    """Load while the daemon is killed and started again."""
    daemon = stage.serving()
    stage.set_up()
    stage.begin("steps", STEPS)
    for _ in range(KILLS):
        time.sleep(stage.rng.uniform(0.3, 1.5))
        daemon.kill()
        daemon = stage.serving()
    stage.finish()
    daemon.terminate()


def puts(stage: Stage) -> None:
    """All clients put files into the same new directory at the same moments."""
    daemon = stage.serving()
    stage.set_up()
    stage.begin("puts", PUTS)
    stage.finish()
    daemon.terminate()


def first(stage: Stage) -> None:
    """A first start that is killed early, a second one, a little load. Half of the kills are at the very first changes."""
    stage.kill_at(stage.rng.randint(1, 6) if stage.rng.random() < 0.5 else stage.rng.randint(7, 60))
    killed = stage.daemon()
    killed.wait_until_serving()
    killed.kill()
    stage.kill_at(0)
    daemon = stage.serving()
    stage.set_up()
    stage.begin("steps", STEPS // 3, clients=2)
    stage.finish()
    daemon.terminate()


def on_earlier(stage: Stage) -> None:
    """A start on a store that was filled before, which is migrated or recovered; a little load."""
    daemon = stage.serving()
    stage.begin("steps", STEPS // 3, clients=2)
    stage.finish()
    daemon.terminate()


SCENARIOS: dict[str, Callable[[Stage], None]] = {
    "load": load,
    "kills": kills,
    "puts": puts,
    "first": first,
    "migration": on_earlier,
    "recovery": on_earlier,
}


def record(scenario: str, directory: Path, seed: str, start: Start | None = None) -> Recording:
    """Makes a recording in `directory`, which is created. `start` starts its daemons.

    Raises OSError when nothing can be mounted, CommitMissing without the earlier version's commit, and RecordingFailed.
    """
    directory.mkdir(mode=0o700)
    preload = None
    if scenario in _FILLED_BEFORE:
        preload = directory / _EARLIER
        (directory / _BEFORE).mkdir()
        _FILLED_BEFORE[scenario](directory, seed)
    stage = Stage(directory, seed, start or starter())
    with _mounted(stage, preload):
        try:
            SCENARIOS[scenario](stage)
        finally:
            stage.close()
    return Recording(directory)


@contextmanager
def _mounted(stage: Stage, preload: Path | None) -> Iterator[None]:
    stage.mount.mkdir()
    arguments = [str(stage.mount), str(stage.directory / "log"), "--seed", stage.seed]
    arguments += ["--preload", str(preload)] if preload else []
    command = [sys.executable, "-m", "tests.powerfail.recorder", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RecordingFailed("the recorder did not start; its message stands above")
        yield
    finally:
        process.terminate()
        process.communicate()


def _fill_by_earlier_version(directory: Path, seed: str) -> None:
    """Has an earlier version's daemon fill a store; it is then stopped or killed."""
    earlier, ledgers = directory / _EARLIER, directory / _BEFORE
    (earlier / STORE.parent).mkdir(parents=True)
    flags = ("--data-dir", str(earlier / STORE), *BUSY_FLAGS)
    tree = _earlier_version(directory)
    daemon = DaemonProcess(directory / "s", directory / "daemon.log", flags, starter(tree.environment))
    try:
        daemon.wait_until_serving()
        for name, what, count in (("setup", "setup", 0), ("earlier", "steps", STEPS)):
            arguments = [name, what, str(directory / "s"), str(ledgers), seed, str(count), "0"]
            subprocess.run([sys.executable, "-m", "tests.powerfail.load", *arguments], check=True, timeout=_TIMEOUT_S)
        if random.Random(seed).random() < 0.5:
            daemon.terminate()
    finally:
        daemon.kill()


def _fill_and_cut(directory: Path, seed: str) -> None:
    """Makes a store that a power cut left: a state of another recording, cut in its second half."""
    rng = random.Random(seed)
    log = records.read(record(rng.choice(("kills", "puts")), directory / "cut", seed).log)
    disk = Disk(log)
    disk.advance(rng.randint(len(log) // 2, len(log)))
    write_out(draw(disk, rng.choice(MODES), rng.getrandbits(32)), directory / _EARLIER)
    for each in log[: disk.point]:
        if isinstance(each, records.Noted):
            with (directory / _BEFORE / f"{each.ledger}.ledger").open("ab") as file:
                file.write(each.data)


_FILLED_BEFORE = {"migration": _fill_by_earlier_version, "recovery": _fill_and_cut}


def _earlier_version(directory: Path) -> Tree:
    """The version that landed last, or an earlier one as long as that has all of this tree's migrations."""
    for commit in (LANDED, BEFORE_SCAN):
        place = directory / commit[:12]
        place.mkdir()
        tree = unpack(commit, place)
        if _migrations(tree.path) < _migrations(ROOT):
            return tree
    raise RecordingFailed("no earlier version has fewer migrations than this tree")


def _migrations(tree: Path) -> set[str]:
    return {path.name for path in (tree / "migrations").glob("*.sql")}
