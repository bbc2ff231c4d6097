"""The versions that a transaction adds to workflows, under the numbers that they get if no other client adds one."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.contract.kinds import Kind
from holdfast.domain.audit import AuditLog
from holdfast.errors import WorkspaceNotFound
from holdfast.records.listing import first_message
from holdfast.records.sink import Sink
from holdfast.v1 import record_pb2
from holdfast.values.filters import equal


@dataclass(frozen=True, slots=True)
class Version:
    """A version as it was asked for, with its number and id, and the message that the caller was given. Stored: both the same."""

    wanted: record_pb2.Workflow
    shown: record_pb2.Workflow


class Additions:
    """What the steps of a sink add and delete. The store's sink has no steps, so there it is always empty."""

    def __init__(self, sink: Sink, kind: Kind) -> None:
        self._sink = sink
        self._kind = kind
        self._audit = AuditLog(sink.scope)
        self._last_stored: dict[str, int] = {}  # by workflow, read once
        self._taken = 0  # how many of the sink's steps the next two are made of
        self._added: dict[str, list[Version]] = {}
        self._deleted: set[str] = set()

    def last_number(self, workflow_id: str) -> int:
        """The last number that was given when the next step applies. The store's is told by the daemon as it refuses: here 0."""
        return self._stored_number(workflow_id) + len(self._added_to(workflow_id)) if self._sink.deferred else 0

    def versions(self, workflow_id: str) -> list[Version]:
        """The added versions that are not deleted again, in order."""
        added = self._added_to(workflow_id)
        for number, each in enumerate(added, self._stored_number(workflow_id) + 1 if added else 0):
            each.wanted.workflow_version, each.wanted.id = number, record_id(workflow_id, number)
        return [each for each in added if each.wanted.id not in self._deleted]

    def deleted(self) -> set[str]:
        """The ids of the versions that the transaction deletes."""
        self._catch_up()
        return self._deleted

    def _added_to(self, workflow_id: str) -> list[Version]:
        self._catch_up()
        return self._added.get(workflow_id, [])

    def _catch_up(self) -> None:
        """Takes the steps that are new since the last call."""
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
        """The last number that the store gave, also to a version that was deleted since."""
        if workflow_id not in self._last_stored:
            wanted = equal(workflow_id=workflow_id)
            latest = first_message(self._sink.scope, self._kind, wanted, "workflow_version desc")
            number = latest.workflow_version if latest is not None else 0
            while self._was_given(record_id(workflow_id, number + 1)):
                number += 1
            self._last_stored[workflow_id] = number
        return self._last_stored[workflow_id]

    def _was_given(self, id: str) -> bool:
        try:
            return next(self._audit.of("workflow", id, limit=1), None) is not None
        except WorkspaceNotFound:
            return False


def record_id(workflow_id: str, number: int) -> str:
    """The id of a version's record."""
    return f"{workflow_id}@{number}"
