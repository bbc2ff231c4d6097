"""A store that somebody could use instead, as the benchmarks run it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tests.bench.crew import Prepare
from tests.bench.plan import Workplace

BATCH = 100


class Unavailable(Exception):
    """The rival cannot run on this machine."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name
        self.why = why


@dataclass(frozen=True, slots=True)
class Rival:
    """One rival, up and empty. `prepare(index, *arguments)` gives each of its processes the jobs `one` and `hundred`:

    for so many seconds, entries are made durable one a transaction, and a hundred a transaction. `failure` is what a
    transaction that came to nothing is called, where that can happen.
    """

    name: str
    prepare: Prepare
    arguments: tuple[Any, ...]
    failure: str = ""


OpenRival = Callable[[Workplace], AbstractContextManager[Rival]]
"""Starts a rival for a benchmark; raises Unavailable where it cannot run."""
