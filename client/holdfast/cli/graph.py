"""`graph`: what waits for what, and what came from what, as trees."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.cli import exits
from holdfast.cli.forest import Row, all_rows, below, rows
from holdfast.cli.json_form import json_line
from holdfast.cli.kind_names import kind_named
from holdfast.cli.options import Options
from holdfast.cli.reach import open_store, records_of
from holdfast.cli.table import terminal_columns
from holdfast.cli.text import fitted, one_line, size_text
from holdfast.contract.kinds import KINDS, Kind
from holdfast.errors import InvalidArgument, NotFound
from holdfast.values.filters import both, quoted

if TYPE_CHECKING:
    from holdfast.store import Store

PAGE = 1000
DEFAULT = "tasks"


@dataclass(frozen=True, slots=True)
class Lineage:
    """How the records of a kind hang together: the ids of what a record comes after, and what a line tells of it.

    With a `scope` a graph is that of one value of the field; `scope_kind` is the kind that the value is an id of, if any.
    """

    parents: Callable[[Any], list[str]]
    about: Callable[[Any], list[str]]
    scope: str = ""
    scope_kind: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A record in the graph. `ready` and `done` are None for kinds that wait for nothing."""

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


def graph(options: Options, given: argparse.Namespace) -> int:
    """Prints trees: below each record what comes after it, or with `--reverse` what it comes after."""
    kind = _graph_kind(given.what or DEFAULT)
    lineage = LINEAGES[kind.name]
    if given.ready and kind.readiness is None:
        raise InvalidArgument(f"--ready is for tasks and initiatives; {kind.noun} wait for nothing.", reason="USAGE")
    if lineage.scope and given.id is None:
        scope = lineage.scope_kind or kind.name
        raise InvalidArgument(f"Say whose: `holdfast graph {kind.noun} {scope.upper()}`.", reason="USAGE")
    with open_store(options) as store:
        nodes = _nodes(store, kind, lineage, given)
    _print(kind, nodes, _rows(kind, nodes, given), as_json=options.as_json)
    return exits.OK


def _graph_kind(what: str) -> Kind:
    kind = kind_named(what, verb="graph")
    if kind.name not in LINEAGES:
        known = ", ".join(KINDS[each].noun for each in LINEAGES)
        raise InvalidArgument(f"There is no graph of {kind.noun}. There are: {known}.", reason="USAGE")
    return kind


def _nodes(store: Store, kind: Kind, lineage: Lineage, given: argparse.Namespace) -> dict[str, Node]:
    """What the graph shows of the records, in the order of their creation. Raises NotFound for a scope without any."""
    if given.filter:
        records_of(store, kind).first(filter=given.filter)  # so that what is wrong with it is told where it was written
    wanted = both(given.filter, f"{lineage.scope} = {quoted(given.id)}") if lineage.scope else given.filter
    if lineage.scope_kind:
        records_of(store, KINDS[lineage.scope_kind]).get(given.id)
    ready: set[str] = set()
    if kind.readiness is not None:
        ready = {each.id for each in _all(store, kind, both(wanted, "ready = true"))}
    nodes = {each.id: _node(kind, lineage, each, ready) for each in _all(store, kind, wanted)}
    if lineage.scope and not lineage.scope_kind and not nodes:
        raise NotFound(f"There is no {kind.name} {given.id}.", reason="RECORD_NOT_FOUND")
    return nodes


def _all(store: Store, kind: Kind, filter: str) -> Iterator[Any]:
    return iter(records_of(store, kind).list(filter=filter, page_size=PAGE))


def _node(kind: Kind, lineage: Lineage, message: Any, ready: set[str]) -> Node:
    parents, about = tuple(lineage.parents(message)), tuple(each for each in lineage.about(message) if each)
    if kind.readiness is None:
        return Node(message.id, parents, about, getattr(message, "status", ""))
    status = getattr(message, kind.readiness.status_field)
    done = status in kind.readiness.done_values
    return Node(message.id, parents, about, status, done, message.id in ready and not done)


def _rows(kind: Kind, nodes: Mapping[str, Node], given: argparse.Namespace) -> Iterator[Row]:
    shown = [each for each in nodes.values() if not (given.ready and each.done)]
    children = below({each.id: each.parents for each in shown})
    if given.reverse:
        children = below(children)
    if LINEAGES[kind.name].scope or given.id is None:
        return rows(children, [each.id for each in shown if each.ready]) if given.ready else all_rows(children)
    if given.id not in nodes:
        raise NotFound(f"There is no {kind.name} {given.id} here.", reason="RECORD_NOT_FOUND")
    return rows(children, _starts(nodes[given.id], children, ready_only=given.ready))


def _starts(node: Node, children: Mapping[str, Sequence[str]], *, ready_only: bool) -> list[str]:
    return [node.id] if node.id in children and (node.ready or not ready_only) else []


def _print(kind: Kind, nodes: Mapping[str, Node], found: Iterable[Row], *, as_json: bool) -> None:
    columns = terminal_columns()
    told: set[str] = set()
    for row in found:
        node = nodes[row.id]
        if not as_json:
            line = row.rails + one_line("  ".join(_words(node))) + ("  (see above)" if row.seen else "")
            print(line if columns is None else fitted(line, columns))
        elif row.id not in told:
            print(json_line(_form(kind, node)))
        told.add(row.id)


def _words(node: Node) -> Iterator[str]:
    yield node.id
    status = f"{node.status}, ready" if node.ready else node.status
    yield from (each for each in (status, *node.about) if each)


def _form(kind: Kind, node: Node) -> dict[str, Any]:
    """A node for programs; `parents` are what it comes after."""
    about = {"status": node.status, "about": list(node.about), "parents": list(node.parents), "ready": node.ready}
    return {"kind": kind.name, "id": node.id, **about}
