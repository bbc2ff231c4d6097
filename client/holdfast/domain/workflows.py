"""Workflows: versions that are never changed. What changes one makes the next version, which knows where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from holdfast import mutations
from holdfast.collection import Collection
from holdfast.domain.workflow_diff import WorkflowDiff, diff_of
from holdfast.errors import NotFound
from holdfast.filters import equal
from holdfast.v1 import record_pb2
from holdfast.values import fill, plain

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

PAGE = 1000
_MADE_BY_THE_STORE = ("id", "version", "create_time", "update_time", "workflow_version", "parent_version")

P = TypeVar("P", record_pb2.WorkflowPhase, record_pb2.WorkflowVariable)


class Workflows(Collection[record_pb2.Workflow]):
    """The workflows of one workspace. A record is one version; its id is `ship@3`. Safe in threads."""

    def store(
        self,
        workflow_id: str,
        message: record_pb2.Workflow | None = None,
        /,
        *,
        parent_version: int | None = None,
        **fields: object,
    ) -> record_pb2.Workflow:
        """Adds the next version of a workflow, made from the fields (or a message) alone, and returns it.

        When it says what the latest version says, nothing is added and that is returned. Its parent is `parent_version`, or
        the latest; of two that are stored at once both are kept, each under a version of its own. Raises InvalidArgument.
        """
        wanted = _made(workflow_id, message, fields)
        latest = self._latest(workflow_id)
        if latest is not None and _said(latest) == _said(wanted):
            return latest
        before = latest.workflow_version if latest is not None else 0
        wanted.parent_version = before if parent_version is None else parent_version
        return self._committed(mutations.insert(self._kind, wanted, {}))

    def get(self, id: str, /, version: int = 0) -> record_pb2.Workflow:
        """One version: `get("ship", 3)`, or by the record's id, `get("ship@3")`. Raises NotFound."""
        return super().get(_record_id(id, version))

    def exists(self, id: str, /, version: int = 0) -> bool:
        """Whether there is that version."""
        return super().exists(_record_id(id, version))

    def delete(self, id: str, /, version: int = 0, *, cascade: bool = False) -> None:
        """Removes one version, named as in `get`; its number is not given again. Raises NotFound, HasDependents when it ran."""
        super().delete(_record_id(id, version), cascade=cascade)

    def latest(self, workflow_id: str, /) -> record_pb2.Workflow:
        """The version with the highest number. Raises NotFound when there is none."""
        if (found := self._latest(workflow_id)) is not None:
            return found
        message = f"Workflow {workflow_id} has no version."
        raise NotFound(message, reason="RECORD_NOT_FOUND", metadata={"kind": "workflow", "id": workflow_id})

    def versions(self, workflow_id: str, /) -> Iterator[record_pb2.Workflow]:
        """All versions of a workflow that there are, the oldest first."""
        return self._listed(equal(workflow_id=_named(workflow_id)), "workflow_version", PAGE, None)

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

    def set_phase(
        self, workflow_id: str, name: str, /, *, base_version: int | None = None, **fields: object
    ) -> record_pb2.Workflow:
        """Derives the next version from `base_version`, or the latest: the phase of that name changed, or a new one at the end.

        Raises NotFound when there is no such version, InvalidArgument.
        """
        workflow = self._base(workflow_id, base_version)
        fill(_part(workflow.phases, name), "workflow.phases", fields)
        return self._derived(workflow)

    def remove_phase(self, workflow_id: str, name: str, /, *, base_version: int | None = None) -> record_pb2.Workflow:
        """Derives the next version without that phase. Raises NotFound when there is no such version or phase."""
        workflow = self._base(workflow_id, base_version)
        _remove(workflow.phases, name, f"Workflow {workflow.id} has no phase {name!r}.")
        return self._derived(workflow)

    def variables(self, workflow_id: str, version: int | None = None, /) -> list[record_pb2.WorkflowVariable]:
        """The variables of a version, or of the latest, in order. Raises NotFound."""
        return list(self._base(workflow_id, version).variables)

    def set_variable(
        self, workflow_id: str, name: str, /, *, base_version: int | None = None, **fields: object
    ) -> record_pb2.Workflow:
        """Derives the next version: the variable of that name changed, or a new one at the end. As `set_phase`."""
        workflow = self._base(workflow_id, base_version)
        fill(_part(workflow.variables, name), "workflow.variables", fields)
        return self._derived(workflow)

    def remove_variable(self, workflow_id: str, name: str, /, *, base_version: int | None = None) -> record_pb2.Workflow:
        """Derives the next version without that variable. As `remove_phase`."""
        workflow = self._base(workflow_id, base_version)
        _remove(workflow.variables, name, f"Workflow {workflow.id} has no variable {name!r}.")
        return self._derived(workflow)

    def _latest(self, workflow_id: str) -> record_pb2.Workflow | None:
        return self.first(filter=equal(workflow_id=_named(workflow_id)), order_by="workflow_version desc")

    def _base(self, workflow_id: str, version: int | None) -> record_pb2.Workflow:
        return self.latest(workflow_id) if version is None else self.get(workflow_id, version)

    def _derived(self, workflow: record_pb2.Workflow) -> record_pb2.Workflow:
        return self.store(workflow.workflow_id, workflow, parent_version=workflow.workflow_version)


def _named(workflow_id: str) -> str:
    if not workflow_id:
        raise TypeError("workflows: name the workflow.")
    return workflow_id


def _record_id(id: str, version: int) -> str:
    return f"{id}@{version}" if version else id


def _made(workflow_id: str, message: record_pb2.Workflow | None, fields: Mapping[str, object]) -> record_pb2.Workflow:
    made = record_pb2.Workflow()
    if message is not None:
        made.CopyFrom(message)
    fill(made, "workflow", fields)
    for name in _MADE_BY_THE_STORE:
        made.ClearField(name)  # type: ignore[arg-type]
    made.workflow_id = _named(workflow_id)
    return made


def _said(workflow: record_pb2.Workflow) -> str:
    """All that a version says, in one form; as text, for Python's 1, 1.0 and True are equal and JSON's are not."""
    content = {name: value for name, value in plain(workflow).items() if name not in _MADE_BY_THE_STORE}
    return json.dumps(content, sort_keys=True)


def _part(parts: RepeatedCompositeFieldContainer[P], name: str) -> P:
    """The part of that name, added when there is none."""
    for each in parts:
        if each.name == name:
            return each
    added = parts.add()
    added.name = name
    return added


def _remove(parts: RepeatedCompositeFieldContainer[P], name: str, missing: str) -> None:
    for each in parts:
        if each.name == name:
            parts.remove(each)
            return
    raise NotFound(missing, reason="RECORD_NOT_FOUND", metadata={"name": name})
