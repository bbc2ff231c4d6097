"""Comments on tasks, and on lines of their code in reviews."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.records.collection import Collection
from holdfast.values import views
from holdfast.values.filters import both, equal


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
    ) -> Iterator[views.Comment]:
        """Yields the comments on a task, oldest first: those of one type, such as `comment`, or of all types.

        The other options are those of `Records.list`.
        """
        return self._listed(both(equal(task_id=task_id, type=type), filter), order_by, page_size, limit)

    def reviews(
        self, task_id: str, /, *, filter: str = "", order_by: str = "", page_size: int = 0, limit: int | None = None
    ) -> Iterator[views.Comment]:
        """Yields the comments of type `review` on a task, oldest first."""
        return self.for_task(task_id, type="review", filter=filter, order_by=order_by, page_size=page_size, limit=limit)
