"""What `State` and `InitiativeTasks` have in common: a record's view together with other records, read as the view is."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from holdfast.values import views
from holdfast.values.fields import plain
from holdfast.values.view_text import html_table


class Joined:
    """A record's view, `message`, and records that belong to it. The fields of the view can be read here too.

    `holdfast.plain`, `dict` and notebooks show the fields of the view, and the other records as one more field.
    """

    __slots__ = ()

    _others: ClassVar[str]  # the attribute with the records that belong to it

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of the view's fields and of the other records, as `holdfast.plain` does."""
        return {**plain(self._view()), self._others: [plain(each) for each in getattr(self, self._others)]}

    def keys(self) -> Sequence[str]:
        """The names of the fields in `dict(…)`."""
        return list(self.to_dict())

    def __getitem__(self, name: str) -> Any:
        return self.to_dict()[name] if name == self._others else self._view()[name]

    __iter__ = None  # `__getitem__` takes names, so this is no sequence

    def time_ns(self, name: str) -> int | None:
        """Returns a time of the view in nanoseconds since 1970; see `View.time_ns`."""
        found: int | None = self._view().time_ns(name)
        return found

    def _repr_html_(self) -> str:
        others = (self._others, list(getattr(self, self._others)))
        return html_table(type(self).__name__, [*self._view()._set_fields(), others])

    def _view(self) -> Any:
        return self.message

    # For type checkers, only the fields below exist.
    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name == "message" or name.startswith("__"):  # a copy that is being made has no view yet
                raise AttributeError(name)
            return getattr(self.message, name)

    else:
        message: Any


class TaskStateFields:
    """The fields of a task's state, for type checkers."""

    __slots__ = ()

    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    task_id: str
    status: str
    current_phase: str
    phases: list[views.PhaseState]
    retries: int
    error: str
    start_time: datetime.datetime | None
    end_time: datetime.datetime | None
    metadata: Any


class InitiativeFields:
    """The fields of an initiative, for type checkers."""

    __slots__ = ()

    id: str
    version: int
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    title: str
    vision: str
    status: str
    owner: str
    decisions: list[views.Decision]
    blocked_by: list[str]
    metadata: Any
    task_ids: list[str]
