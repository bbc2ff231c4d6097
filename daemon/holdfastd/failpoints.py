"""Failpoints: named places where a test can make the daemon die, fail or wait, as in etcd's gofail.

`HOLDFAST_FAILPOINTS="writer.before_commit=kill@20,blobs.after_rename=sleep:0.5"` kills the process with SIGKILL at the 20th hit
of the first point, and sleeps half a second at every hit of the second. When the variable is unset, a hit tests an empty
dictionary and returns.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping


class _Point:
    def __init__(self, action: str, at: int) -> None:
        self.action, _, self.argument = action.partition(":")
        self.at = at
        self.hits = 0

    def run(self) -> None:
        self.hits += 1
        if self.at and self.hits != self.at:
            return
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "sleep":
            time.sleep(float(self.argument))
        else:
            raise OSError(int(self.argument or 5), f"failpoint {self.action}")


def parse(text: str) -> dict[str, _Point]:
    """Failpoints by name. ValueError for a part that is not `name=kill|sleep:SECONDS|fail:ERRNO[@HIT]`."""
    points = {}
    for part in filter(None, text.split(",")):
        name, found, action = part.partition("=")
        action, _, at = action.partition("@")
        if not found or action.partition(":")[0] not in ("kill", "sleep", "fail"):
            raise ValueError(f"{part!r} is no failpoint; write name=kill|sleep:SECONDS|fail:ERRNO, with @N for the Nth hit only")
        points[name.strip()] = _Point(action, int(at or 0))
    return points


_points: Mapping[str, _Point] = parse(os.environ.get("HOLDFAST_FAILPOINTS", ""))


def hit(name: str) -> None:
    """Runs the action that the environment sets for this point, if any."""
    if _points and (point := _points.get(name)) is not None:
        point.run()
