"""Workflows in a transaction: each version stands on the one before it, of this transaction or of the store."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.contract.kinds import Kind
from holdfast.domain.audit import AuditLog
from holdfast.domain.workflow_versions import Following, WorkflowVersions, named_record, placed_after, record_id, says_the_same
from holdfast.domain.workflows import Workflows
from holdfast.errors import NotFound, WorkspaceNotFound
from holdfast.staged.records import StagedRecords
from holdfast.staged.steps import Steps
from holdfast.v1 import record_pb2
from holdfast.values import mutations
from holdfast.values.filters import equal


@dataclass(frozen=True, slots=True)
class _Added:
    """A version that the transaction adds: as it was asked for, and the message that the caller was shown."""

    wanted: record_pb2.Workflow
    shown: record_pb2.Workflow


class StagedWorkflows(WorkflowVersions, StagedRecords[record_pb2.Workflow]):  # type: ignore[misc]  # as `Workflows`
    """Workflows in a transaction.

    What makes a next version reads the latest when it is called, and the commit says which number that must get: when another
    version was stored in between, the whole transaction fails with AlreadyExists. What the latest says already adds no step.
    """

    def __init__(self, steps: Steps, kind: Kind, workflows: Workflows) -> None:
        super().__init__(steps, kind)
        self._workflows = workflows
        self._audit = AuditLog(steps.scope)
        self._last_numbers: dict[str, int] = {}  # that were given in the store, by workflow
        self._added: dict[str, list[_Added]] = {}
        self._gone: set[str] = set()

    def create(self, message: record_pb2.Workflow | None = None, /, **fields: object) -> record_pb2.Workflow:
        """Adds a version as it is given, which gets its number and id when the commit is done; as `Workflows.create`."""
        wanted = mutations.insert(self._kind, message, fields).insert.record.workflow
        self._check_parent(wanted.workflow_id, wanted.parent_version)
        return self._add(wanted)

    def delete(self, id: str, /, version: int = 0, *, cascade: bool = False) -> None:
        """Removes one version; as `Workflows.delete`."""
        super().delete(named_record(id, version), cascade=cascade)
        self._gone.add(named_record(id, version))

    def _next(self, workflow_id: str, following: Following) -> record_pb2.Workflow:
        # The number is read before the latest: whatever is stored after that makes the commit fail.
        last_number = self._last_stored(workflow_id) + len(self._added.get(workflow_id, []))
        latest = self._latest(workflow_id)
        wanted = following(latest.wanted if latest is not None else None)
        if latest is not None and says_the_same(latest.wanted, wanted):
            return latest.shown
        return self._add(placed_after(last_number, wanted))

    def _numbered(self, workflow_id: str, number: int) -> record_pb2.Workflow:
        id = record_id(workflow_id, number)
        for each in self._additions(workflow_id):
            if each.wanted.id == id:
                return each.wanted
        if id in self._gone:
            missing = {"kind": "workflow", "id": id}
            raise NotFound(f"This transaction deletes workflow {id}.", reason="RECORD_NOT_FOUND", metadata=missing)
        return self._workflows.get(id)

    def _add(self, wanted: record_pb2.Workflow) -> record_pb2.Workflow:
        shown = self._stage_insert(wanted, {})
        self._added.setdefault(wanted.workflow_id, []).append(_Added(wanted, shown))
        return shown

    def _latest(self, workflow_id: str) -> _Added | None:
        """The version that will be the latest when the commit is done."""
        if added := self._additions(workflow_id):
            return added[-1]
        stored = self._workflows.list(filter=equal(workflow_id=workflow_id), order_by="workflow_version desc", page_size=2)
        try:
            return next((_Added(each, each) for each in stored if each.id not in self._gone), None)
        except WorkspaceNotFound:
            return None

    def _additions(self, workflow_id: str) -> list[_Added]:
        """The versions of this transaction that it does not delete, under the numbers that they get if nobody else adds one."""
        added = self._added.get(workflow_id, [])
        for number, each in enumerate(added, self._last_stored(workflow_id) + 1 if added else 0):
            each.wanted.workflow_version, each.wanted.id = number, record_id(workflow_id, number)
        return [each for each in added if each.wanted.id not in self._gone]

    def _last_stored(self, workflow_id: str) -> int:
        """The last number that the store gave, also to a version that was deleted since. Read once."""
        if workflow_id not in self._last_numbers:
            latest = self._workflows.first(filter=equal(workflow_id=workflow_id), order_by="workflow_version desc")
            number = latest.workflow_version if latest is not None else 0
            while self._was_given(record_id(workflow_id, number + 1)):
                number += 1
            self._last_numbers[workflow_id] = number
        return self._last_numbers[workflow_id]

    def _was_given(self, id: str) -> bool:
        try:
            return next(self._audit.of("workflow", id, limit=1), None) is not None
        except WorkspaceNotFound:
            return False
