"""Tasks: pieces of work that agents share, and their dependencies."""

from __future__ import annotations

from holdfast.domain.waiting import Waiting
from holdfast.v1 import record_pb2


class Tasks(Waiting[record_pb2.Task]):
    """The tasks of one workspace: `next_id`, `ready`, `blocked`, and all that a collection has. Thread-safe."""
