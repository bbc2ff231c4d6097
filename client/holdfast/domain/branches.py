"""Branches of the code, and the time of the last activity on each."""

from __future__ import annotations

import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.records.collection import Collection
from holdfast.records.writes import CollectionWrites
from holdfast.values import views
from holdfast.values.filters import both, quoted_time
from holdfast.wire.pages import Listing, OnUnreadable


class BranchWrites(CollectionWrites["views.Branch"]):
    """Writes branches."""

    def touch(self, name: str, /) -> views.Branch:
        """Sets the time of the last activity on the branch to now. Raises NotFound."""
        return self.update(name, activity_time=datetime.datetime.now(datetime.UTC))

    def set_status(self, name: str, status: str, /) -> views.Branch:
        """Sets the status of the branch, such as `merged`. Raises NotFound."""
        return self.update(name, status=status)


class Branches(BranchWrites, Collection["views.Branch"]):
    """The branches of one workspace; a branch's name is its id. Thread-safe."""

    def stale(
        self,
        before: datetime.datetime | Timestamp,
        /,
        *,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.Branch]:
        """Yields the active branches without activity since `before`. A branch never touched counts from its creation."""
        time = quoted_time(before)
        untouched = f"(activity_time = null AND create_time < {time})"
        wanted = f'status = "active" AND (activity_time < {time} OR {untouched})'
        return self._listed(both(wanted, filter), order_by, page_size, limit, on_unreadable)
