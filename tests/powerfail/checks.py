"""Makes the states of a recording, starts a daemon on each, and asks it for everything that was acknowledged."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Generator, Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

import holdfast
from tests.durability.daemon import DaemonFailed, DaemonProcess
from tests.durability.ledger import LedgerFiles, Ledgers
from tests.durability.oracle import Oracle
from tests.powerfail import aftermath, records
from tests.powerfail.cuts import Cut
from tests.powerfail.disk import Disk
from tests.powerfail.recordings import STORE, Recording
from tests.powerfail.states import draw, write_out
from tests.support.forker import Forker

MEMORY = Path("/dev/shm")
_FLAGS = ("--log-level", "warning", "--grace", "5", "--sweep-interval", "3600")
_TIMEOUT_S = 20.0
_PATIENCE_S = 300.0
_READ_SHARE = 0.05  # the contents that are read through the client; verify reads all of them
_STOPPED_SHARE = 0.3

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.powerfail.checks"])


class Checked(NamedTuple):
    """The problems found in one state, and how many acknowledged operations it was asked for."""

    cut: Cut
    problems: list[str]
    acknowledged: int


class Checker:
    """Checks the states of one recording, by rising point. `close` ends its processes."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._log = records.read(recording.log)
        self._disk = Disk(self._log)
        self._ledgers = records.LedgersSoFar(self._log, _before(recording))
        self._place = Path(tempfile.mkdtemp(prefix="powerfail-", dir=MEMORY if MEMORY.is_dir() else None))
        self._forker = Forker()

    def check(self, cut: Cut) -> Checked:
        """Makes the state and asks for everything. Removes it afterwards."""
        directory = self._place / "state"
        directory.mkdir()
        try:
            self.make(cut, directory / "mnt")
            problems = self._ask(directory, cut)
        finally:
            shutil.rmtree(directory)
        return Checked(cut, problems, self._ledgers.acknowledged)

    def make(self, cut: Cut, place: Path) -> None:
        """Makes the state in the directory `place`, which is created."""
        self._disk.advance(cut.point)
        self._ledgers.advance(cut.point)
        write_out(draw(self._disk, cut.mode, cut.seed), place)

    def close(self) -> None:
        self._forker.close()
        shutil.rmtree(self._place)

    def _ask(self, directory: Path, cut: Cut) -> list[str]:
        """The problems found up to the first failure of the daemon or of a call, which is a problem too."""
        rng = random.Random(cut.seed)
        problems: list[str] = []
        flags = ("--data-dir", str(directory / "mnt" / STORE), *_FLAGS)
        daemon = DaemonProcess(directory / "s", directory / "daemon.log", flags, self._forker.start)
        what = "start"
        try:
            daemon.wait_until_serving()
            what = "later"
            self._ask_store(daemon, cut, rng, problems)
            if self._recording.migrates:
                problems += aftermath.snapshot_problems(directory / "mnt" / STORE)
            if rng.random() < _STOPPED_SHARE:
                what = "stop"
                daemon.terminate()
        except DaemonFailed as error:
            problems.append(f"{what}: {error}")
        except holdfast.HoldfastError as error:
            problems.append(f"call: {type(error).__name__}: {error}")
        finally:
            daemon.kill()
        return [*problems, *(f"log: {each}" for each in daemon.errors())]

    def _ask_store(self, daemon: DaemonProcess, cut: Cut, rng: random.Random, problems: list[str]) -> None:
        until_ns = records.time_of(self._log, cut.point)
        oracle = Oracle(self._ledgers, now_ns=lambda: until_ns, reads=lambda _: rng.random() < _READ_SHARE)
        with holdfast.connect(daemon.socket, actor="oracle", timeout_s=_TIMEOUT_S, connect_timeout_s=_TIMEOUT_S) as store:
            problems += oracle.ask(store)
            problems += aftermath.problems_of_use(store, self._ledgers.operations.values(), rng)
            problems += aftermath.leaks(store)


def _before(recording: Recording) -> Ledgers | None:
    if recording.before is None:
        return None
    ledgers = LedgerFiles(recording.before)
    ledgers.read()
    return ledgers


def check_all(recording: Recording, cuts: Sequence[Cut], jobs: int) -> Generator[Checked, None, None]:
    """Checks the cuts in `jobs` processes, in no order. Closing the iterator ends the processes after their current state."""
    results: Queue[Checked | str] = processes.Queue()
    ended = processes.Event()
    workers = [processes.Process(target=_work, args=(recording, cuts[number::jobs], results, ended)) for number in range(jobs)]
    for each in workers:
        each.start()
    try:
        for _ in cuts:
            found = results.get(timeout=_PATIENCE_S)
            if isinstance(found, str):
                raise RuntimeError(f"a checking process failed:\n{found}")
            yield found
    finally:
        ended.set()
        for each in workers:
            each.join()


def _work(recording: Recording, cuts: Sequence[Cut], results: Queue[Checked | str], ended: Event) -> None:
    """The main function of a checking process. SIGTERM ends it in order."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("SIGTERM"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    try:
        with contextlib.closing(Checker(recording)) as checker:
            for cut in cuts:
                if ended.is_set():
                    break
                results.put(checker.check(cut))
    except BaseException:
        results.put(traceback.format_exc())
