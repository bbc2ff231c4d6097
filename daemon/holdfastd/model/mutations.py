"""Mutations, the parts of the command `Commit`, and their results. Pure data; `service/` checks them before they are queued.

`row_count`: about how many rows a mutation changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from holdfast.contract.kinds import Journal, Kind, RecordMessage

# Action numbers as in the contract (`holdfast.v1.Action`) and in the column `changes.action`.
INSERT, UPDATE, DELETE, APPEND, DROP, NOTE = 1, 2, 3, 4, 5, 6
# The names of the daemon's actions in the audit. Callers cannot give them to their own.
OWN_ACTIONS = {"insert": INSERT, "update": UPDATE, "delete": DELETE, "append": APPEND, "drop": DROP}


def record_rows(kind: Kind, message: RecordMessage) -> int:
    """The row of the record and those of its child tables."""
    return 1 + sum([len(getattr(message, field.name)) for field in kind.children])


@dataclass(frozen=True, slots=True)
class Insert:
    """Add a record. An empty id is filled in."""

    kind: Kind
    message: RecordMessage

    @property
    def row_count(self) -> int:
        return record_rows(self.kind, self.message)


@dataclass(frozen=True, slots=True)
class Upsert:
    """Add a record, or replace the fields of the mask when it exists. `version` as in `Update`; not 0: it must exist."""

    kind: Kind
    message: RecordMessage
    mask: tuple[str, ...]
    version: int = 0

    @property
    def row_count(self) -> int:
        return record_rows(self.kind, self.message)


@dataclass(frozen=True, slots=True)
class Update:
    """Replace the fields of the mask. `version` is the version expected; 0 means any."""

    kind: Kind
    message: RecordMessage
    mask: tuple[str, ...]
    version: int

    @property
    def row_count(self) -> int:
        return record_rows(self.kind, self.message)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a record; with `cascade` also its dependents. `version` is the version expected; 0 means any."""

    kind: Kind
    id: str
    version: int
    cascade: bool

    @property
    def row_count(self) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Append:
    """Add entries to a journal.

    Each row has the values of the journal's `own_columns`, and last the encoded message. `blobs`: the positions of the entries
    that name blobs.
    """

    journal: Journal
    parent_kind: str
    parent_id: str
    rows: tuple[Sequence[Any], ...]
    expected_last_number: int | None
    blobs: tuple[int, ...] = ()

    @property
    def row_count(self) -> int:
        return len(self.rows) + len(self.blobs)


@dataclass(frozen=True, slots=True)
class Note:
    """Add an action of the caller's own to the audit of a record. `image` is the encoded message."""

    kind: Kind
    id: str
    action: str
    image: bytes

    @property
    def row_count(self) -> int:
        return 1


Mutation = Insert | Upsert | Update | Delete | Append | Note


class Change(NamedTuple):
    """What a commit did to one record or journal. The fields are in the order of the columns of `changes`.

    `image` is None for a journal. Of a note, `parent_kind` is the name of the action.
    """

    kind: str
    id: str
    action: int
    version: int = 0
    parent_kind: str = ""
    first_number: int = 0
    last_number: int = 0
    image: bytes | None = None


class Result(NamedTuple):
    """What one mutation did. `ordinal` is the position of its change in the commit. A cascade adds changes, but no results."""

    kind: str
    id: str
    version: int = 0
    first_number: int = 0
    last_number: int = 0
    image: bytes | None = None
    ordinal: int = -1  # -1: the mutation changed no record
