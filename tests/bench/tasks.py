"""The task that the benchmarks list, filter and update: 200 bytes of description, an assignee and two tags."""

from __future__ import annotations

from holdfast.v1 import record_pb2

STATUSES = ("created", "classifying", "planned", "running", "paused", "blocked", "finalizing", "completed", "finished", "failed")
DONE = frozenset({"completed", "finished"})
DESCRIPTION = ("The retry waits for a lock that nobody holds any more; find out who took it and give it back in time. " * 2)[:200]


def make_task(number: int, **fields: object) -> record_pb2.Task:
    """One task. Every tenth one has the same status."""
    about = {"status": STATUSES[number % len(STATUSES)], "priority": "normal", **fields}
    return record_pb2.Task(
        title=f"Repair step {number:,}",
        description=DESCRIPTION,
        assignees=[f"agent-{number % 8}"],
        tags=["retry", f"area-{number % 20}"],
        **about,  # type: ignore[arg-type]
    )
