"""Builds the SELECTs of lists, counts and journal reads from filters and orders. The use cases run them on a reader.

Pages are found by key, never by OFFSET: SQLite seeks to the row after the key, so where an index has the order, a page deep in
the list costs as much as the first. The text depends only on the shape of the request, not on its values, so that the prepared
statement is reused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.contract.kinds import Journal, Kind
from holdfastd.model.filters import Node, Operator, conjuncts
from holdfastd.model.ordering import Order, OrderKey
from holdfastd.model.predicates import can_be_unset
from holdfastd.store.conditions import compile_filter
from holdfastd.store.dialect import Dialect, Parameter, Where
from holdfastd.store.sql import quoted

Query = tuple[str, tuple[Any, ...]]

# Fields of a journal with an index on (field, journal_id, number).
ENTRY_INDEXES: Mapping[str, tuple[str, ...]] = {"transcript": ("task_id",), "event": ("task_id", "type")}

_MAX_NUMBER = 2**63 - 1


def select_page(
    dialect: Dialect,
    kind: Kind,
    workspace: str,
    node: Node | None,
    order: Order,
    after: Sequence[Parameter] | None,
    limit: int | None,
) -> Query:
    """At most `limit` rows (None: all) of a kind that match the filter, in order, after the row with the key `after`.

    Columns: the record's image and its checksum, then its values of the order's keys; the last of these is the id.
    Raises InvalidArgument when the filter does not fit the kind.
    """
    columns = ", ".join(["t.image", "t.checksum", *(_column("t", each.field.name) for each in order.keys)])
    conditions = [Where("t.workspace = ?", (workspace,)), compile_filter(dialect, kind, node, alias="t")]
    if after is not None:
        conditions.append(_after(order.keys, after))
    where = all_of(conditions)
    terms = ", ".join(_order_term(each) for each in order.keys)
    sql = f"SELECT {columns} FROM {quoted(kind.name)} AS t WHERE {where.sql} ORDER BY {terms}"
    return (sql, where.parameters) if limit is None else (f"{sql} LIMIT ?", (*where.parameters, limit))


def count(dialect: Dialect, kind: Kind, workspace: str, node: Node | None) -> Query:
    """One row with one column: the number of records of the kind that match the filter."""
    where = all_of([Where("t.workspace = ?", (workspace,)), compile_filter(dialect, kind, node, alias="t")])
    return f"SELECT count(*) FROM {quoted(kind.name)} AS t WHERE {where.sql}", where.parameters


def read_entries(
    dialect: Dialect,
    journal: Journal,
    journal_id: int,
    node: Node | None,
    *,
    start: int = 0,
    end: int = 0,
    descending: bool = False,
    limit: int,
) -> Query:
    """At most `limit` entries of one journal by number, from `start` to `end` (both included; `end` 0: no end).

    Columns: number, image, checksum.
    """
    span = Where("e.journal_id = ? AND e.number >= ? AND e.number <= ?", (journal_id, start, end or _MAX_NUMBER))
    where = all_of([span, compile_filter(dialect, journal, node, alias="e")])
    direction = "DESC" if descending else "ASC"
    table = quoted(journal.name)
    sql = f"SELECT e.number, e.image, e.checksum FROM {table} AS e WHERE {where.sql} ORDER BY e.number {direction} LIMIT ?"
    return sql, (*where.parameters, limit)


def list_entries(
    dialect: Dialect,
    journal: Journal,
    workspace: str,
    node: Node | None,
    *,
    parent_kind: str = "",
    parent_id: str = "",
    after: Sequence[Parameter] | None = None,
    descending: bool = False,
    limit: int,
) -> Query:
    """At most `limit` entries of many parents, ordered by (journal_id, number), after the key `after`.

    An empty `parent_kind` or `parent_id` means all. Columns: journal_id, parent_kind, parent_id, number, image, checksum.
    journal_id and number are the key for the next page.
    """
    leader = "j" if parent_kind and parent_id else _leader(journal, node)
    conditions = [Where("j.workspace = ? AND j.journal = ?", (workspace, journal.name))]
    conditions += [Where("j.parent_kind = ?", (parent_kind,))] if parent_kind else []
    conditions += [Where("j.parent_id = ?", (parent_id,))] if parent_id else []
    conditions += [_after_entry(leader, *after, descending=descending)] if after is not None else []
    where = all_of([*conditions, compile_filter(dialect, journal, node, alias="e")])
    direction = "DESC" if descending else "ASC"
    sql = (
        "SELECT e.journal_id, j.parent_kind, j.parent_id, e.number, e.image, e.checksum"
        f" FROM journal AS j JOIN {quoted(journal.name)} AS e ON e.journal_id = j.journal_id"
        f" WHERE {where.sql} ORDER BY {leader}.journal_id {direction}, e.number {direction} LIMIT ?"
    )
    return sql, (*where.parameters, limit)


def list_by_revision(
    dialect: Dialect,
    journal: Journal,
    workspace: str,
    node: Node | None,
    *,
    parent_kind: str = "",
    parent_id: str = "",
    after: Sequence[Parameter] | None = None,
    descending: bool = False,
    limit: int,
) -> Query:
    """As `list_entries`, but in the order of commits: by (revision, journal_id, number), which `after` holds as well.

    Columns: those of `list_entries`, then revision.
    """
    past, direction = ("<", "DESC") if descending else (">", "ASC")
    # CROSS JOIN: SQLite walks the index of revisions, or that of a filter, and finds the parent of each entry. Otherwise it
    # would read all entries of all parents and sort them.
    conditions = [Where("j.journal_id = e.journal_id AND j.workspace = ? AND j.journal = ?", (workspace, journal.name))]
    conditions += [Where("j.parent_kind = ?", (parent_kind,))] if parent_kind else []
    conditions += [Where("j.parent_id = ?", (parent_id,))] if parent_id else []
    conditions += [Where(f"(e.revision, e.journal_id, e.number) {past} (?, ?, ?)", tuple(after))] if after is not None else []
    where = all_of([*conditions, compile_filter(dialect, journal, node, alias="e")])
    sql = (
        "SELECT e.journal_id, j.parent_kind, j.parent_id, e.number, e.image, e.checksum, e.revision"
        f" FROM {quoted(journal.name)} AS e CROSS JOIN journal AS j WHERE {where.sql}"
        f" ORDER BY e.revision {direction}, e.journal_id {direction}, e.number {direction} LIMIT ?"
    )
    return sql, (*where.parameters, limit)


def _leader(journal: Journal, node: Node | None) -> str:
    """The alias of the table that SQLite reads first. ORDER BY must name this table's columns, or SQLite sorts the rows."""
    pinned = ENTRY_INDEXES.get(journal.name, ())
    leads = any(each.operator is Operator.EQUAL and each.path[0] in pinned for each in conjuncts(node))
    return "e" if leads else "j"


