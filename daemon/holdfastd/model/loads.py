"""The steps of the command `Load`: records and entries of another store, with the fields that the daemon sets otherwise.

`service/loads.py` checks them before they are queued, `store/loads.py` applies them. Pure data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.contract.kinds import Kind, RecordMessage
from holdfastd.model.mutations import Append, record_rows


@dataclass(frozen=True, slots=True)
class LoadedRecord:
    """A record to insert. Version, times and numbers that are set are kept. `item`: its position in the request."""

    item: int
    actor: str
    kind: Kind
    message: RecordMessage

    @property
    def row_count(self) -> int:
        return record_rows(self.kind, self.message)


@dataclass(frozen=True, slots=True)
class LoadedEntries:
    """Successive entries of one journal and one actor. `item`: the position of the first.

    numbers, times_ns: for each entry its number, or 0, and the time of its append, or None, for the ones that an append gives.
    """

    item: int
    actor: str
    append: Append
    numbers: Sequence[int]
    times_ns: Sequence[int | None]

    @property
    def row_count(self) -> int:
        return self.append.row_count

    def without_first(self, count: int) -> LoadedEntries:
        """The entries after the first `count` ones."""
        append = self.append
        blobs = tuple(place - count for place in append.blobs if place >= count)
        rest = replace(append, rows=append.rows[count:], blobs=blobs)
        return replace(self, item=self.item + count, append=rest, numbers=self.numbers[count:], times_ns=self.times_ns[count:])


LoadStep = LoadedRecord | LoadedEntries
