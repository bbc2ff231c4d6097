"""Comments on tasks, and on lines of their code in reviews."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.collection import Collection
from holdfast.filters import both, equal
from holdfast.v1 import record_pb2


class Comments(Collection[record_pb2.Comment]):
    """The comments of one workspace. Safe in threads."""

    def for_task(
        self, task_id: str, /, *, filter: str = "", order_by: str = "", page_size: int = 0, limit: int | None = None
    ) -> Iterator[record_pb2.Comment]:
        """The comments on a task of every type, oldest first. The options are those of every `list`."""
        return self._listed(both(equal(task_id=task_id), filter), order_by, page_size, limit)

    def reviews(
        self, task_id: str, /, *, filter: str = "", order_by: str = "", page_size: int = 0, limit: int | None = None
    ) -> Iterator[record_pb2.Comment]:
        """The review comments on a task, oldest first: those of type `review`."""
        return self._listed(both(equal(task_id=task_id, type="review"), filter), order_by, page_size, limit)
