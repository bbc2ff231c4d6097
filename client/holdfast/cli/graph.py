"""Shows a graph as trees. A node with several parents appears below each, but only its first place shows its successors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.cli.json_form import json_line
from holdfast.cli.lineage import LINEAGES, Node
from holdfast.cli.terminal import terminal_columns
from holdfast.cli.text import one_line
from holdfast.contract.kinds import Kind
from holdfast.errors import NotFound

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

MAX_DEPTH = 40  # deeper nodes are not indented further


@dataclass(frozen=True, slots=True)
class Row:
    """One place of a node: its depth, and whether an earlier row already shows its successors."""

    id: str
    depth: int
    seen: bool


def below(parents: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Returns the successors of each node, in the order of the nodes. Parents that are not nodes are ignored."""
    found: dict[str, list[str]] = {each: [] for each in parents}
    for id, above in parents.items():
        for parent in dict.fromkeys(above):
            if parent in found:
                found[parent].append(id)
    return found


def rows(children: Mapping[str, Sequence[str]], roots: Iterable[str]) -> Iterator[Row]:
    """Yields the trees of the roots, depth first. Skips a root that an earlier tree contains. Ends even if there is a cycle."""
    shown: set[str] = set()
    for root in roots:
        if root not in shown:
            yield from _tree(children, root, shown)


def all_rows(children: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """Yields the trees of the whole graph. It also shows nodes that only a cycle leads to, although the store refuses cycles."""
    under = {child for each in children.values() for child in each}
    return rows(children, [*(each for each in children if each not in under), *children])


def _tree(children: Mapping[str, Sequence[str]], root: str, shown: set[str]) -> Iterator[Row]:
    """Uses a stack, because a chain may be longer than Python's recursion limit."""
    stack = [(root, 0)]
    while stack:
        id, depth = stack.pop()
        seen = id in shown
        yield Row(id, depth, seen and bool(children[id]))
        if not seen:
            shown.add(id)
            stack.extend((child, depth + 1) for child in reversed(children[id]))


def rows_of(kind: Kind, nodes: Mapping[str, Node], id: str | None, *, ready: bool, reverse: bool) -> Iterator[Row]:
    """Yields the trees to show: those of all nodes, of the ready nodes, or of one node. Raises NotFound."""
    shown = [each for each in nodes.values() if not (ready and each.done)]
    children = below({each.id: each.parents for each in shown})
    if reverse:
        children = below(children)
    if LINEAGES[kind.name].scope or id is None:
        return rows(children, [each.id for each in shown if each.ready]) if ready else all_rows(children)
    if id not in nodes:
        raise NotFound(f"There is no {kind.name} {id} here.", reason="RECORD_NOT_FOUND")
    return rows(children, [id] if id in children and (nodes[id].ready or not ready) else [])


def draw(nodes: Mapping[str, Node], found: Iterable[Row]) -> None:
    """Prints the trees, cut to the terminal's width."""
    from holdfast.cli.drawing import UNLIMITED, Forest, drawn

    forest = Forest()
    branches: list[Tree] = [forest]
    for row in found:
        depth = min(row.depth, MAX_DEPTH)
        del branches[depth + 1 :]
        branches.append(branches[depth].add(_label(nodes[row.id], row)))
    print(drawn(forest, terminal_columns() or UNLIMITED), end="")


def _label(node: Node, row: Row) -> Text:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis", style="dim" if node.done else "")
    words = (one_line(each) for each in _words(node))
    text.append(next(words), "bold green" if node.ready else "bold")
    text.append("".join(f"  {each}" for each in words))
    return text.append("  (see above)" if row.seen else "", "dim")


def print_json(kind: Kind, nodes: Mapping[str, Node], found: Iterable[Row]) -> None:
    """Prints each node once, in the order of the trees."""
    for id in dict.fromkeys(row.id for row in found):
        print(json_line(_form(kind, nodes[id])))


def _words(node: Node) -> Iterator[str]:
    yield node.id
    status = f"{node.status}, ready" if node.ready else node.status
    yield from (each for each in (status, *node.about) if each)


def _form(kind: Kind, node: Node) -> dict[str, Any]:
    """A node as JSON; `parents` are its predecessors."""
    about = {"status": node.status, "about": list(node.about), "parents": list(node.parents), "ready": node.ready}
    return {"kind": kind.name, "id": node.id, **about}
