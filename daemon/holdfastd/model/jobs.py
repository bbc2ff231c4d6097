"""The definition of a job: name, function, timer. `composition.py` lists the jobs, `jobs/scheduler.py` runs them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from holdfastd.model.call import Call

Progress = Callable[[str, int, int], None]
"""Called with the name of a phase, the amount done, and the total (0: not known)."""


def quiet(phase: str, done: int, total: int) -> None:
    """Discards progress; for runs on a timer."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class JobRun:
    """The arguments of one run of a job.

    `call` belongs to the caller of RunJob, or to the timer. Between its steps a job calls `call.check()`, or passes `call` to a
    function that does, so that it ends soon after the daemon stops or the caller goes. A dry run changes nothing.
    """

    call: Call
    dry_run: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = quiet


@dataclass(frozen=True, slots=True)
class Job:
    """A job and its timer. `run` returns counts by name; each job is a class with this method.

    interval_s: pause between runs; None for a job without a timer.
    is_due: called in the main thread before each run on the timer, so it must be quick; False skips the run.
    at_start: also run once as soon as the daemon serves.
    log_level: log level of runs on the timer whose counts are not all zero.
    """

    name: str
    run: Callable[[JobRun], Mapping[str, int]]
    interval_s: float | None = None
    is_due: Callable[[], bool] = _always
    at_start: bool = False
    log_level: int = logging.INFO
