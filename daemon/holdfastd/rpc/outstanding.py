"""The calls of each process that gRPC has not ended yet.

gRPC keeps a call, 16 kB and what is not sent of its answer, until the caller has taken the answer, however small it is. It bounds
the calls of a connection, but 400 connections with 256 calls each, whose answers nobody took, had 1.7 GB.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from holdfastd.errors import Exhausted
from holdfastd.model.budget import Holder

OUTSTANDING_MAX = 1_024


class Context(Protocol):
    """gRPC's context of a call."""

    def add_callback(self, callback: object) -> bool:
        """Has it called when gRPC has ended the call. Returns False when it has."""


class Outstanding:
    """For the serving thread alone: it takes new calls, and gRPC's callbacks run in it."""

    def __init__(self) -> None:
        self._calls: dict[tuple[int, int], int] = {}  # by uid and pid

    def begin(self, caller: Holder, context: Context) -> None:
        """Counts a call until it has ended. Raises RESOURCE_EXHAUSTED when its process has too many."""
        process = caller.uid, caller.pid
        count = self._calls.get(process, 0)
        if count >= OUTSTANDING_MAX:
            raise Exhausted(
                f"Process {caller.pid} has {count:,} calls whose answers it has not taken. Take them, or wait.",
                retry_delay_s=1.0,
                limit=OUTSTANDING_MAX,
            )
        if context.add_callback(partial(self._end, process)):
            self._calls[process] = count + 1

    def _end(self, process: tuple[int, int]) -> None:
        left = self._calls[process] - 1
        if left:
            self._calls[process] = left
        else:
            del self._calls[process]
