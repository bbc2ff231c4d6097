"""Records that wait for others of their kind: tasks and initiatives."""

from __future__ import annotations

from typing import TypeVar

from holdfast.contract.kinds import Kind
from holdfast.records.collection import Collection
from holdfast.values.filters import both, quoted
from holdfast.wire.pages import Listing, OnUnreadable
from holdfast.wire.scope import Scope

DONE_SINCE = 4  # the API version that has the filter `done`

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
        """Yields the records that are not done and whose dependencies are all done. The options are those of `list`.

        The workspace's vocabulary says which statuses mean done. A record whose status means failed is not done.
        """
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
        """Yields the records that are not done and have a dependency that is not done; see `ready`."""
        return self._listed(both(self._open("false"), filter), order_by, page_size, limit, on_unreadable)

    def _open(self, ready: str) -> str:
        # In this order the daemon looks at the dependencies of open records only.
        return f"NOT {finished(self._scope, self._kind)} AND ready = {ready}"


def finished(scope: Scope, kind: Kind) -> str:
    """Returns the filter for the records of a kind whose status means done in the workspace.

    A daemon that is too old for this filter is asked for the values that the contract calls done.
    """
    if scope.connection.supports(DONE_SINCE):
        return "done = true"
    readiness = kind.readiness
    assert readiness is not None, f"{kind.name} waits for nothing"
    return f"({' OR '.join(f'{readiness.status_field} = {quoted(value)}' for value in readiness.done_values)})"
