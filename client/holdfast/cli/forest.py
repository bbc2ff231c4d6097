"""Laying out a graph as trees: every node once with what comes after it, and where several lead to it, later only by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

MAX_RAILS = 40  # deeper nodes stand no farther to the right


@dataclass(frozen=True, slots=True)
class Row:
    """One line: the lines that lead to the node, its id, and whether it was shown above with what comes after it."""

    rails: str
    id: str
    seen: bool


def below(parents: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What comes after each node, in the order of the nodes. Parents that are no nodes are left out."""
    found: dict[str, list[str]] = {each: [] for each in parents}
    for id, above in parents.items():
        for parent in dict.fromkeys(above):
            if parent in found:
                found[parent].append(id)
    return found


def roots_of(children: Mapping[str, Sequence[str]]) -> list[str]:
    """The nodes that come after none."""
    under = {child for each in children.values() for child in each}
    return [each for each in children if each not in under]


def rows(children: Mapping[str, Sequence[str]], roots: Iterable[str]) -> Iterator[Row]:
    """The trees of the roots, depth first. Ends for any graph, also one with a cycle."""
    shown: set[str] = set()
    for root in roots:
        yield from _tree(children, root, shown)


def all_rows(children: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """The trees of the whole graph. What only a cycle leads to, which the store does not allow, is not hidden."""
    shown: set[str] = set()
    for root in [*roots_of(children), *children]:
        if root not in shown:
            yield from _tree(children, root, shown)


def _tree(children: Mapping[str, Sequence[str]], root: str, shown: set[str]) -> Iterator[Row]:
    """A stack instead of recursion: a chain may be longer than Python's."""
    stack: list[tuple[str, tuple[bool, ...]]] = [(root, ())]
    while stack:
        id, lasts = stack.pop()
        under = children[id]
        seen = id in shown
        yield Row(_rails(lasts), id, seen and bool(under))
        if seen:
            continue
        shown.add(id)
        rails = lasts[-MAX_RAILS:]
        stack.extend((child, (*rails, place == len(under) - 1)) for place, child in reversed(list(enumerate(under))))


def _rails(lasts: Sequence[bool]) -> str:
    """`lasts` tells for each level down to the node whether it is the last there."""
    if not lasts:
        return ""
    return "".join("   " if each else "│  " for each in lasts[:-1]) + ("└─ " if lasts[-1] else "├─ ")
