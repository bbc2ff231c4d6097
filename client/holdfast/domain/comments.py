"""Comments on tasks, and on lines of their code in reviews."""

from __future__ import annotations

from holdfast.records.collection import Collection
from holdfast.values import views
from holdfast.values.filters import both, equal
from holdfast.wire.pages import Listing, OnUnreadable


class Comments(Collection["views.Comment"]):
    """The comments of one workspace. Thread-safe."""

    def for_task(
        self,
        task_id: str,
        /,
        *,
        type: str = "",
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.Comment]:
        """Yields the comments on a task, oldest first: those of one type, such as `comment`, or of all types.

        The other options are those of `Records.list`.
        """
        return self._listed(both(equal(task_id=task_id, type=type), filter), order_by, page_size, limit, on_unreadable)

    def reviews(
        self,
        task_id: str,
        /,
        *,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.Comment]:
        """Yields the comments of type `review` on a task, oldest first."""
        wanted = both(equal(task_id=task_id, type="review"), filter)
        return self._listed(wanted, order_by, page_size, limit, on_unreadable)
