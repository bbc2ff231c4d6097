"""Records that wait for others of their kind: tasks and initiatives."""

from __future__ import annotations

from typing import TypeVar

from holdfast.records.collection import Collection
from holdfast.values.filters import both, quoted
from holdfast.wire.pages import Listing, OnUnreadable

M = TypeVar("M")


class Waiting(Collection[M]):
    """A collection whose records list in `blocked_by` the records that must be done first. Thread-safe."""

    def ready(
        self,
        *,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[M]:
        """Yields the records that are not done and whose dependencies are all done. The options are those of `list`."""
        return self._listed(both(self._open("true"), filter), order_by, page_size, limit, on_unreadable)

    def blocked(
        self,
        *,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[M]:
        """Yields the records that are not done and have a dependency that is not done. The options are those of `list`."""
        return self._listed(both(self._open("false"), filter), order_by, page_size, limit, on_unreadable)

    def _open(self, ready: str) -> str:
        readiness = self._kind.readiness
        assert readiness is not None, f"{self._kind.name} waits for nothing"
        unfinished = [f"{readiness.status_field} != {quoted(value)}" for value in readiness.done_values]
        return " AND ".join([f"ready = {ready}", *unfinished])
