"""What a job is: a name, a function that runs, and a timer. `jobs/scheduler.py` runs them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from holdfastd.model.call import Call

Progress = Callable[[str, int, int], None]
"""Called with the name of a phase, how much of it is done, and the total (0: not known)."""


def quiet(phase: str, done: int, total: int) -> None:
    """Discards the progress of a run on a timer."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class JobRun:
    """The arguments of one run of a job.

    `call` is the caller's, or the daemon's own for a timer. A job calls `call.check()`, or passes `call` to what does, between
    its steps, so that it ends soon when the daemon stops or the caller has gone. A dry run changes nothing.
    """

    call: Call
    dry_run: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = quiet


@dataclass(frozen=True, slots=True)
class Job:
    """A job and its timer. `run` returns counts by name; each job is a class with this method.

    `interval_s`: pause between runs; None for a job without a timer. `is_due` is called before each run on the timer and skips
    it when false; it is called in the main thread, so it must be quick. `at_start`: also run as soon as the daemon serves.
    `log_level`: of runs on the timer whose counts are not all zero.
    """

    name: str
    run: Callable[[JobRun], Mapping[str, int]]
    interval_s: float | None = None
    is_due: Callable[[], bool] = _always
    at_start: bool = False
    log_level: int = logging.INFO
