"""The lists that the requirements name go through an index made for them; none reads a kind's whole table.

Asked of SQLite itself (https://sqlite.org/eqp.html), without statistics, as on a new store.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from holdfastd.model.filters import parse_filter
from holdfastd.model.kinds import JOURNALS, KINDS, FieldType
from holdfastd.model.ordering import Order, parse_order
from holdfastd.store import query
from holdfastd.store.connection import Connection


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that somebody asks for every day, and how far into an index it must come."""

    kind: str
    filter: str
    order_by: str
    index: str
    entered_by: str

    def __str__(self) -> str:
        return f"{self.kind}[{self.filter}]by[{self.order_by or 'create_time'}]"


LISTS = [
    Listing("construct", "", "", "construct_by_create_time", "workspace=?"),
    Listing("construct", 'status = "active"', "", "construct_by_status", "workspace=? AND status=?"),
    Listing("construct", 'type = "agent"', "", "construct_by_type", "workspace=? AND type=?"),
    Listing("session", 'construct_id = "c"', "", "session_by_construct", "workspace=? AND construct_id=?"),
    Listing("session", 'construct_id = "c"', "create_time desc", "session_by_construct", "workspace=? AND construct_id=?"),
    Listing("session", 'status = "active"', "", "session_by_status", "workspace=? AND status=?"),
    Listing("task", "", "create_time desc", "task_by_create_time", "workspace=?"),
    Listing("task", 'status = "running"', "", "task_by_status", "workspace=? AND status=?"),
    Listing("task", 'construct_id = "c"', "", "task_by_construct", "workspace=? AND construct_id=?"),
    Listing("checkpoint", 'session_id = "s"', "", "checkpoint_by_session_time", "workspace=? AND session_id=?"),
    Listing("checkpoint", 'session_id = "s"', "number desc", "checkpoint_by_session", "workspace=? AND session_id=?"),
    Listing(
        "checkpoint", 'session_id = "s" AND tags:"t"', "number desc", "checkpoint_by_session", "workspace=? AND session_id=?"
    ),
    Listing("artifact", 'construct_id = "c"', "", "artifact_by_construct", "workspace=? AND construct_id=?"),
    Listing("artifact", 'session_id = "s"', "", "artifact_by_session", "workspace=? AND session_id=?"),
    Listing("artifact", 'task_id = "t"', "", "artifact_by_task", "workspace=? AND task_id=?"),
    Listing("artifact", 'type = "diff"', "", "artifact_by_type", "workspace=? AND type=?"),
    Listing("link", 'from_kind = "task" AND from_id = "t"', "", "link_by_from", "workspace=? AND from_kind=? AND from_id=?"),
    Listing("link", 'to_kind = "task" AND to_id = "t"', "", "link_by_to", "workspace=? AND to_kind=? AND to_id=?"),
]
MEMBERSHIPS = [("task", "tags"), ("task", "assignees"), ("task", "blocked_by"), ("session", "tags"), ("checkpoint", "tags")]


def plan(database: Connection, statement: query.Query) -> list[str]:
    sql, parameters = statement
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


def some_key(order: Order) -> list[str | int]:
    """A place in the middle of the list, for the plan of a later page."""
    return ["m" if each.field.type is FieldType.STRING else 1 for each in order.keys]


def page_plans(database: Connection, kind: str, text: str, order_by: str) -> list[list[str]]:
    """The plans of the first page and of a later one."""
    order = parse_order(KINDS[kind], order_by)
    places = [None, some_key(order)]
    node = parse_filter(text)
    return [plan(database, query.select_page(KINDS[kind], "default", node, order, each, 100)) for each in places]


def assert_no_scan(steps: list[str]) -> None:
    assert steps
    assert not [each for each in steps if each.startswith("SCAN")], steps


@pytest.mark.parametrize("listing", LISTS, ids=str)
def test_a_page_enters_its_index_and_needs_no_sorting(database: Connection, listing: Listing) -> None:
    for steps in page_plans(database, listing.kind, listing.filter, listing.order_by):
        assert_no_scan(steps)
        assert steps[0].startswith(f"SEARCH t USING INDEX {listing.index} ({listing.entered_by}"), steps
        assert not [each for each in steps if "TEMP B-TREE" in each], f"the whole list is sorted for one page: {steps}"


@pytest.mark.parametrize("listing", LISTS, ids=str)
def test_a_count_reads_an_index_and_no_row(database: Connection, listing: Listing) -> None:
    steps = plan(database, query.count(KINDS[listing.kind], "default", parse_filter(listing.filter)))
    assert_no_scan(steps)
    assert steps[0].startswith("SEARCH t USING COVERING INDEX"), steps
    assert f"({listing.entered_by}" in steps[0], steps


@pytest.mark.parametrize(("kind", "field"), MEMBERSHIPS)
def test_membership_walks_the_list_in_its_order_and_asks_the_index_of_values(database: Connection, kind: str, field: str) -> None:
    # The walk ends when the page is full. A value that hardly any record has makes it long (8 ms in 50,000 tasks), but it
    # touches index entries only and sorts nothing, which a walk from the value would.
    for steps in page_plans(database, kind, f'{field}:"x"', ""):
        assert_no_scan(steps)
        assert not [each for each in steps if "TEMP B-TREE" in each], steps
        index = f"{kind}_{field}_by_value (workspace=? AND value=? AND id=?)"
        assert any(index in each for each in steps), steps


def test_the_newest_checkpoint_is_one_step_into_an_index(database: Connection) -> None:
    for steps in page_plans(database, "checkpoint", 'session_id = "s"', "number desc"):
        assert len(steps) == 1


def test_a_transcript_is_read_by_its_key(database: Connection) -> None:
    for descending in (False, True):
        statement = query.read_entries(JOURNALS["transcript"], 1, None, start=5, descending=descending, limit=100)
        steps = plan(database, statement)
        assert_no_scan(steps)
        assert "(journal_id=? AND number>?" in steps[0]
        assert len(steps) == 1, f"sorted: {steps}"


@pytest.mark.parametrize("after", [None, (3, 4)])
def test_the_entries_of_a_task_are_found_over_all_sessions(database: Connection, after: tuple[int, int] | None) -> None:
    node = parse_filter('task_id = "TASK-001"')
    steps = plan(database, query.list_entries(JOURNALS["transcript"], "default", node, after=after, limit=100))
    assert_no_scan(steps)
    assert steps[0].startswith("SEARCH e USING INDEX transcript_by_task (task_id=?"), steps
    assert not [each for each in steps if "TEMP B-TREE" in each], steps


def test_a_missing_index_would_be_noticed(database: Connection) -> None:
    database.execute("BEGIN")
    database.execute("DROP INDEX task_by_status")
    try:
        steps = page_plans(database, "task", 'status = "running"', "")[0]
    finally:
        database.execute("ROLLBACK")
    assert "task_by_status" not in steps[0]
