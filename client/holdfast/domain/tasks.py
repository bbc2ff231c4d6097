"""Tasks: pieces of work that agents share, and their dependencies."""

from __future__ import annotations

from holdfast.domain.waiting import Waiting
from holdfast.values import views  # noqa: F401, named in a string: a view class is made when it is first used


class Tasks(Waiting["views.Task"]):
    """The tasks of one workspace: `next_id`, `ready`, `blocked`, and all that a collection has. Thread-safe."""
