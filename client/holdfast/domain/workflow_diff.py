"""Compares two versions of a workflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.values import views
from holdfast.values.fields import plain

_OF_THE_VERSION = ("id", "version", "create_time", "update_time", "workflow_version", "parent_version", "phases", "variables")


@dataclass(frozen=True, slots=True)
class Changed:
    """A value before and after, as `holdfast.plain` shows it."""

    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class PartsDiff:
    """The differences between two lists of parts, by the parts' names. False if there are none."""

    added: Mapping[str, dict[str, Any]]
    removed: Mapping[str, dict[str, Any]]
    changed: Mapping[str, Mapping[str, Changed]]
    reordered: bool  # the parts that both lists have are in another order

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.reordered)


@dataclass(frozen=True, slots=True)
class WorkflowDiff:
    """The differences between two versions: fields, phases and variables, each by name. False if there are none."""

    fields: Mapping[str, Changed]
    phases: PartsDiff
    variables: PartsDiff

    def __bool__(self) -> bool:
        return bool(self.fields or self.phases or self.variables)


def diff_of(before: views.Workflow, after: views.Workflow) -> WorkflowDiff:
    """Returns the differences between two versions, which may belong to different workflows."""
    old, new = plain(before), plain(after)
    told = [name for name in old if name not in _OF_THE_VERSION]
    return WorkflowDiff(
        fields=_changes({name: old[name] for name in told}, {name: new[name] for name in told}),
        phases=_parts(old["phases"], new["phases"]),
        variables=_parts(old["variables"], new["variables"]),
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Changed]:
    return {name: Changed(value, after[name]) for name, value in before.items() if not _same(value, after[name])}


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of equal types at every level: in JSON, 1, 1.0 and true differ."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return all(map(_same, one, other))
    return True


def _parts(before: Iterable[dict[str, Any]], after: Iterable[dict[str, Any]]) -> PartsDiff:
    old, new = {each["name"]: each for each in before}, {each["name"]: each for each in after}
    kept = [name for name in old if name in new]
    changes = {name: _changes(old[name], new[name]) for name in kept}
    return PartsDiff(
        added={name: part for name, part in new.items() if name not in old},
        removed={name: part for name, part in old.items() if name not in new},
        changed={name: fields for name, fields in changes.items() if fields},
        reordered=kept != [name for name in new if name in old],
    )
