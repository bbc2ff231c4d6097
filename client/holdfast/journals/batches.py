"""Batches of entries for several parents: an append for each parent, and the numbers back in the order of the entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from holdfast.contract.kinds import WORKSPACE
from holdfast.errors import InvalidArgument
from holdfast.v1 import entry_pb2
from holdfast.v1.store_service_pb2 import Append

Number = TypeVar("Number")

# An append for each parent, with the positions of its entries in the batch.
Grouped = list[tuple[Append, list[int]]]


def parent_of(parent_kind: str, parent_id: str) -> str:
    """Returns the id of a parent. That of a workspace itself need not be given."""
    return parent_id or (WORKSPACE if parent_kind == WORKSPACE else "")


def grouped(parent_kind: str, owned: Iterable[tuple[str, entry_pb2.Entry]]) -> Grouped:
    """Groups entries by parent, from pairs of parent id and entry. Raises InvalidArgument for an entry without a parent."""
    appends: dict[str, tuple[Append, list[int]]] = {}
    for place, (owner, entry) in enumerate(owned):
        if not owner:
            raise InvalidArgument(
                f"Entry {place} names no parent: set its task_id, or pass a parent_id for all.",
                reason="VALUE_INVALID",
                metadata={"field": "parent_id"},
            )
        append, places = appends.setdefault(owner, (Append(parent_kind=parent_kind, parent_id=owner), []))
        append.entries.append(entry)
        places.append(place)
    return list(appends.values())


def in_order(appends: Grouped, numbers: Iterable[Sequence[Number]]) -> list[Number]:
    """Returns the numbers of the entries in the order of the batch, from the numbers of each append."""
    found: dict[int, Number] = {}
    for (_, places), given in zip(appends, numbers, strict=True):
        found.update(zip(places, given, strict=True))
    return [found[place] for place in range(len(found))]