def _after_entry(leader: str, journal_id: Parameter, number: Parameter, *, descending: bool) -> Where:
    """The condition for the entries after that one, in a form that can use the indexes of the leading table and the other."""
    past, other = ("<", str(_MAX_NUMBER)) if descending else (">", "0")
    if leader == "e":
        return Where(f"(e.journal_id, e.number) {past} (?, ?)", (journal_id, number))
    return Where(
        # The CAST: PostgreSQL would take the type of the parameter from the other branch, which is a small integer.
        f"j.journal_id {past}= ? AND e.number {past} CASE WHEN j.journal_id = ? THEN CAST(? AS BIGINT) ELSE {other} END",
        (journal_id, journal_id, number),
    )


def _column(alias: str, name: str) -> str:
    return f"{alias}.{quoted(name)}"


def all_of(conditions: Sequence[Where]) -> Where:
    """Conditions joined by AND; those without text are left out."""
    given = [each for each in conditions if each.sql]
    sql = " AND ".join(each.sql for each in given)
    return Where(sql, tuple(parameter for each in given for parameter in each.parameters))


def _order_term(key: OrderKey) -> str:
    """A term of ORDER BY. NULLs come first in ascending and last in descending order: SQLite's default, not PostgreSQL's."""
    column = _column("t", key.field.name)
    direction = "DESC" if key.descending else "ASC"
    if not can_be_unset(key.field):
        return f"{column} {direction}"
    return f"{column} {direction} NULLS {'LAST' if key.descending else 'FIRST'}"


def _after(keys: Sequence[OrderKey], values: Sequence[Parameter]) -> Where:
    """The condition for the rows that come after the row with these values."""
    directions = {each.descending for each in keys}
    if len(directions) == 1 and _vector_works(keys, values):
        return _after_vector(keys, values)
    return all_of([_first_bound(keys[0], values[0]), _after_steps(keys, values)])


def _vector_works(keys: Sequence[OrderKey], values: Sequence[Parameter]) -> bool:
    """Whether one comparison of row values is correct; SQLite seeks best with that.

    For a row with a NULL the comparison is NULL, which excludes the row. That is correct only in ascending order, in which NULLs
    come before the row.
    """
    return None not in values and not (keys[0].descending and any(can_be_unset(each.field) for each in keys))


def _after_vector(keys: Sequence[OrderKey], values: Sequence[Parameter]) -> Where:
    columns = ", ".join(_column("t", each.field.name) for each in keys)
    operator = "<" if keys[0].descending else ">"
    return Where(f"({columns}) {operator} ({', '.join('?' * len(keys))})", tuple(values))


def _first_bound(key: OrderKey, value: Parameter) -> Where:
    """A condition on the first key that `_after_steps` implies. SQLite can use an index for this one."""
    column = _column("t", key.field.name)
    if not key.descending and value is not None:
        return Where(f"{column} >= ?", (value,))
    if key.descending and not can_be_unset(key.field):
        return Where(f"{column} <= ?", (value,))
    return Where(f"{column} IS NULL") if key.descending and value is None else Where("")


def _after_steps(keys: Sequence[OrderKey], values: Sequence[Parameter]) -> Where:
    """One alternative for each key: the keys before it are equal, and this one is past its value."""
    alternatives = []
    for index, (key, value) in enumerate(zip(keys, values, strict=True)):
        same = [_same(*each) for each in zip(keys[:index], values[:index], strict=True)]
        alternatives.append(all_of([*same, _past(key, value)]))
    sql = " OR ".join(f"({each.sql})" for each in alternatives)
    return Where(f"({sql})", tuple(parameter for each in alternatives for parameter in each.parameters))


def _same(key: OrderKey, value: Parameter) -> Where:
    column = _column("t", key.field.name)
    return Where(f"{column} IS NULL") if value is None else Where(f"{column} = ?", (value,))


def _past(key: OrderKey, value: Parameter) -> Where:
    column = _column("t", key.field.name)
    if value is None:
        return Where("1 = 0") if key.descending else Where(f"{column} IS NOT NULL")
    if not key.descending:
        return Where(f"{column} > ?", (value,))
    return Where(f"({column} < ? OR {column} IS NULL)", (value,)) if can_be_unset(key.field) else Where(f"{column} < ?", (value,))
