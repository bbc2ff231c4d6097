"""The lists that the requirements name use an index made for them; no query scans a kind's whole table.

The plans come from SQLite itself (https://sqlite.org/eqp.html), without statistics, as in a new store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from holdfast.contract.kinds import JOURNALS, KINDS, STORED_JOURNALS, FieldType, Journal, Kind, referrers
from holdfastd.model.filters import parse_filter
from holdfastd.model.ordering import Order, parse_order
from holdfastd.store import audits, changes, entry_gaps, query
from holdfastd.store.changes import Era
from holdfastd.store.sql import child_sql, cycle_sql, key_sql, kind_sql, referrers_sql
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.dialect import SQLITE


@dataclass(frozen=True, slots=True)
class Listing:
    """A common list, and the index with the columns that it must use."""

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
    Listing("bug", 'task_id = "t"', "", "bug_by_task", "workspace=? AND task_id=?"),
    Listing("bug", 'status = "open"', "create_time desc", "bug_by_status", "workspace=? AND status=?"),
    Listing("bug", 'severity = "high"', "", "bug_by_severity", "workspace=? AND severity=?"),
    Listing("comment", 'task_id = "t"', "", "comment_by_task", "workspace=? AND task_id=?"),
    Listing("comment", 'task_id = "t" AND type = "review"', "", "comment_by_task_type", "workspace=? AND task_id=? AND type=?"),
    Listing("task", 'initiative_id = "i"', "", "task_by_initiative", "workspace=? AND initiative_id=?"),
    Listing("run", 'task_id = "t"', "", "run_by_task", "workspace=? AND task_id=?"),
    Listing("run", 'workflow = "w@1"', "create_time desc", "run_by_workflow", "workspace=? AND workflow=?"),
    Listing("run", 'status = "running"', "", "run_by_status", "workspace=? AND status=?"),
    Listing("phase_output", 'run_id = "r"', "", "phase_output_by_run", "workspace=? AND run_id=?"),
    Listing("phase_output", 'task_id = "t"', "", "phase_output_by_task", "workspace=? AND task_id=?"),
    Listing("status_update", "", "create_time desc", "status_update_by_create_time", "workspace=?"),
    Listing("status_update", 'task_id = "t"', "create_time desc", "status_update_by_task", "workspace=? AND task_id=?"),
    Listing("design_note", "", "create_time", "design_note_by_create_time", "workspace=?"),
    Listing("design_note", 'create_time > "2026-01-01"', "", "design_note_by_create_time", "workspace=? AND create_time>?"),
    Listing("gate_decision", 'task_id = "t"', "", "gate_decision_by_task", "workspace=? AND task_id=?"),
    Listing("workflow", 'workflow_id = "w"', "workflow_version desc", "workflow_by_workflow_id", "workspace=? AND workflow_id=?"),
    Listing("execution_log", 'run_id = "r"', "", "execution_log_by_run", "workspace=? AND run_id=?"),
    Listing(
        "execution_log",
        'workflow_id = "w" AND start_time >= "2026-01-01"',
        "start_time desc",
        "execution_log_by_start_time",
        "workspace=? AND workflow_id=? AND start_time>?",
    ),
    Listing(
        "execution_log", 'workflow_id = "w"', "create_time desc", "execution_log_by_workflow", "workspace=? AND workflow_id=?"
    ),
    Listing(
        "execution_log",
        'workflow_id = "w" AND workflow_version = 2',
        "create_time desc",
        "execution_log_by_workflow_version",
        "workspace=? AND workflow_id=? AND workflow_version=?",
    ),
    Listing("execution_log", 'status = "failed"', "create_time desc", "execution_log_by_status", "workspace=? AND status=?"),
    Listing(
        "branch",
        'status = "active" AND (activity_time < "2026-01-01" OR (activity_time = null AND create_time < "2026-01-01"))',
        "",
        "branch_by_status",
        "workspace=? AND status=?",
    ),
    Listing("task_state", 'status = "running"', "", "task_state_by_status", "workspace=? AND status=?"),
    Listing("plan", 'to_construct_id = "c"', "", "plan_by_to_construct", "workspace=? AND to_construct_id=?"),
]
MEMBERSHIPS = [("task", "tags"), ("task", "assignees"), ("task", "blocked_by"), ("session", "tags"), ("checkpoint", "tags")]


def plan(database: Connection, statement: query.Query) -> list[str]:
    sql, parameters = statement
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


def some_key(order: Order) -> list[str | int]:
    """A position in the middle of the list, for the plan of a later page."""
    return ["m" if each.field.type is FieldType.STRING else 1 for each in order.keys]


def page_plans(database: Connection, kind: str, text: str, order_by: str) -> list[list[str]]:
    """The plans of the first page and of a later one."""
    order = parse_order(KINDS[kind], order_by)
    places = [None, some_key(order)]
    node = parse_filter(text)
    return [plan(database, query.select_page(SQLITE, KINDS[kind], "default", node, order, each, 100)) for each in places]


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
    steps = plan(database, query.count(SQLITE, KINDS[listing.kind], "default", parse_filter(listing.filter)))
    assert_no_scan(steps)
    assert steps[0].startswith("SEARCH t USING COVERING INDEX"), steps
    assert f"({listing.entered_by}" in steps[0], steps


@pytest.mark.parametrize(("kind", "field"), MEMBERSHIPS)
def test_membership_walks_the_list_in_its_order_and_asks_the_index_of_values(database: Connection, kind: str, field: str) -> None:
    # SQLite stops when the page is full. For a rare value it reads many index entries (8 ms in 50,000 tasks), but no rows, and it
    # sorts nothing. Starting from the value would need a sort.
    for steps in page_plans(database, kind, f'{field}:"x"', ""):
        assert_no_scan(steps)
        assert not [each for each in steps if "TEMP B-TREE" in each], steps
        ways = ("by_value (workspace=? AND value=? AND id=?)", "by_id (workspace=? AND id=? AND value=?)")
        assert any(f"{kind}_{field}_{way}" in each for way in ways for each in steps), steps


def test_the_newest_checkpoint_is_one_step_into_an_index(database: Connection) -> None:
    for steps in page_plans(database, "checkpoint", 'session_id = "s"', "number desc"):
        assert len(steps) == 1


@pytest.mark.parametrize("journal", STORED_JOURNALS.values(), ids=STORED_JOURNALS.keys())
def test_a_journal_is_read_by_its_key(database: Connection, journal: Journal) -> None:
    for descending in (False, True):
        statement = query.read_entries(SQLITE, journal, 1, None, start=5, descending=descending, limit=100)
        steps = plan(database, statement)
        assert_no_scan(steps)
        assert "(journal_id=? AND number>?" in steps[0]
        assert len(steps) == 1, f"sorted: {steps}"


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("after", [None, (3, 4)])
@pytest.mark.parametrize(
    ("journal", "text", "entered"),
    [
        ("transcript", 'task_id = "TASK-001"', "transcript_by_task (task_id=?"),
        ("event", 'task_id = "TASK-001"', "event_by_task (task_id=?"),
        ("event", 'type = "error"', "event_by_type (type=?"),
        ("event", 'task_id = "TASK-001" AND type = "error"', "event_by_task_type (task_id=? AND type=?"),
        (
            "event",
            'task_id = "TASK-001" AND (time > "2026-01-01" OR (time = null AND create_time > "2026-01-01"))',
            "event_by_task (",
        ),
    ],
)
def test_the_entries_of_a_task_or_type_are_found_over_all_parents(
    database: Connection, journal: str, text: str, entered: str, after: tuple[int, int] | None, descending: bool
) -> None:
    statement = query.list_entries(
        SQLITE, JOURNALS[journal], "default", parse_filter(text), after=after, descending=descending, limit=100
    )
    steps = plan(database, statement)
    assert_no_scan(steps)
    assert steps[0].startswith(f"SEARCH e USING INDEX {entered}"), steps
    assert not [each for each in steps if "TEMP B-TREE" in each], steps


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("after", [None, (2, 3, 4)])
def test_entries_of_all_parents_are_read_in_the_order_of_commits(
    database: Connection, after: tuple[int, int, int] | None, descending: bool
) -> None:
    for journal in (each for each in STORED_JOURNALS.values() if each.by_revision):
        asked: dict[str, Any] = {"after": after, "descending": descending, "limit": 100}
        first, *others = plan(database, query.list_by_revision(SQLITE, journal, "default", None, **asked))
        assert f" e USING INDEX {journal.name}_by_revision" in first, first
        assert len(others) == 1 and others[0].startswith("SEARCH j USING ") and "journal_id=?)" in others[0], others
        (steps,) = [plan(database, (entry_gaps.neighbours_sql(journal), (1, 2, 3)))]
        assert_no_scan(steps)


def test_the_tasks_of_an_initiative_are_looked_up_in_one_list(database: Connection) -> None:
    for steps in page_plans(database, "task", 'initiatives:"INIT-001"', ""):
        assert_no_scan(steps)
        assert "SEARCH namer USING COVERING INDEX initiative_task_ids_by_id (id=?)" in steps, steps
        assert not [each for each in steps if "TEMP B-TREE" in each or "CORRELATED" in each], steps


def test_a_field_of_the_record_referred_to_is_looked_up_by_its_key(database: Connection) -> None:
    for steps in page_plans(database, "artifact", 'session_id.construct_id = "c"', ""):
        assert_no_scan(steps)
        assert any("target" in each and "sqlite_autoindex_session_1 (workspace=? AND id=?)" in each for each in steps), steps


@pytest.mark.parametrize(("text", "index"), [("ready = true", "task_by_create_time"), ("ready = false", "task_by_create_time")])
def test_ready_records_are_found_by_one_query_without_a_scan(database: Connection, text: str, index: str) -> None:
    for steps in page_plans(database, "task", text, ""):
        assert_no_scan(steps)
        assert steps[0].startswith(f"SEARCH t USING INDEX {index}"), steps
        assert any("SEARCH edge USING COVERING INDEX task_blocked_by_by_id (workspace=? AND id=?)" in each for each in steps)
        assert any("SEARCH other USING INDEX sqlite_autoindex_task_1 (workspace=? AND id=?)" in each for each in steps), steps
        assert not [each for each in steps if "TEMP B-TREE" in each], steps


@pytest.mark.parametrize("text", ["NOT done = true AND ready = true", "done = false AND ready = false", "done = true"])
def test_records_that_are_done_are_told_by_one_query_without_a_scan(database: Connection, text: str) -> None:
    for steps in page_plans(database, "task", text, ""):
        assert_no_scan(steps)
        assert steps[0].startswith("SEARCH t USING INDEX task_by_create_time"), steps
        assert any(each.startswith("SEARCH own USING ") and "(workspace=? AND id=?)" in each for each in steps), steps
        assert any(each.startswith("SEARCH term USING ") and "(workspace=? AND id=?" in each for each in steps), steps
        assert not [each for each in steps if "TEMP B-TREE" in each], steps


@pytest.mark.parametrize("target", referrers())
def test_referring_records_are_found_by_an_index(database: Connection, target: str) -> None:
    for referrer in referrers()[target]:
        field, reference = referrer.field, referrer.field.reference
        assert reference is not None
        sql = referrers_sql(referrer.kind, field, reference.kind_field)
        (step,) = plan(database, (sql, ("w",) * sql.count("?")))
        column = "value" if field.repeated else field.name
        by_kind = f"{reference.kind_field}=? AND " if reference.kind_field else ""
        assert step.startswith("SEARCH") and f"(workspace=? AND {by_kind}{column}=?" in step, step


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_the_rows_of_a_record_are_read_by_its_key(database: Connection, kind: Kind) -> None:
    statements = [
        kind_sql(kind).image,
        kind_sql(kind).columns,
        kind_sql(kind).update,
        kind_sql(kind).delete,
        kind_sql(kind).exists,
    ]
    statements += [sql for each in kind.children for sql in (child_sql(kind, each).select, child_sql(kind, each).delete)]
    statements += [key_sql(kind, key) for key in kind.keys]
    for sql in statements:
        steps = plan(database, (sql, (1,) * sql.count("?")))  # a delete also queries all tables with references
        assert_no_scan(steps)
        assert all("(workspace=? AND " in each for each in steps), steps


@pytest.mark.parametrize("name", [name for name, each in KINDS.items() if each.readiness])
def test_a_cycle_is_looked_for_from_edge_to_edge(database: Connection, name: str) -> None:
    kind = KINDS[name]
    assert kind.readiness is not None
    steps = plan(database, (cycle_sql(kind, kind.by_name[kind.readiness.waits_for]), (1, 1, 1, 1)))
    index = f"USING COVERING INDEX {name}_blocked_by_by_id (workspace=? AND id=?)"
    assert len([each for each in steps if index in each]) == 2, steps
    assert {each for each in steps if each.startswith("SCAN")} == {"SCAN reached"}, steps


def test_ready_records_of_a_status_use_the_index_of_statuses(database: Connection) -> None:
    for steps in page_plans(database, "task", 'status = "created" AND ready = true', ""):
        assert steps[0].startswith("SEARCH t USING INDEX task_by_status (workspace=? AND status=?"), steps
        assert not [each for each in steps if "TEMP B-TREE" in each], steps


BY_RECORD = "SEARCH changes USING INDEX changes_by_record (workspace=? AND kind=? AND id=? AND "
BY_HISTORY = "SEARCH changes USING INDEX sqlite_autoindex_changes_1 ((revision,ordinal)>(?,?)"
EARLIER = "SEARCH earlier USING INDEX changes_by_record (workspace=? AND kind=? AND id=? AND revision<?)"


@pytest.mark.parametrize(
    ("text", "names", "way"),
    [
        ("", {"kind": "task", "id": "t"}, BY_RECORD),
        ('kind = "task" AND id = "t"', {}, BY_RECORD),
        ('id = "t"', {"kind": "task"}, BY_RECORD),
        ("", {}, BY_HISTORY),
        ('actor = "ann"', {}, BY_HISTORY),
        ('time > "2026-01-01"', {}, BY_HISTORY),
        ('action = "delete"', {"kind": "task"}, BY_HISTORY),
        ('id = "t"', {}, BY_HISTORY),
    ],
)
@pytest.mark.parametrize("descending", [False, True])
def test_the_audit_is_never_sorted(database: Connection, text: str, names: dict[str, str], way: str, descending: bool) -> None:
    statement = audits.select_page(SQLITE, "default", parse_filter(text), after=(3, 4), descending=descending, limit=100, **names)
    way = way.replace("((revision,ordinal)>", "(revision>? AND (revision,ordinal)<") if descending else way
    steps = plan(database, statement)
    assert_no_scan(steps)
    assert steps[0].startswith(way), steps
    assert [each for each in steps if each.startswith("SEARCH earlier")] == [EARLIER, EARLIER], (
        steps
    )  # the image and its checksum
    assert not [each for each in steps if "TEMP B-TREE" in each], steps


def test_the_first_commit_of_a_time_is_found_by_halving(database: Connection) -> None:
    steps = plan(database, (audits.FIRST_AT, (1, 2, 1, 1)))
    assert "SEARCH commits USING INDEX sqlite_autoindex_commits_1 (revision=?)" in steps, steps
    assert {each for each in steps if each.startswith("SCAN")} <= {"SCAN search", "SCAN CONSTANT ROW"}, steps


def test_the_first_commit_of_a_time_is_the_right_one(database: Connection) -> None:
    database.execute("BEGIN")
    try:
        times = [10, 10, 20, 30, 30, 30, 40]
        rows = [(revision, time) for revision, time in enumerate(times, 1)]
        sql = "INSERT INTO commits (revision, commit_time, workspace, actor, request_id) VALUES (?, ?, '', '', '')"
        database.executemany(sql, rows)
        for time in range(5, 46, 5):
            expected = next((revision for revision, each in rows if each >= time), len(rows) + 1)
            assert audits.first_at(database, Era(1, len(rows)), time) == expected, time
    finally:
        database.execute("ROLLBACK")
    assert audits.first_at(database, Era(1, 0), 1) == 1, "expected 1 in an empty store"


@pytest.mark.parametrize(("kinds", "ids", "way"), [(0, 0, BY_HISTORY), (2, 0, BY_HISTORY), (0, 1, BY_HISTORY), (1, 1, BY_RECORD)])
def test_a_watch_reads_on_from_its_place_and_sorts_nothing(database: Connection, kinds: int, ids: int, way: str) -> None:
    sql, count = changes.page_sql(SQLITE, kinds, ids), 5 + kinds + ids
    steps = plan(database, (sql, (1,) * count))
    assert_no_scan(steps)
    assert steps[0].startswith(way), steps
    assert not [each for each in steps if "TEMP B-TREE" in each], steps


def test_a_missing_index_would_be_noticed(database: Connection) -> None:
    database.execute("BEGIN")
    database.execute("DROP INDEX task_by_status")
    try:
        steps = page_plans(database, "task", 'status = "running"', "")[0]
    finally:
        database.execute("ROLLBACK")
    assert "task_by_status" not in steps[0]
