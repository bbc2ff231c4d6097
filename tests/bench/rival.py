"""The interface of a rival: another store that a program could use instead."""

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
    """A rival that runs and is empty. `prepare(index, *arguments)` returns the jobs `one` and `hundred` for each process.

    A job takes seconds and makes entries durable for that long, one or a hundred per transaction. `failure` is the name of a
    failed transaction in the table, for rivals that have them.
    """

    name: str
    prepare: Prepare
    arguments: tuple[Any, ...]
    failure: str = ""


OpenRival = Callable[[Workplace], AbstractContextManager[Rival]]
"""Starts a rival for a benchmark; raises Unavailable where it cannot run."""
