"""Tracks the workflow versions that a transaction adds and deletes, and the numbers that the commit will give to them.

Called by `WorkflowWrites`. The numbers hold unless another client adds a version first; then the commit fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.contract.kinds import Kind
from holdfast.domain.audit import AuditLog
from holdfast.errors import WorkspaceNotFound
from holdfast.records.listing import first_message
from holdfast.records.sink import Sink
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Unreadable
from holdfast.values import views
from holdfast.values.filters import equal


@dataclass(frozen=True, slots=True)
class Version:
    """A version: the message to store, with its number and id, and the view that the caller got."""

    wanted: record_pb2.Workflow
    shown: views.Workflow


class Additions:
    """The versions that the steps of a sink add and delete. Always empty for the store's sink, which has no steps."""

    def __init__(self, sink: Sink, kind: Kind) -> None:
        self._sink = sink
        self._kind = kind
        self._audit = AuditLog(sink)
        self._last_stored: dict[str, int] = {}  # by workflow; read once
        self._taken = 0  # the number of the sink's steps that `_added` and `_deleted` include
        self._added: dict[str, list[Version]] = {}
        self._deleted: set[str] = set()

    def last_number(self, workflow_id: str) -> int:
        """Returns the last number given before the transaction's next step; 0 for the store, which gets it from a refusal."""
        return self._stored_number(workflow_id) + len(self._added_to(workflow_id)) if self._sink.deferred else 0

    def versions(self, workflow_id: str) -> list[Version]:
        """Returns the added versions that no later step deletes, in order."""
        added = self._added_to(workflow_id)
        for number, each in enumerate(added, self._stored_number(workflow_id) + 1 if added else 0):
            each.wanted.workflow_version, each.wanted.id = number, record_id(workflow_id, number)
        return [each for each in added if each.wanted.id not in self._deleted]

    def deleted(self) -> set[str]:
        """Returns the ids of the versions that the transaction deletes."""
        self._catch_up()
        return self._deleted

    def _added_to(self, workflow_id: str) -> list[Version]:
        self._catch_up()
        return self._added.get(workflow_id, [])

    def _catch_up(self) -> None:
        """Includes the steps that were added since the last call."""
        steps = self._sink.steps(self._kind)
        for step in steps[self._taken :]:
            if step.mutation.HasField("delete"):
                self._deleted.add(step.mutation.delete.id)
            elif step.mutation.HasField("insert"):
                wanted = record_pb2.Workflow()
                wanted.CopyFrom(step.mutation.insert.record.workflow)
                self._added.setdefault(wanted.workflow_id, []).append(Version(wanted, step.shown))
        self._taken = len(steps)

    def _stored_number(self, workflow_id: str) -> int:
        """The last number that the store gave, including numbers of deleted versions."""
        if workflow_id not in self._last_stored:
            number = self._latest_number(workflow_id)
            while self._was_given(record_id(workflow_id, number + 1)):
                number += 1
            self._last_stored[workflow_id] = number
        return self._last_stored[workflow_id]

    def _latest_number(self, workflow_id: str) -> int:
        """The number of the latest stored version, also of a damaged one; 0 if there is none."""
        damaged: list[Unreadable] = []
        wanted = equal(workflow_id=workflow_id)
        latest = first_message(self._sink.scope, self._kind, wanted, "workflow_version desc", damaged.append)
        if damaged:
            return number_of(damaged[0].id)
        return latest.workflow_version if latest is not None else 0

    def _was_given(self, id: str) -> bool:
        try:
            return next(self._audit.of("workflow", id, limit=1), None) is not None
        except WorkspaceNotFound:
            return False


def record_id(workflow_id: str, number: int) -> str:
    """Returns the id of a version's record."""
    return f"{workflow_id}@{number}"


def number_of(id: str) -> int:
    """Returns the number of a version from its record's id."""
    return int(id.rpartition("@")[2])
