"""`python -m tests.crash`: kills daemons at failpoints and at random moments, restarts them and checks the store."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.crash.rounds import Broken, Trial

ROUNDS_A_STORE = 25
_SHOWN_PROBLEMS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every acknowledged write was found exactly once after every kill, 1 otherwise."""
    options = _parser().parse_args(arguments)
    campaign = Campaign(options.seed, options.verbose)
    print(f"crash tier: {options.rounds} rounds, seed {options.seed}, stores under {campaign.directory}", flush=True)
    try:
        campaign.run(options.rounds, options.first_store, options.seconds_limit)
    except Broken as broken:
        campaign.report_broken(broken)
        return 1
    campaign.report()
    shutil.rmtree(campaign.directory)
    return 0


class Campaign:
    """Runs one store after the other, each for a few rounds, so that checking one store stays fast."""

    def __init__(self, seed: int, verbose: bool) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="crash-"))
        self._seed = seed
        self._verbose = verbose
        self._deaths: Counter[str] = Counter()
        self._rounds = self._operations = self._revisions = 0
        self._store = 0
        self._began = time.monotonic()

    def run(self, rounds: int, first_store: int, seconds_limit: float) -> None:
        """Raises Broken when a check fails."""
        self._store = first_store
        while self._rounds < rounds and self._elapsed_s < seconds_limit:
            count = min(ROUNDS_A_STORE, rounds - self._rounds)
            trial = Trial(self._place, f"{self._seed}/{self._store}", self._deaths, self._tell)
            trial.run(count)
            self._rounds += count
            self._operations += trial.oracle.operations
            self._revisions += trial.oracle.revision
            shutil.rmtree(self._place)
            print(
                f"  {self._rounds:>4} rounds, {self._operations:,} operations, {self._elapsed_s:.0f} s: no problems", flush=True
            )
            self._store += 1

    def report(self) -> None:
        """Prints the number of rounds, by kind of death."""
        for how, count in sorted(self._deaths.items()):
            print(f"  {count:>4} × {how}")
        print(
            f"crash tier: {self._rounds} rounds, {self._operations:,} operations, {self._revisions:,} revisions in"
            f" {self._elapsed_s:.0f} s; no lost write, no duplicate, no gap"
        )

    def report_broken(self, broken: Broken) -> None:
        """Prints the problems and the command that repeats the run."""
        print(f"FAILED in store {self._store}, round {broken.round} (planned death of the daemon: {broken.death})")
        for problem in broken.problems[:_SHOWN_PROBLEMS]:
            print(f"  - {problem}")
        if len(broken.problems) > _SHOWN_PROBLEMS:
            print(f"  … and {len(broken.problems) - _SHOWN_PROBLEMS} more")
        print(f"The store, the ledgers and the daemon's log are kept in {self._place}")
        again = f"python -m tests.crash --seed {self._seed} --first-store {self._store} --rounds {ROUNDS_A_STORE}"
        print(f"To repeat: {again}", flush=True)

    @property
    def _place(self) -> Path:
        return self.directory / f"store-{self._store}"

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def _tell(self, line: str) -> None:
        if self._verbose:
            print(f"  {self._elapsed_s:6.1f} s  store {self._store}, {line}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500, help="number of rounds, each with one death (default: 500)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="default: a random one")
    parser.add_argument("--seconds-limit", type=float, default=float("inf"), help="start no further store after this time")
    parser.add_argument("--first-store", type=int, default=0, help="to repeat a store of an earlier run with the same seed")
    parser.add_argument("--verbose", action="store_true", help="print one line per round")
    return parser


if __name__ == "__main__":
    sys.exit(main())
