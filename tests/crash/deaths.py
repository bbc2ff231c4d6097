"""How a daemon dies in a round: at a named failpoint, at some moment, or while it stops in order."""

from __future__ import annotations

import random
from dataclasses import dataclass

# How often each place is passed in a round, so that the chosen hit is mostly reached.
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
    """`after_s` seconds after the load began the signal comes, if no failpoint was quicker."""

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
    """SIGKILL at any moment."""
    return Death("", 0, rng.uniform(0.0, LOAD_S), orderly=False)


def drawn(rng: random.Random) -> Death:
    """Any death; most are at a failpoint."""
    lot = rng.random()
    if lot < 0.6:
        name = rng.choice(sorted(FAILPOINTS))
        return Death(name, rng.randint(1, FAILPOINTS[name]), LOAD_S, orderly=False)
    if lot < 0.85:
        return timed(rng)
    failpoint = rng.choice((*STOPPING, ""))
    return Death(failpoint, 1 if failpoint else 0, rng.uniform(0.0, LOAD_S), orderly=True)
