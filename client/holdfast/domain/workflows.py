"""Workflows: versions that are never changed. What changes one makes the next version, which knows where it came from."""

from __future__ import annotations

import time
from collections.abc import Iterator

from holdfast.domain.workflow_diff import WorkflowDiff, diff_of
from holdfast.domain.workflow_versions import (
    Following,
    WorkflowVersions,
    named,
    named_record,
    no_version,
    placed_after,
    record_id,
    says_the_same,
)
from holdfast.errors import AlreadyExists
from holdfast.records.collection import Collection
from holdfast.v1 import record_pb2
from holdfast.values import mutations
from holdfast.values.filters import equal

PAGE = 1000


class Workflows(WorkflowVersions, Collection[record_pb2.Workflow]):  # type: ignore[misc]  # `save` takes fewer sorts of fields
    """The workflows of one workspace. A record is one version; its id is `ship@3`. Safe in threads."""

    def create(self, message: record_pb2.Workflow | None = None, /, **fields: object) -> record_pb2.Workflow:
        """Adds a version as it is given and returns it as stored, whatever the latest says; see `store`.

        Raises ParentNotFound when there is no such parent, InvalidArgument; AlreadyExists when an id is given and not the next.
        """
        step = mutations.insert(self._kind, message, fields)
        wanted = step.insert.record.workflow
        self._check_parent(wanted.workflow_id, wanted.parent_version)
        return self._committed(step)

    def get(self, id: str, /, version: int = 0) -> record_pb2.Workflow:
        """One version: `get("ship", 3)`, or by the record's id, `get("ship@3")`. Raises NotFound."""
        return super().get(named_record(id, version))

    def exists(self, id: str, /, version: int = 0) -> bool:
        """Whether there is that version."""
        return super().exists(named_record(id, version))

    def delete(self, id: str, /, version: int = 0, *, cascade: bool = False) -> None:
        """Removes one version, named as in `get`; its number is not given again. Raises NotFound, HasDependents when it ran."""
        super().delete(named_record(id, version), cascade=cascade)

    def latest(self, workflow_id: str, /) -> record_pb2.Workflow:
        """The version with the highest number. Raises NotFound when there is none."""
        if (found := self._latest(workflow_id)) is not None:
            return found
        raise no_version(workflow_id)

    def versions(self, workflow_id: str, /) -> Iterator[record_pb2.Workflow]:
        """All versions of a workflow that there are, the oldest first."""
        return self._listed(equal(workflow_id=named(workflow_id)), "workflow_version", PAGE, None)

    def lineage(self, workflow_id: str, version: int, /) -> list[record_pb2.Workflow]:
        """A version, the one that it was made from, and so on to the first, or to one that was deleted. Raises NotFound."""
        known = {each.workflow_version: each for each in self.versions(workflow_id)}
        line = [known.pop(version) if version in known else self.get(workflow_id, version)]
        while (parent := known.pop(line[-1].parent_version, None)) is not None:
            line.append(parent)
        return line

    def diff(self, workflow_id: str, before: int, after: int, /) -> WorkflowDiff:
        """What differs between two versions, phases and variables by their names. Raises NotFound."""
        return diff_of(self.get(workflow_id, before), self.get(workflow_id, after))

    def phases(self, workflow_id: str, version: int | None = None, /) -> list[record_pb2.WorkflowPhase]:
        """The phases of a version, or of the latest, in order. Raises NotFound."""
        return list(self._base(workflow_id, version).phases)

    def variables(self, workflow_id: str, version: int | None = None, /) -> list[record_pb2.WorkflowVariable]:
        """The variables of a version, or of the latest, in order. Raises NotFound."""
        return list(self._base(workflow_id, version).variables)

    def _next(self, workflow_id: str, following: Following) -> record_pb2.Workflow:
        last_number, deadline = 0, time.monotonic() + self._scope.connection.timeout_s
        while True:
            latest = self._latest(workflow_id)
            wanted = following(latest)
            if latest is not None and says_the_same(latest, wanted):
                return latest
            last_number = max(last_number, latest.workflow_version if latest is not None else 0)
            try:
                return self._committed(mutations.insert(self._kind, placed_after(last_number, wanted), {}))
            except AlreadyExists as error:  # another's version went in first, or the last ones were deleted
                if time.monotonic() >= deadline:
                    raise
                last_number = _number_before(error)

    def _numbered(self, workflow_id: str, number: int) -> record_pb2.Workflow:
        return super().get(record_id(workflow_id, number))

    def _latest(self, workflow_id: str) -> record_pb2.Workflow | None:
        return self.first(filter=equal(workflow_id=named(workflow_id)), order_by="workflow_version desc")

    def _base(self, workflow_id: str, version: int | None) -> record_pb2.Workflow:
        return self.latest(workflow_id) if version is None else self.get(workflow_id, version)


def _number_before(error: AlreadyExists) -> int:
    """The number before the one that the daemon would have given."""
    return int(error.metadata["next_id"].rpartition("@")[2]) - 1
