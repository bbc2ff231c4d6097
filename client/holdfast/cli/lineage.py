"""Reads the records that `graph` shows, and the references that connect them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.cli.kind_names import kind_named
from holdfast.cli.reach import records_of
from holdfast.cli.text import size_text
from holdfast.contract.kinds import KINDS, Kind
from holdfast.domain.waiting import finished
from holdfast.errors import InvalidArgument, NotFound
from holdfast.values.filters import both, quoted

if TYPE_CHECKING:
    from holdfast.store import Store

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Lineage:
    """How the records of a kind are connected: functions that return a record's predecessors' ids and the words that describe it.

    With a `scope`, a graph contains the records with one value of that field; `scope_kind` is the kind that the value refers to.
    """

    parents: Callable[[Any], list[str]]
    about: Callable[[Any], list[str]]
    scope: str = ""
    scope_kind: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A record in the graph. `ready` and `done` are None for kinds without dependencies."""

    id: str
    parents: tuple[str, ...]
    about: tuple[str, ...]
    status: str
    done: bool | None = None
    ready: bool | None = None


def _waiting(message: Any) -> list[str]:
    return list(message.blocked_by)


def _titled(message: Any) -> list[str]:
    return [message.title]


def _checkpoint(message: Any) -> list[str]:
    return [f"#{message.number}", message.name, ", ".join(message.tags), size_text(message.context_size_bytes)]


def _versions(message: Any) -> list[str]:
    return [f"{message.workflow_id}@{message.parent_version}"] if message.parent_version else []


def _workflow(message: Any) -> list[str]:
    return [message.name, ", ".join(each.name for each in message.phases)]


LINEAGES: Mapping[str, Lineage] = {
    "task": Lineage(_waiting, _titled),
    "initiative": Lineage(_waiting, _titled),
    "checkpoint": Lineage(lambda each: [each.parent_id] if each.parent_id else [], _checkpoint, "session_id", "session"),
    "workflow": Lineage(_versions, _workflow, "workflow_id"),
}


def lineage_of(what: str, id: str | None, *, ready: bool) -> Kind:
    """Returns the kind to graph. Raises InvalidArgument if it has no graph, or if `ready` or a missing id does not suit it."""
    kind = kind_named(what, verb="graph")
    if kind.name not in LINEAGES:
        known = ", ".join(KINDS[each].noun for each in LINEAGES)
        raise InvalidArgument(f"There is no graph of {kind.noun}. There are: {known}.", reason="USAGE")
    if ready and kind.readiness is None:
        raise InvalidArgument(f"--ready is for tasks and initiatives; {kind.noun} wait for nothing.", reason="USAGE")
    if LINEAGES[kind.name].scope and id is None:
        scope = LINEAGES[kind.name].scope_kind or kind.name
        raise InvalidArgument(f"Say whose: `holdfast graph {kind.noun} {scope.upper()}`.", reason="USAGE")
    return kind


def nodes_of(store: Store, kind: Kind, id: str, filter: str) -> dict[str, Node]:
    """Returns the graph's nodes by id, in the order of creation. Raises NotFound for an empty scope."""
    lineage = LINEAGES[kind.name]
    if filter:
        # Raises for a wrong filter, with the position in the user's text.
        records_of(store, kind).first(filter=filter, on_unreadable=lambda _: None)
    wanted = both(filter, f"{lineage.scope} = {quoted(id)}") if lineage.scope else filter
    if lineage.scope_kind:
        records_of(store, KINDS[lineage.scope_kind]).get(id)
    ready, done = _readiness(store, kind, wanted)
    nodes = {each.id: _node(kind, lineage, each, ready, done) for each in _all(store, kind, wanted)}
    if lineage.scope and not lineage.scope_kind and not nodes:
        raise NotFound(f"There is no {kind.name} {id}.", reason="RECORD_NOT_FOUND")
    return nodes


def _readiness(store: Store, kind: Kind, filter: str) -> tuple[set[str], set[str]]:
    """The ids of the records whose dependencies are done, and of those that are done themselves."""
    if kind.readiness is None:
        return set(), set()
    asked = ("ready = true", finished(store.transaction().scope, kind))
    ready, done = ({each.id for each in _all(store, kind, both(filter, one))} for one in asked)
    return ready, done


def _all(store: Store, kind: Kind, filter: str) -> Iterator[Any]:
    return iter(records_of(store, kind).list(filter=filter, page_size=PAGE))


def _node(kind: Kind, lineage: Lineage, message: Any, ready: set[str], done: set[str]) -> Node:
    parents, about = tuple(lineage.parents(message)), tuple(each for each in lineage.about(message) if each)
    if kind.readiness is None:
        return Node(message.id, parents, about, getattr(message, "status", ""))
    status = getattr(message, kind.readiness.status_field)
    is_done = message.id in done
    return Node(message.id, parents, about, status, is_done, message.id in ready and not is_done)
