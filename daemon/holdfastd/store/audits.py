"""Pages of the audit: rows of the view `audit` over commits and changes, each update with the image before it.

Rows are in the order of the history, (revision, ordinal). For one record the index by record gives that order. Otherwise the
history is scanned, from the first to the last commit that a filter on the time allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.contract.kinds import JOURNALS, Journal
from holdfastd.model import checksums
from holdfastd.model.filters import Comparison, Node, Operator, comparisons, conjuncts
from holdfastd.model.mutations import NOTE, OWN_ACTIONS, Change
from holdfastd.model.predicates import check
from holdfastd.store import changes
from holdfastd.store.changes import Era, is_intact
from holdfastd.store.conditions import compile_filter
from holdfastd.store.dialect import Dialect, Where
from holdfastd.store.engine import Connection
from holdfastd.store.query import Query, all_of
from holdfastd.store.sql import quoted

AUDIT: Journal = JOURNALS["audit"]
END = 2**63 - 1

Place = tuple[int, int]  # revision and ordinal

_BEFORE = (
    "CASE WHEN e.action = 'update' THEN (SELECT earlier.{column} FROM changes AS earlier"
    " WHERE earlier.workspace = e.workspace AND earlier.kind = e.kind AND earlier.id = e.id"
    f" AND earlier.action <> {NOTE} AND (earlier.revision, earlier.ordinal) < (e.revision, e.ordinal)"
    " ORDER BY earlier.revision DESC, earlier.ordinal DESC LIMIT 1) END"
)
_CHECKED = ", ".join(
    (
        "changes.image_checksum",
        "changes.checksum",
        "e.image",
        _BEFORE.format(column="image_checksum"),
        _BEFORE.format(column="image"),
    )
)
# Within an era (`changes.eras`) commit times never decrease and revisions have no gaps, so a binary search finds the first
# commit of a time.
FIRST_AT = (
    "WITH RECURSIVE search (low, high) AS ("
    "SELECT CAST(? AS BIGINT), CAST(? AS BIGINT)"
    " UNION ALL SELECT CASE WHEN commits.commit_time < ? THEN commits.revision + 1 ELSE low END,"
    " CASE WHEN commits.commit_time < ? THEN high ELSE commits.revision END"
    " FROM search JOIN commits ON commits.revision = (low + high) / 2 WHERE low < high)"
    " SELECT low FROM search WHERE low = high"
)


def first_at(connection: Connection, era: Era, time_ns: int) -> int:
    """The first revision of the era that was committed at that time or later; one more than its last when there is none."""
    row = connection.execute(FIRST_AT, (era.first, era.last + 1, time_ns, time_ns)).fetchone()
    if row is None:  # the search came to a revision without a commit
        changes.check_revisions(connection, era.first - 1, era.last)
        raise ValueError("The search for a time has no result.")
    return int(row[0])


def select_page(
    dialect: Dialect,
    workspace: str,
    node: Node | None,
    *,
    kind: str = "",
    id: str = "",
    revisions: tuple[int, int] = (1, END),
    after: Place | None = None,
    descending: bool = False,
    limit: int,
) -> Query:
    """At most `limit` changes of a workspace, in the order of history or its reverse.

    revisions: the first and the last revision. after: only changes after this place in the order. An empty `kind` or `id` means
    all. Columns: revision, ordinal, number, create_time, those of the audit's message, the checksums of image and change, the
    image, and for an update the checksum of the image before it and that image. `images` checks them.
    Raises InvalidArgument when the filter does not fit the audit.
    """
    conditions = [
        Where(f"{'e.workspace' if is_of_one_record(node, kind, id) else dialect.walked('e.workspace')} = ?", (workspace,))
    ]
    conditions += [Where("e.kind = ?", (kind,))] if kind else []
    conditions += [Where("e.id = ?", (id,))] if id else []
    conditions += _span(revisions, after, descending)
    direction = "DESC" if descending else "ASC"
    where = all_of([*conditions, compile_filter(dialect, AUDIT, node, alias="e")])
    columns = ", ".join(f"e.{quoted(each.name)}" for each in AUDIT.columns)
    sql = (
        f"SELECT e.revision, e.ordinal, e.number, e.create_time, {columns}, {_CHECKED} FROM audit AS e"
        " JOIN changes ON changes.revision = e.revision AND changes.ordinal = e.ordinal"
        f" WHERE {where.sql} ORDER BY e.revision {direction}, e.ordinal {direction} LIMIT ?"
    )
    return sql, (*where.parameters, limit)


def is_of_one_record(node: Node | None, kind: str, id: str) -> bool:
    """Whether a list is that of one record, for which there is an index."""
    return {"kind", "id"} <= _pinned(node) | ({"kind"} if kind else set()) | ({"id"} if id else set())


def walked(
    revisions: tuple[int, int], newest: int, after: Place | None, until: Place | None, descending: bool
) -> tuple[int, int]:
    """The revisions that a page went through: all after the first number, up to the second one.

    until: the place of the last row; None when no more rows follow.
    """
    first, last = revisions[0], min(revisions[1], newest)
    if descending:
        return (until[0] if until else first) - 1, min(last, after[0]) if after else last
    return max(first, after[0] if after else first) - 1, until[0] if until else last


def images(workspace: str, row: Sequence[Any]) -> tuple[bytes | None, bytes | None]:
    """The image of a row of `select_page` and the image before it. ValueError when the row is damaged."""
    revision, ordinal, _, time_ns, *columns, image_checksum, checksum, image, before_checksum, before = row
    actor, kind, id, action, version, parent_kind, first, last, _, request_id, uid, pid = columns
    number = OWN_ACTIONS.get(action, NOTE)
    change = Change(kind, id, number, version, action if number == NOTE else parent_kind, first, last, image)
    known = checksums.of_change(workspace, (revision, ordinal), change, image_checksum, (time_ns, actor, request_id, uid, pid))
    if checksum not in (None, known) or not is_intact(workspace, kind, id, image, image_checksum) or not isinstance(time_ns, int):
        raise ValueError("it is damaged: its checksum differs")
    if not is_intact(workspace, kind, id, before, before_checksum):
        raise ValueError("the change before it is damaged: its checksum differs")
    return image, before


def _span(revisions: tuple[int, int], after: Place | None, descending: bool) -> list[Where]:
    """The conditions for the changes of these revisions that come after the place."""
    first, last = revisions
    if descending:
        place = min(after or (END, END), (last, END))
        return [Where("(e.revision, e.ordinal) < (?, ?)", place), Where("e.revision >= ?", (first,))]
    place = max(after or (0, END), (first - 1, END))
    return [Where("(e.revision, e.ordinal) > (?, ?)", place), Where("e.revision <= ?", (last,))]


def span(connection: Connection, node: Node | None) -> tuple[int, int]:
    """The first and the last revision that the filter's comparisons with revisions and times allow.

    One query for each comparison with a time. After the clock was set back, revisions in between may have other times; the
    filter itself leaves those out.
    """
    lowest, highest = _span_of_revisions(node)
    times = list(_times(node))
    if not times:
        return lowest, highest
    spans = [_span_of_era(connection, era, times) for era in changes.eras(connection)]
    found = [(first, last) for first, last in spans if first <= last]
    return (max(lowest, found[0][0]), min(highest, found[-1][1])) if found else (1, 0)


def _span_of_revisions(node: Node | None) -> tuple[int, int]:
    first, last = 1, END
    for each in conjuncts(node):
        if each.path == ("revision",) and isinstance(revision := check(AUDIT, each).operand, int):
            if each.operator in (Operator.GREATER, Operator.GREATER_EQUAL, Operator.EQUAL):
                first = max(first, revision + (each.operator is Operator.GREATER))
            if each.operator in (Operator.LESS, Operator.LESS_EQUAL, Operator.EQUAL):
                last = min(last, revision - (each.operator is Operator.LESS))
    return first, last


def _span_of_era(connection: Connection, era: Era, times: list[tuple[Operator, int]]) -> tuple[int, int]:
    first, last = era.first, era.last
    for operator, time in times:
        if operator in (Operator.GREATER, Operator.GREATER_EQUAL, Operator.EQUAL):
            first = max(first, first_at(connection, era, time + (operator is Operator.GREATER)))
        if operator in (Operator.LESS, Operator.LESS_EQUAL, Operator.EQUAL):
            last = min(last, first_at(connection, era, time + (operator is not Operator.LESS)) - 1)
    return first, last


def warnings(connection: Connection, node: Node | None) -> list[str]:
    """A warning if the filter compares times and commit times decrease somewhere."""
    set_back = changes.clock_set_back(connection) if any(map(_is_about_time, comparisons(node))) else []
    return [changes.set_back_warning(set_back[-1])] if set_back else []


def _is_about_time(comparison: Comparison) -> bool:
    return comparison.path[0] in ("time", "create_time")


def _pinned(node: Node | None) -> set[str]:
    return {each.path[0] for each in conjuncts(node) if each.operator is Operator.EQUAL}


def _times(node: Node | None) -> Iterator[tuple[Operator, int]]:
    for each in conjuncts(node):
        if _is_about_time(each):
            predicate = check(AUDIT, each)
            if isinstance(predicate.operand, int):
                yield predicate.operator, predicate.operand
