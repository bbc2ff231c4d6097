"""The tables and columns that the store and the registry of kinds need, and the check that a database has them.

The daemon runs the check at start, after migrating, so that a forgotten migration fails the start and not the first call that
uses the column. `tests/architecture/test_schema.py` compares types, keys and indexes with the registry.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from holdfast.contract.kinds import KINDS, STORED_JOURNALS, Journal, Kind, check_storable
from holdfastd.errors import SetupError
from holdfastd.model.codec import child_columns
from holdfastd.model.ordering import MADE

# The tables that do not belong to a kind or a journal.
OWN_TABLES = (
    *("meta", "workspace", "commits", "changes", "request", "counter", "journal"),
    *("blob", "blob_inline", "blob_checksum", "blob_reference", "blob_candidate", "blob_trash"),
)
_IMAGE = {"image": "", "checksum": ""}
_NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Table:
    """A table that a kind or a journal (`owner`) needs. `columns` maps each column to its field; an empty name: no field."""

    name: str
    owner: str
    columns: Mapping[str, str]
    field: str = ""  # of a child table: the repeated field whose elements are its rows

    def lacks(self, found: Collection[str] | None) -> Iterator[str]:
        """The name of each missing thing, for a message. `found`: the columns in the database; None when the table is missing."""
        if found is None:
            yield f"table {self.name} ({_holds(self.owner, self.field)})"
            return
        for column, field in self.columns.items():
            if column not in found:
                yield f"column {column} of table {self.name} ({_holds(self.owner, field)})"


def tables() -> Iterator[Table]:
    """Every table that kinds and stored journals need. Raises TypeError for a field that no table can hold."""
    for shape in (*KINDS.values(), *STORED_JOURNALS.values()):
        check_storable(shape)
    for kind in KINDS.values():
        yield from _kind_tables(kind)
    for journal in STORED_JOURNALS.values():
        yield _journal_table(journal)


def check_schema(columns: Mapping[str, Collection[str]]) -> None:
    """Raises SETUP, with their names, when the database lacks tables or columns that the store or the registry needs.

    columns: the column names of each table in the database.
    """
    lacks = [f"table {name} (of the store itself)" for name in OWN_TABLES if name not in columns]
    lacks += [each for table in tables() for each in table.lacks(columns.get(table.name))]
    if lacks:
        more = f" and {len(lacks) - _NAMED_AT_MOST} more" if len(lacks) > _NAMED_AT_MOST else ""
        raise SetupError(
            f"The database does not fit this holdfastd. It lacks: {', '.join(lacks[:_NAMED_AT_MOST])}{more}. "
            "Write a migration that adds them, or run the version of holdfastd that created this store."
        )


def _kind_tables(kind: Kind) -> Iterator[Table]:
    owner = f"kind {kind.name}"
    own = {each.name: each.name for each in kind.columns}
    yield Table(kind.name, owner, {"workspace": "", **own, **_IMAGE, MADE.name: ""})
    for field in kind.children:
        head = dict.fromkeys(("workspace", "id", "ordinal"), field.name)
        held = {each: f"{field.name}.{each}" if field.member else field.name for each in child_columns(field)}
        yield Table(f"{kind.name}_{field.name}", owner, head | held, field.name)


def _journal_table(journal: Journal) -> Table:
    head = dict.fromkeys(("journal_id", "number", "revision", "create_time"), "")
    return Table(journal.name, f"journal {journal.name}", head | {each.name: each.name for each in journal.columns} | _IMAGE)


def _holds(owner: str, field: str) -> str:
    return f"{owner}, field {field}" if field else owner
