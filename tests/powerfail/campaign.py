"""A run of the tier: makes the recordings, checks their states, and reports."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.durability.daemon import starter
from tests.powerfail import records
from tests.powerfail.checks import Checked, Checker, check_all
from tests.powerfail.cuts import Cut, plan
from tests.powerfail.recordings import Recording, record

SHARES = {"load": 0.25, "kills": 0.2, "puts": 0.15, "first": 0.2, "migration": 0.1, "recovery": 0.1}
BREAK_STATES = 240
_STATES_OF_A_FIRST_START = 60
_PROGRESS_S = 10.0
_SHOWN_STATES = 3
_SHOWN_PROBLEMS = 4
_DATA = {"LOST", "verify", "start"}
_SORTS = ("LOST", "verify", "start", "stop", "snapshot", "leak", "call", "log")


class Campaign:
    """One run. What it makes lies in `directory`, which is removed when no problem was found."""

    def __init__(self, directory: Path, seed: int, jobs: int) -> None:
        self._directory = directory
        self._seed = seed
        self._jobs = jobs
        self._began = time.monotonic()
        self._states = self._bad = self._acknowledged = 0
        self._modes: Counter[str] = Counter()
        self._sorts: Counter[str] = Counter()

    def run(self, scenarios: Sequence[str], states: int) -> bool:
        """Makes the recordings and checks about `states` states of them all. Returns whether there was no problem."""
        print(f"powerfail: {states:,} states, seed {self._seed}, recordings under {self._directory}", flush=True)
        total = sum(SHARES[each] for each in scenarios)
        for scenario in scenarios:
            wanted = round(states * SHARES[scenario] / total)
            several = max(2, wanted // _STATES_OF_A_FIRST_START) if scenario == "first" else 1
            for number in range(several):
                name = f"{scenario}-{number + 1}" if several > 1 else scenario
                recording = self._record(scenario, name)
                self._check(recording, wanted // several + (number < wanted % several))
        return self._report()

    def run_recorded(self, directory: Path, states: int) -> bool:
        """Checks states of an earlier recording. Returns whether there was no problem."""
        print(f"powerfail: {states:,} states, seed {self._seed}, recording {directory}", flush=True)
        self._check(Recording(directory), states)
        return self._report()

    def run_breaks(self, names: Sequence[str]) -> bool:
        """Records a broken daemon for each name, and checks states until data is lost. Returns whether each was found."""
        print(f"powerfail: {len(names)} breaks, seed {self._seed}, recordings under {self._directory}", flush=True)
        missed = [name for name in names if not self._finds(name)]
        print(f"powerfail: {len(names) - len(missed)} of {len(names)} breaks found in {self._elapsed_s:.0f} s", *missed)
        if not missed:
            shutil.rmtree(self._directory)
        return not missed

    def _record(self, scenario: str, name: str) -> Recording:
        began = time.monotonic()
        recording = record(scenario, self._directory / name, f"{self._seed}/{name}")
        log = records.read(recording.log)
        ledgers = records.LedgersSoFar(log)
        ledgers.advance(len(log))
        syncs = sum(1 for each in log if isinstance(each, records.SyncEnded))
        print(
            f"  {name}: recorded {len(log):,} records, {syncs:,} syncs and {ledgers.acknowledged:,} acknowledged operations in"
            f" {time.monotonic() - began:.0f} s",
            flush=True,
        )
        if ledgers.problems:
            self._found_while_recording(name, ledgers.problems)
        return recording

    def _found_while_recording(self, name: str, problems: Sequence[str]) -> None:
        self._bad += 1
        self._sorts["client"] += 1
        print(f"  PROBLEM in {name}, found by a client while nothing but processes was killed:")
        print(*(f"    - {each}" for each in problems[:_SHOWN_PROBLEMS]), sep="\n", flush=True)

    def _check(self, recording: Recording, states: int) -> None:
        cuts = plan(records.read(recording.log), states, random.Random(f"{self._seed}/{recording.name}"))
        began = told = time.monotonic()
        bad = 0
        with contextlib.closing(check_all(recording, cuts, self._jobs)) as checks:
            for done, checked in enumerate(checks, start=1):
                self._count(checked)
                if checked.problems:
                    bad += 1
                    self._tell(recording, checked, shown=bad <= _SHOWN_STATES)
                now = time.monotonic()
                if now - told > _PROGRESS_S or done == len(cuts):
                    told = now
                    rate = done / (now - began)
                    print(f"    {done:>5,} of {len(cuts):,} states, {rate:.1f} a second, {bad} with problems", flush=True)

    def _count(self, checked: Checked) -> None:
        self._states += 1
        self._bad += bool(checked.problems)
        self._acknowledged += checked.acknowledged
        self._modes[checked.cut.mode] += 1
        self._sorts.update(sorts(checked.problems))

    def _tell(self, recording: Recording, checked: Checked, *, shown: bool) -> None:
        again = f"python -m tests.powerfail --recording {recording.directory} {_flags(checked.cut)}"
        with (self._directory / "problems.jsonl").open("a") as file:
            file.write(json.dumps({"again": again, "problems": checked.problems}) + "\n")
        if shown:
            print(f"  PROBLEM in {recording.name}, cut at {checked.cut.point}, {checked.cut.mode}:")
            _show(checked.problems)
            print(f"    To repeat: {again}", flush=True)

    def _report(self) -> bool:
        """Prints the counts. Keeps the recordings when there was a problem."""
        for mode, count in sorted(self._modes.items()):
            print(f"  {count:>5,} × {mode}")
        what = f"powerfail: {self._states:,} states, {self._acknowledged:,} acknowledged operations looked up"
        print(f"{what}, {self._elapsed_s:.0f} s, {self._states / self._elapsed_s:.1f} states a second:", end=" ")
        if not self._bad:
            shutil.rmtree(self._directory)
            print("no problem", flush=True)
            return True
        print(f"FAILED, {self._bad:,} with problems ({', '.join(f'{sort} {n:,}' for sort, n in self._sorts.most_common())})")
        print(f"All of them are in {self._directory / 'problems.jsonl'}. To record anew with this seed: --seed {self._seed}")
        return False

    def _finds(self, name: str) -> bool:
        start = starter(program=("-m", "tests.powerfail.breaks", name))
        recording = record("load", self._directory / name, f"{self._seed}/{name}", start)
        cuts = plan(records.read(recording.log), BREAK_STATES, random.Random(f"{self._seed}/{name}"))
        with contextlib.closing(check_all(recording, cuts, self._jobs)) as checks:
            for done, checked in enumerate(checks, start=1):
                if found := [each for each in checked.problems if set(sorts([each])) & _DATA]:
                    print(f"  {name}: found in state {done} ({checked.cut.mode}): {_short(found[0])}", flush=True)
                    shutil.rmtree(recording.directory)
                    return True
        print(f"  {name}: NOT FOUND in {len(cuts)} states of {recording.directory}", flush=True)
        return False

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began


def check_again(directory: Path, cut: Cut) -> bool:
    """Makes one state of a recording again and checks it. Returns whether there was no problem."""
    with contextlib.closing(Checker(Recording(directory))) as checker:
        problems = checker.check(cut).problems
    print(f"powerfail: cut at {cut.point}, {cut.mode}: {f'{len(problems)} problems' if problems else 'no problem'}")
    _show(problems, most=sys.maxsize)
    return not problems


def make_state(directory: Path, cut: Cut, place: Path) -> None:
    """Makes one state of a recording in `place`, which is created."""
    with contextlib.closing(Checker(Recording(directory))) as checker:
        checker.make(cut, place)
    print(f"powerfail: made the state of point {cut.point} in {place}")


def sorts(problems: Iterable[str]) -> list[str]:
    """What the problems are about, each once."""
    words = {each.replace(":", " ").split(" ")[0] for each in problems}
    return sorted({word if word in _SORTS else "inconsistent" for word in words})


def _flags(cut: Cut) -> str:
    return f"--point {cut.point} --mode {cut.mode} --state-seed {cut.seed}"


def _show(problems: Sequence[str], most: int = _SHOWN_PROBLEMS) -> None:
    for each in problems[:most]:
        print(f"    - {_short(each)}")
    if len(problems) > most:
        print(f"    … and {len(problems) - most} more")


def _short(problem: str) -> str:
    return problem if len(problem) <= 400 else f"{problem[:400]}…"
