"""Workflows: immutable versions. Each names its parent, the version from which it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.domain.workflow_additions import number_of
from holdfast.domain.workflow_versions import WorkflowWrites, named, named_record, no_version
from holdfast.errors import WorkspaceNotFound
from holdfast.records.collection import Records
from holdfast.records.scans import scan
from holdfast.v1 import record_pb2
from holdfast.values import views
from holdfast.values.filters import both, equal
from holdfast.wire.pages import Found, Gaps, Listing, OnUnreadable, raise_unreadable

if TYPE_CHECKING:
    from holdfast.domain.workflow_diff import WorkflowDiff

PAGE = 1000


class Workflows(WorkflowWrites, Records["views.Workflow"]):
    """The workflows of one workspace. A record is one version; its id is `ship@3`. Thread-safe."""

    def get(self, id: str, /, version: int = 0) -> views.Workflow:
        """Returns one version: `get("ship", 3)`, or by the record's id, `get("ship@3")`. Raises NotFound."""
        return super().get(named_record(id, version))

    def exists(self, id: str, /, version: int = 0) -> bool:
        """Whether the version exists."""
        return super().exists(named_record(id, version))

    def latest(self, workflow_id: str, /) -> views.Workflow:
        """Returns the version with the highest number. Raises NotFound when there is none, DataLoss when it is damaged."""
        if (found := self._latest(workflow_id)) is not None:
            return found.shown
        raise no_version(workflow_id)

    def list_latest(self, *, filter: str = "", on_unreadable: OnUnreadable | None = None) -> Found[views.Workflow]:
        """Returns the latest version of each workflow by workflow id, as of one revision, with one SQL statement.

        With a filter: of those workflows whose latest version matches it. A version that cannot be read is left out:
        `unreadable` of the result names it, and it is logged as a warning, or given to `on_unreadable`, which may raise.
        Raises ResourceExhausted when they exceed 256 MiB together; `list(filter="latest = true")` then reads them page by page.
        """
        gaps = Gaps(on_unreadable)
        found = Found[views.Workflow]()
        for each in self._scanned(both("latest = true", filter), gaps):
            found[each.workflow.workflow_id] = self._value(each.workflow)
        found.unreadable = gaps.unreadable
        return found

    def _scanned(self, filter: str, gaps: Gaps) -> list[record_pb2.Record]:
        try:
            return scan(self._scope, (self._kind.name, filter), gaps=gaps)[0]
        except WorkspaceNotFound:
            return []

    def versions(self, workflow_id: str, /, *, on_unreadable: OnUnreadable | None = None) -> Listing[views.Workflow]:
        """Yields the versions of a workflow that are not deleted, oldest first."""
        return self._listed(equal(workflow_id=named(workflow_id)), "workflow_version", PAGE, None, on_unreadable)

    def lineage(self, workflow_id: str, version: int, /) -> list[views.Workflow]:
        """Returns a version, its parent, its parent's parent and so on. Ends before a deleted version.

        Raises NotFound, DataLoss if one of them is damaged.
        """
        versions = self.versions(workflow_id, on_unreadable=lambda _: None)
        known = {each.workflow_version: each for each in versions}
        line = [known.pop(version) if version in known else self.get(workflow_id, version)]
        while (parent := known.pop(line[-1].parent_version, None)) is not None:
            line.append(parent)
        for damaged in versions.unreadable:
            if number_of(damaged.id) == line[-1].parent_version:
                raise_unreadable(damaged)
        return line

    def diff(self, workflow_id: str, before: int, after: int, /) -> WorkflowDiff:
        """Returns the differences between two versions, with phases and variables by name. Raises NotFound."""
        from holdfast.domain.workflow_diff import diff_of  # imported late: few programs compare workflows

        return diff_of(self.get(workflow_id, before), self.get(workflow_id, after))

    def phases(self, workflow_id: str, version: int | None = None, /) -> list[views.WorkflowPhase]:
        """Returns the phases of a version (default: the latest), in order. Raises NotFound, DataLoss."""
        return list(self._base(workflow_id, version).phases)

    def variables(self, workflow_id: str, version: int | None = None, /) -> list[views.WorkflowVariable]:
        """Returns the variables of a version (default: the latest), in order. Raises NotFound, DataLoss."""
        return list(self._base(workflow_id, version).variables)

    def _base(self, workflow_id: str, version: int | None) -> views.Workflow:
        return self.latest(workflow_id) if version is None else self.get(workflow_id, version)
