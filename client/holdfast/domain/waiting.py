"""Records that wait for others of their kind: tasks and initiatives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from holdfast.records.collection import Collection
from holdfast.values.filters import both, quoted

M = TypeVar("M")


class Waiting(Collection[M]):
    """A collection whose records name others in `blocked_by` that must be done first. Safe in threads."""

    def ready(self, *, filter: str = "", order_by: str = "", page_size: int = 0, limit: int | None = None) -> Iterator[M]:
        """What can be worked on: not done, and everything that it waits for is. The options are those of `list`."""
        return self._listed(both(self._open("true"), filter), order_by, page_size, limit)

    def blocked(self, *, filter: str = "", order_by: str = "", page_size: int = 0, limit: int | None = None) -> Iterator[M]:
        """What is not done and waits for something that is not done either. The options are those of `list`."""
        return self._listed(both(self._open("false"), filter), order_by, page_size, limit)

    def _open(self, ready: str) -> str:
        readiness = self._kind.readiness
        assert readiness is not None, f"{self._kind.name} waits for nothing"
        unfinished = [f"{readiness.status_field} != {quoted(value)}" for value in readiness.done_values]
        return " AND ".join([f"ready = {ready}", *unfinished])
