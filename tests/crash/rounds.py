"""One store through many rounds: load, death of the daemon, restart, check by the oracle.

Three workers run as long as the store. A fourth is killed with each daemon and replaced, so that some calls lose their
caller. A daemon may die again before the oracle is done; that counts as a round too, and the oracle runs after the next start.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import holdfast
from tests.crash import deaths, load
from tests.crash.deaths import Death
from tests.crash.gate import Gate
from tests.durability.daemon import LEASE_S, DaemonFailed, DaemonProcess, on_directory
from tests.durability.ledger import LedgerFiles
from tests.durability.oracle import Oracle, stray_files
from tests.durability.worker import set_up

LASTING_WORKERS = 3
QUIET_TIMEOUT_S = 60.0
_MORTAL_SLOT = LASTING_WORKERS + 1
_ORACLE_TIMEOUT_S = 60.0

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.crash.load"])


class Broken(Exception):
    """The store is wrong: `problems` are sentences, `round` is counted within the store."""

    def __init__(self, problems: list[str], round: int, death: Death) -> None:
        super().__init__(problems[0])
        self.problems = problems
        self.round = round
        self.death = death


class Trial:
    """One store. `seed` determines the deaths and the operations; scheduling by the operating system remains random."""

    def __init__(self, directory: Path, seed: str, deaths_seen: Counter[str], tell: Callable[[str], None]) -> None:
        self._directory = directory
        self._seed = seed
        self._rng = random.Random(seed)
        self._deaths_seen = deaths_seen
        self._tell = tell
        self._workers: dict[int, BaseProcess] = {}
        self._born = 0
        self._round = 0
        self._death = deaths.timed(self._rng)
        directory.mkdir(mode=0o700)
        self._gate = Gate(directory / "gate")
        self.oracle = Oracle(LedgerFiles(directory))

    def run(self, rounds: int) -> None:
        """Runs all rounds, then a full check by a new oracle. Raises Broken; ends its processes."""
        self._gate.pause()
        daemon = self._start_daemon(self._death)
        try:
            daemon.wait_until_serving()
            set_up(daemon.socket, self._directory)
            for slot in range(1, _MORTAL_SLOT + 1):
                self._start_worker(slot)
            for self._round in range(1, rounds + 1):
                self._one_round(daemon)
                self._death = deaths.drawn(self._rng)
                daemon = self._start_daemon(self._death if self._round < rounds else None)
            self._look_at_the_end(daemon)
        except (DaemonFailed, TimeoutError, holdfast.HoldfastError) as error:
            raise Broken([f"{type(error).__name__}: {error}"], self._round, self._death) from error
        finally:
            self._kill_workers()
            daemon.kill()

    def _one_round(self, daemon: DaemonProcess) -> None:
        """Runs the oracle, then the load until the daemon is dead."""
        if not (daemon.wait_until_serving() and self._quiet(daemon) and self._ask(daemon, self.oracle)):
            self._count(f"{self._death.failpoint}, in recovery")
            return
        self._gate.release()
        self._count(self._end(daemon))
        self._gate.pause()
        self._start_worker(_MORTAL_SLOT)

    def _end(self, daemon: DaemonProcess) -> str:
        """Waits for the planned death, or kills the daemon at its end; returns how it died."""
        died = daemon.wait_for_death(self._death.after_s)
        self._kill_worker(_MORTAL_SLOT)
        if died:
            return self._death.failpoint
        if self._death.orderly:
            return "SIGTERM" if daemon.terminate() else self._death.failpoint
        daemon.kill()
        return "SIGKILL, failpoint not reached" if self._death.failpoint else "SIGKILL"

    def _quiet(self, daemon: DaemonProcess) -> bool:
        """True once every worker has finished its operation; False when the daemon died meanwhile."""
        return self._gate.wait_for(sorted(self._workers), lambda: daemon.dead() or self._someone_failed(), QUIET_TIMEOUT_S)

    def _someone_failed(self) -> bool:
        failed = [slot for slot, process in self._workers.items() if not process.is_alive()]
        if failed:
            self._raise(self._ledger_problems() or [f"the workers {failed} ended by themselves"])
        return False

    def _ledger_problems(self) -> list[str]:
        ledgers = LedgerFiles(self._directory)
        ledgers.read()
        return ledgers.problems

    def _ask(self, daemon: DaemonProcess, oracle: Oracle) -> bool:
        """True when the oracle finished; False when the daemon died meanwhile. Raises Broken with the problems found."""
        try:
            with holdfast.connect(daemon.socket, actor="oracle", timeout_s=_ORACLE_TIMEOUT_S) as store:
                problems = oracle.ask(store)
        except holdfast.HoldfastError:
            if daemon.dead():
                return False
            raise
        if problems:
            self._raise(problems)
        return True

    def _look_at_the_end(self, daemon: DaemonProcess) -> None:
        """Checks everything from revision 0, the blob files, and that an orderly stop loses nothing."""
        if not (daemon.wait_until_serving() and self._quiet(daemon)):
            raise DaemonFailed("the daemon died, and no failpoint or signal was planned")
        self._kill_workers()
        self._ask(daemon, self.oracle)
        self._ask(daemon, Oracle(LedgerFiles(self._directory)))
        time.sleep(LEASE_S + 0.2)
        with holdfast.connect(daemon.socket) as store:
            list(store.run_job("sweep"))
            if strays := stray_files(store, self._directory / "store"):
                self._raise(strays)
        self._ask(daemon, self.oracle)
        if not daemon.terminate():
            raise DaemonFailed("the daemon did not stop in order")

    def _raise(self, problems: list[str]) -> None:
        raise Broken(problems, self._round, self._death)

    def _count(self, how: str) -> None:
        self._deaths_seen[how] += 1
        self._tell(f"round {self._round}: {how}")

    def _start_daemon(self, death: Death | None) -> DaemonProcess:
        with (self._directory / "daemon.log").open("a") as log:
            log.write(f"--- {death or 'no death'}\n")
        return on_directory(self._directory, {"HOLDFAST_FAILPOINTS": death.environment if death else ""})

    def _start_worker(self, slot: int) -> None:
        self._born += 1
        name = f"w{slot}.{self._born}"
        arguments = (name, slot, str(self._directory), str(self._directory / "s"), f"{self._seed}/{name}")
        process = processes.Process(target=load.run, args=arguments, name=name, daemon=True)
        process.start()
        self._workers[slot] = process

    def _kill_worker(self, slot: int) -> None:
        if (process := self._workers.pop(slot, None)) is not None:
            process.kill()
            process.join()

    def _kill_workers(self) -> None:
        for slot in sorted(self._workers):
            self._kill_worker(slot)
