"""Where the power is cut: the points of a log, and what of the rest is kept."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from tests.powerfail.records import Linked, Log, Made, Noted, Removed, Renamed, SyncBegan, SyncEnded, Truncated
from tests.powerfail.states import MODES

MODES_A_POINT = 2
_LAST_RECORDS: tuple[tuple[type, ...], ...] = ((SyncEnded,), (Noted,), (Removed,), (Renamed, Linked), (Made,), (Truncated,))


class Cut(NamedTuple):
    """The power is cut before the record with index `point`; `mode` and `seed` choose the state (see `states.py`)."""

    point: int
    mode: str
    seed: int


def plan(log: Log, states: int, rng: random.Random) -> list[Cut]:
    """Draws `states` cuts, by rising point, in two modes each; fewer when the log is short.

    Most records are writes, so points are drawn by the type of the record before them, equally X
    """
    groups = [[index for index, each in enumerate(log, start=1) if isinstance(each, types)] for types in _LAST_RECORDS]
    groups.append([index for index, each in enumerate(log) if isinstance(each, SyncEnded)])
    groups.append(list(_notes_during_syncs(log)))
    wanted = -(-states // MODES_A_POINT)
    points = {point for each in groups for point in rng.sample(each, min(len(each), wanted // (len(groups) + 1)))}
    others = sorted({*range(1, len(log) + 1)} - points)
    points.update(rng.sample(others, min(len(others), wanted - len(points))))
    cuts = [Cut(point, mode, rng.getrandbits(32)) for point in sorted(points) for mode in rng.sample(MODES, MODES_A_POINT)]
    return cuts[:states]


def _notes_during_syncs(log: Log) -> Iterator[int]:
    running = 0
    for point, record in enumerate(log, start=1):
        running += isinstance(record, SyncBegan) - isinstance(record, SyncEnded)
        if running and isinstance(record, Noted):
            yield point
