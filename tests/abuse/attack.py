"""What each part of the tier works with: a directory for its daemons, random numbers from its seed, and its list of problems."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc

from tests.abuse.honest import P99_LIMIT_MS, Answers
from tests.end_to_end.daemons import COMMAND, DaemonProcess, Directory, is_reachable
from tests.support.api import Api
from tests.support.memory import MIB, Peak

GRACE_S = 2.0
STOP_MARGIN_S = 1.0
STOP_TIMEOUT_S = 60.0
BUDGET_MIB, BEYOND_BUDGET_MIB = 256, 150
FLAGS = ("--grace", f"{GRACE_S:g}", "--checkpoint-interval", "1", "--memory-max-bytes", str(BUDGET_MIB << 20))


class Attack:
    """One run of a part. `full` chooses between the full and the short form; `only` is the one input to repeat, if any."""

    def __init__(self, part: str, seed: int, full: bool, only: int | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"abuse-{part}-"))
        self.seed = f"{seed}/{part}"
        self.rng = random.Random(self.seed)
        self.full = full
        self.only = only
        self.problems: list[str] = []
        self._part = part
        self._began = time.monotonic()
        self._directories: list[Directory] = []

    def size(self, full: int, short: int) -> int:
        """A number that depends on the form."""
        return full if self.full else short

    def tell(self, line: str) -> None:
        """Prints a line of progress."""
        print(f"  {time.monotonic() - self._began:6.1f} s  {self._part}: {line}", flush=True)

    def demand(self, holds: bool, otherwise: str) -> bool:
        """Notes `otherwise` as a problem unless the demand holds."""
        if not holds:
            self.problems.append(otherwise)
            self.tell(f"PROBLEM: {otherwise}")
        return holds

    def cannot(self, reason: str) -> None:
        """A case that this machine cannot run. In CI, that is a problem."""
        self.tell(f"not run: {reason}")
        self.demand("CI" not in os.environ, f"not run: {reason}")

    def directory(self, name: str, *prefix: str) -> Directory:
        """A directory whose daemons are killed at the end of the part. `prefix`: words before the daemon's command."""
        path = self.path / name
        path.mkdir(mode=0o700)
        made = Directory(path, [*prefix, *COMMAND])
        self._directories.append(made)
        return made

    def serve(self, name: str, *flags: str) -> DaemonProcess:
        """A daemon in a directory of its own."""
        return self.directory(name).serve("store", "s", *FLAGS, *flags)

    def check_memory(self, peak: Peak, during: str) -> None:
        """Demands that the daemon's memory stayed within its budget and a fixed amount."""
        found_mib, limit_mib = peak.highest_bytes / MIB, BUDGET_MIB + BEYOND_BUDGET_MIB
        self.demand(found_mib <= limit_mib, f"{during}: memory of {found_mib:.0f} MiB, the limit is {limit_mib} MiB")

    def check_answers(self, answers: Answers, during: str) -> None:
        """Demands that an honest caller got all of its answers; in the full form, also in time."""
        self.demand(not answers.failed, f"{during}: {answers}")
        self.demand(not self.full or answers.p99_ms <= P99_LIMIT_MS, f"{during}: p99 of {answers.p99_ms:.0f} ms")

    def check_serving(self, daemon: DaemonProcess, after: str) -> None:
        """Demands that the daemon lives, answers, has logged no defect, and that `verify` finds nothing."""
        code = daemon.process.poll()
        if not self.demand(code is None, f"after {after} the daemon has ended with exit code {code}; {daemon.log_path}"):
            return
        try:
            self.demand(is_reachable(daemon.socket), f"after {after} the daemon is not reachable")
            with Api(daemon.socket) as api:
                found = api.problems()
            self.demand(not found, f"after {after} verify finds {len(found)} problems, such as {found[:1]}")
        except grpc.RpcError as error:
            self.demand(False, f"after {after} the daemon answers {described(error)}")
        defects = defects_in(daemon.log())
        self.demand(not defects, f"after {after} the log has {len(defects)} defects, such as {defects[:1]}")

    def stop(self, daemon: DaemonProcess, after: str) -> float:
        """Sends SIGTERM; demands exit code 0 and a clean mark within the grace and a second. Returns the seconds it took."""
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        try:
            code: int | None = daemon.wait(STOP_TIMEOUT_S)
        except TimeoutError:
            daemon.process.kill()
            code = None
        took_s = time.monotonic() - began
        self.demand(code == 0, f"after {after} the stop ended with exit code {code}")
        self.demand(took_s <= GRACE_S + STOP_MARGIN_S, f"after {after} the stop took {took_s:.1f} s; the grace is {GRACE_S:g} s")
        self.demand(bool(daemon.card().get("clean")), f"after {after} the stop did not mark the store as clean")
        return took_s

    def close(self) -> None:
        """Kills the daemons; deletes the files unless there are problems."""
        for daemon in [each for made in self._directories for each in made.daemons]:
            daemon.process.kill()
            daemon.process.wait()
        if not self.problems:
            shutil.rmtree(self.path)


def described(error: Any) -> str:
    """Code and message of a gRPC error."""
    return f"{error.code().name}: {(error.details() or '')[:120]}"


def defects_in(log: str) -> list[str]:
    """The lines of a log that show a defect of the daemon, not an error of a caller."""
    return [
        line[:300]
        for line in log.splitlines()
        if re.search(r"Traceback|event=call_failed|level=critical|Exception in thread", line)
    ]


def run_quietly(*command: str) -> bool:
    """Runs a command of the system; True when it succeeded."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
