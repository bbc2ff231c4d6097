"""Mutations: what a commit is made of. Pure data, checked before it is queued, applied by `store/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.contract.kinds import Journal, Kind, RecordMessage

# Action numbers as in the contract (`holdfast.v1.Action`) and in the column `changes.action`.
INSERT, UPDATE, DELETE, APPEND, DROP = 1, 2, 3, 4, 5


@dataclass(frozen=True, slots=True)
class Insert:
    """Add a record; an empty id is filled in."""

    kind: Kind
    message: RecordMessage


@dataclass(frozen=True, slots=True)
class Upsert:
    """Add a record, or replace the fields of the mask."""

    kind: Kind
    message: RecordMessage
    mask: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """Replace the fields of the mask; `version` 0 means any."""

    kind: Kind
    message: RecordMessage
    mask: tuple[str, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a record, with `cascade` also what hangs on it; `version` 0 means any."""

    kind: Kind
    id: str
    version: int
    cascade: bool


@dataclass(frozen=True, slots=True)
class Append:
    """Add entries to a journal. Each row holds the values of the journal's fields, in their order, as columns take them."""

    journal: Journal
    parent_kind: str
    parent_id: str
    rows: tuple[Sequence[Any], ...]
    expected_last_number: int | None


Mutation = Insert | Upsert | Update | Delete | Append


@dataclass(frozen=True, slots=True)
class Change:
    """One row of `changes`: what a commit did to one record or journal. The image of a journal is None."""

    kind: str
    id: str
    action: int
    version: int = 0
    parent_kind: str = ""
    first_number: int = 0
    last_number: int = 0
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What one mutation did, and the place of its own change in the commit; a cascade adds further changes, not results."""

    kind: str
    id: str
    version: int = 0
    first_number: int = 0
    last_number: int = 0
    image: bytes | None = None
    ordinal: int = -1  # -1: it changed nothing
