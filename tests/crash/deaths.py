"""How the daemon dies in a round: at a failpoint, by SIGKILL at a random moment, or during an orderly stop."""

from __future__ import annotations

import random
from dataclasses import dataclass

# The largest hit count to draw for each failpoint. A round usually passes the failpoint that often.
FAILPOINTS = {
    "writer.in_batch": 60,
    "writer.before_commit": 50,
    "writer.after_commit": 50,
    "blobs.created": 4,
    "blobs.before_sync": 4,
    "blobs.after_sync": 4,
    "blobs.after_rename": 4,
    "blobs.after_directory_sync": 4,
    "blobs.after_commit": 10,
    "sweep.after_commit": 3,
    "sweep.after_unlink": 3,
    "sweep.after_trash_emptied": 1,
    "sweep.after_temporary_removed": 1,
    "checkpoint.before": 1,
    "checkpoint.after": 1,
}
STOPPING = (
    "stop.refusing_calls",
    "stop.writer_drained",
    "checkpoint.before_truncate",
    "checkpoint.after_truncate",
    "stop.marked_clean",
)
LOAD_S = 0.45


@dataclass(frozen=True, slots=True)
class Death:
    """The signal is sent `after_s` seconds after the load starts, unless the failpoint kills the daemon first."""

    failpoint: str
    hit: int
    after_s: float
    orderly: bool  # SIGTERM instead of SIGKILL

    @property
    def environment(self) -> str:
        return f"{self.failpoint}=kill@{self.hit}" if self.failpoint else ""

    def __str__(self) -> str:
        if self.failpoint and not self.orderly:
            return f"{self.failpoint}@{self.hit}"
        where = f" and {self.failpoint}" if self.failpoint else ""
        return f"{'SIGTERM' if self.orderly else 'SIGKILL'} after {self.after_s:.2f} s{where}"


def timed(rng: random.Random) -> Death:
    """SIGKILL at a random moment."""
    return Death("", 0, rng.uniform(0.0, LOAD_S), orderly=False)


def drawn(rng: random.Random) -> Death:
    """A random death: 60% at a failpoint, 25% timed, 15% during an orderly stop."""
    lot = rng.random()
    if lot < 0.6:
        name = rng.choice(sorted(FAILPOINTS))
        return Death(name, rng.randint(1, FAILPOINTS[name]), LOAD_S, orderly=False)
    if lot < 0.85:
        return timed(rng)
    failpoint = rng.choice((*STOPPING, ""))
    return Death(failpoint, 1 if failpoint else 0, rng.uniform(0.0, LOAD_S), orderly=True)
