"""Filters and orders on a real SQLite: the records they find, that text stays data, and that pages are found by seeking."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3.dbapi2 as sqlite
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contract.kinds import JOURNALS, KINDS, FieldType, Kind
from holdfastd.errors import InvalidArgument
from holdfastd.model.filters import And, Comparison, Literal, LiteralKind, Node, Not, Operator, Or, parse_filter
from holdfastd.model.ordering import Order, parse_order
from holdfastd.store import query
from holdfastd.store.conditions import compile_filter
from holdfastd.store.query import ENTRY_INDEXES, Query
from holdfastd.store.sqlite.dialect import SQLITE
from tests.unit.filter_trees import render

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
SESSION, TASK, CHECKPOINT, TRANSCRIPT = KINDS["session"], KINDS["task"], KINDS["checkpoint"], JOURNALS["transcript"]
HOSTILE = ["%", "_", "*", "'", '"', "\\", "x' OR '1'='1", '"; DROP TABLE session; --', "$.k", "é", "😀"]

STRINGS = st.sampled_from(["", "a", "b", "ab", *HOSTILE])
KEYS = st.sampled_from(["k", "", "a.b", 'q"', "0", "\\", "[0]", "é"])
NUMBERS = st.one_of(
    st.integers(-2, 2), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.just(1.0)
)
DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, STRINGS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)
OBJECTS = st.dictionaries(KEYS, DOCUMENTS, max_size=3)
TIMES = st.one_of(st.integers(-3, 3), st.sampled_from([86_400 * 10**9, 2**62]))
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "version": st.integers(1, 3),
            "made": st.integers(0, 2),
            "create_time": TIMES,
            "update_time": TIMES,
            "construct_id": st.one_of(st.none(), STRINGS.filter(bool)),
            "title": STRINGS,
            "status": STRINGS,
            "state": st.none(),
            "agent": STRINGS,
            "metadata": st.one_of(st.none(), DOCUMENTS.map(lambda value: (value,)), OBJECTS.map(lambda value: (value,))),
            "start_time": st.one_of(st.none(), TIMES),
            "end_time": st.none(),
            "tags": st.lists(STRINGS, unique=True, max_size=3),
        }
    ),
    max_size=6,
)

ANYTHING = Literal(LiteralKind.ANYTHING, None)
NULL = Literal(LiteralKind.NULL, None)
TEXT_LITERALS = STRINGS.map(lambda value: Literal(LiteralKind.TEXT, value))
INTEGER_LITERALS = st.integers(-1, 4).map(lambda value: Literal(LiteralKind.INTEGER, value))
BOOLEAN_LITERALS = st.booleans().map(lambda value: Literal(LiteralKind.BOOLEAN, value))
NUMBER_LITERALS = NUMBERS.map(lambda value: Literal(LiteralKind.INTEGER if isinstance(value, int) else LiteralKind.REAL, value))
ORDERINGS = (Operator.LESS, Operator.LESS_EQUAL, Operator.GREATER, Operator.GREATER_EQUAL)
EQUALITIES = st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL])
OPERATORS = st.sampled_from(Operator)


def time_text(time_ns: int) -> str:
    seconds, fraction = divmod(time_ns, 10**9)
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


TIME_LITERALS = TIMES.map(lambda value: Literal(LiteralKind.TEXT, time_text(value)))


def compare(names: Sequence[str], operators: st.SearchStrategy[Operator], literals: st.SearchStrategy[Literal]) -> Any:
    return st.builds(Comparison, st.sampled_from([(name,) for name in names]), operators, literals)


def json_compare(operators: st.SearchStrategy[Operator], literals: st.SearchStrategy[Literal]) -> Any:
    paths = st.lists(KEYS, max_size=2).map(lambda keys: ("metadata", *keys))
    return st.builds(Comparison, paths, operators, literals)


COMPARISONS = st.one_of(
    compare(["title", "construct_id", "status", "id"], OPERATORS, TEXT_LITERALS),
    compare(["construct_id", "start_time"], EQUALITIES, st.just(NULL)),
    compare(["version"], OPERATORS, INTEGER_LITERALS),
    compare(["create_time", "start_time"], OPERATORS, TIME_LITERALS),
    compare(["tags"], st.just(Operator.HAS), TEXT_LITERALS),
    compare(["title", "construct_id", "version", "start_time", "tags", "metadata"], st.just(Operator.HAS), st.just(ANYTHING)),
    json_compare(OPERATORS, st.one_of(TEXT_LITERALS, NUMBER_LITERALS)),
    json_compare(OPERATORS, KEYS.map(lambda value: Literal(LiteralKind.TEXT, value))),
    json_compare(st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL, Operator.HAS]), st.one_of(BOOLEAN_LITERALS, st.just(NULL))),
    json_compare(st.just(Operator.HAS), st.just(ANYTHING)),
)


def several(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[tuple[Node, ...]]:
    return st.lists(nodes, min_size=2, max_size=3).map(tuple)


NODES: st.SearchStrategy[Node] = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(st.builds(Not, inner), st.builds(And, several(inner)), st.builds(Or, several(inner))),
    max_leaves=5,
)


# The oracle: evaluates the filter language on plain Python values.

MISSING = object()


def matches(node: Node, record: dict[str, Any]) -> bool:
    match node:
        case And(inner):
            return all(matches(each, record) for each in inner)
        case Or(inner):
            return any(matches(each, record) for each in inner)
        case Not(inner):
            return not matches(inner, record)
        case Comparison(path, Operator.NOT_EQUAL, literal):
            return not matches(Comparison(path, Operator.EQUAL, literal), record)
        case Comparison(path, operator, literal) if path[0] == "metadata":
            return matches_json(path[1:], operator, literal, record["metadata"])
        case Comparison(path, operator, literal):
            return matches_column(path[0], operator, literal, record[path[0]])


def matches_column(name: str, operator: Operator, literal: Literal, value: Any) -> bool:
    if literal.kind is LiteralKind.ANYTHING:
        return value is not None if name == "start_time" else bool(value)
    if literal.kind is LiteralKind.NULL:
        return value is None
    if name == "tags":
        return literal.value in value
    if name in ("create_time", "start_time"):
        return value is not None and holds("=" if operator is Operator.HAS else operator.value, time_text(value), literal.value)
    if name == "version":
        return holds("=" if operator is Operator.HAS else operator.value, value, literal.value)
    return holds(operator.value, value or "", literal.value)


def holds(operator: str, left: Any, right: Any) -> bool:
    match operator:
        case "=":
            return bool(left == right)
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case ">=":
            return bool(left >= right)
        case _:
            return right in left


def json_kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case _:
            return type(value).__name__


def same(element: Any, value: Any) -> bool:
    return json_kind(element) == json_kind(value) and bool(element == value)


def matches_json(keys: Sequence[str], operator: Operator, literal: Literal, document: tuple[Any] | None) -> bool:
    found: Any = MISSING if document is None else document[0]
    for key in keys:
        found = found.get(key, MISSING) if isinstance(found, dict) else MISSING
    if literal.kind is LiteralKind.ANYTHING:
        return found is not MISSING
    if literal.kind is LiteralKind.NULL and not keys and operator is Operator.EQUAL:
        return found is None or found is MISSING
    if operator is Operator.HAS:
        return json_has(found, literal.value)
    if found is MISSING or json_kind(found) != json_kind(literal.value):
        return False
    return holds(operator.value, found, literal.value)


def json_has(found: Any, value: Any) -> bool:
    if isinstance(found, list):
        return any(same(each, value) for each in found)
    return isinstance(value, str) and isinstance(found, str | dict) and value in found


# The store.


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    database = sqlite.connect(":memory:", isolation_level=None)
    database.execute("PRAGMA foreign_keys = OFF")
    for migration in sorted(MIGRATIONS.glob("*.sql")):
        if not migration.name.endswith(".postgres.sql"):
            database.executescript(migration.read_text())
    yield database
    database.close()


def store(connection: Any, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replaces the sessions; returns the records with their ids."""
    connection.execute("DELETE FROM session_tags")
    connection.execute("DELETE FROM session")
    stored = [{**record, "id": f"s{index}"} for index, record in enumerate(records)]
    names = [*(each.name for each in SESSION.columns), "made"]
    sql = f"INSERT INTO session (workspace, {', '.join(names)}) VALUES (?{', ?' * len(names)})"
    for record in stored:
        document = record["metadata"]
        text = None if document is None else json.dumps(document[0], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        row = {**record, "metadata": text}
        connection.execute(sql, ["default", *(row[name] for name in names)])
        for ordinal, tag in enumerate(record["tags"]):
            connection.execute("INSERT INTO session_tags VALUES ('default', ?, ?, ?)", (record["id"], ordinal, tag))
    # Records with the same ids in another workspace must never be found.
    columns = ", ".join(names)
    connection.execute(f"INSERT INTO session (workspace, {columns}) SELECT 'other', {columns} FROM session")
    connection.execute("INSERT INTO session_tags SELECT 'other', id, ordinal, value FROM session_tags")
    return stored


def page(connection: Any, node: Node | None, order: Order, after: Sequence[Any] | None = None, limit: int = 1000) -> list[Any]:
    return connection.execute(*query.select_page(SQLITE, SESSION, "default", node, order, after, limit)).fetchall()


def found_ids(connection: Any, node: Node | None) -> set[str]:
    return {row[-1] for row in page(connection, node, parse_order(SESSION, ""))}


@given(records=RECORDS, node=NODES)
def test_sql_finds_what_the_evaluator_finds(connection: Any, records: list[dict[str, Any]], node: Node) -> None:
    stored = store(connection, records)
    assert parse_filter(render(node)) == node
    expected = {record["id"] for record in stored if matches(node, record)}
    assert found_ids(connection, node) == expected
    assert found_ids(connection, Not(node)) == {record["id"] for record in stored} - expected
    assert connection.execute(*query.count(SQLITE, SESSION, "default", node)).fetchone() == (len(expected),)


ORDER_FIELDS = ["create_time", "start_time", "construct_id", "title", "version", "id"]
ORDERS = st.lists(st.tuples(st.sampled_from(ORDER_FIELDS), st.booleans()), max_size=3, unique_by=lambda key: key[0]).map(
    lambda keys: ", ".join(f"{name} {'desc' if descending else 'asc'}" for name, descending in keys)
)


def sort(records: list[dict[str, Any]], name: str, descending: bool) -> None:
    """Sorts stably; unset values come first in ascending order."""
    records.sort(key=lambda each: (each[name] is not None, each[name]), reverse=descending)


@given(records=RECORDS, text=ORDERS, limit=st.integers(1, 3))
def test_pages_make_up_the_ordered_list(connection: Any, records: list[dict[str, Any]], text: str, limit: int) -> None:
    check_pages(connection, store(connection, records), text, limit)


def check_pages(connection: Any, stored: Sequence[dict[str, Any]], text: str, limit: int) -> None:
    expected = list(stored)
    order = parse_order(SESSION, text)
    for key in reversed(order.keys):
        sort(expected, key.field.name, key.descending)
    paged: list[str] = []
    after = None
    while rows := page(connection, None, order, after, limit):
        assert len(paged) <= len(expected), "the pages never end"
        paged += [row[-1] for row in rows]
        after = rows[-1][2:]
    assert paged == [record["id"] for record in expected], text


@pytest.mark.parametrize("length", [1, 2, 3])
def test_every_order_pages_over_unset_values(connection: Any, length: int) -> None:
    values = itertools.product((None, 1, 2), (None, "a"), ("", "x"))
    stored = store(connection, [session(start_time=time, construct_id=parent, title=title) for time, parent, title in values])
    for names in itertools.permutations(["start_time", "construct_id", "title"], length):
        for directions in itertools.product(["asc", "desc"], repeat=length):
            text = ", ".join(f"{name} {direction}" for name, direction in zip(names, directions, strict=True))
            check_pages(connection, stored, text, 1)


def session(**changes: Any) -> dict[str, Any]:
    names = [each.name for each in SESSION.columns if each.name != "id"]
    record = dict.fromkeys(names, "") | {"version": 1, "create_time": 0, "update_time": 0, "made": 0, "tags": []}
    unset = dict.fromkeys(("construct_id", "state", "metadata", "start_time", "end_time"))
    return record | unset | changes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('metadata.branch = "main"', {"s0"}),
        ('metadata.branch != "main"', {"s1", "s2"}),
        ("metadata:branch", {"s0", "s1"}),
        ("metadata.branch:*", {"s0", "s1"}),
        ("metadata.branch = null", {"s1"}),
        ("metadata:*", {"s0", "s1"}),
        ("metadata = null", {"s2"}),
        ('metadata.a."odd key" >= 1', {"s0"}),
        ("metadata.a.ok = true", {"s0"}),
        ('metadata.a.ok = "true"', set()),
        ("metadata.labels:x", {"s0"}),
        ("metadata.big = 9007199254740993", {"s0"}),
        ("metadata.big = 9007199254740992", set()),
        ('tags:"urgent" AND NOT tags:later', {"s0"}),
        ("-tags:*", {"s2"}),
        ('construct_id = ""', {"s1", "s2"}),
        ("construct_id != c", {"s1", "s2"}),
        ('construct_id < "b"', {"s1", "s2"}),
        ("start_time > 2026-01-01", {"s1"}),
        ("NOT start_time > 2026-01-01", {"s0", "s2"}),
        ('title:"50%"', {"s1"}),
        ('title:"5_"', set()),
        ("title:fix", {"s0"}),
        ("title:Fix", set()),
    ],
)
def test_examples(connection: Any, text: str, expected: set[str]) -> None:
    inside = {"odd key": 1.5, "ok": True}
    metadata = {"branch": "main", "a": inside, "labels": ["x", "y"], "big": 2**53 + 1}
    records = [
        session(title="fix it", construct_id="c", tags=["urgent"], metadata=(metadata,)),
        session(title="50% of it", tags=["later", "urgent"], metadata=({"branch": None},), start_time=2**62),
        session(),
    ]
    store(connection, records)
    assert found_ids(connection, parse_filter(text)) == expected


@pytest.mark.parametrize("text", HOSTILE)
def test_text_stays_data(connection: Any, text: str) -> None:
    store(connection, [session(title=text, metadata=({text: text},), tags=[text]), session(title="other")])
    literal = Literal(LiteralKind.TEXT, text)
    for path in (("title",), ("tags",), ("metadata",), ("metadata", text)):
        node = Comparison(path, Operator.HAS, literal)
        where = compile_filter(SQLITE, SESSION, node, alias="t")
        assert len(text) == 1 or text not in where.sql
        assert where.sql.count("?") == len(where.parameters)
        assert found_ids(connection, parse_filter(render(node))) == {"s0"}


def test_the_text_of_a_statement_depends_on_no_value() -> None:
    def text(value: str, after: tuple[object, ...]) -> str:
        node = parse_filter(f'title = "{value}" AND metadata.{value} > {len(value)} AND tags:{value}')
        return query.select_page(SQLITE, SESSION, value, node, parse_order(SESSION, ""), after, len(value))[0]

    assert text("a", (1, "x")) == text("abc", (2, "y"))


def test_the_largest_filters_run(connection: Any) -> None:
    store(connection, [session(metadata=({"a": 1},))])
    wide = " AND ".join(["metadata.a = 1"] * 200)
    assert found_ids(connection, parse_filter(wide)) == {"s0"}
    deep = "NOT (" * 31 + "NOT metadata:b OR metadata.a != 1" + ")" * 31
    assert found_ids(connection, parse_filter(deep)) == set()


def test_damaged_json_matches_nothing_and_fails_nothing(connection: Any) -> None:
    store(connection, [session(metadata=({"a": 1},)), session(metadata=({"a": 1},))])
    connection.execute("UPDATE session SET metadata = '{\"a\":' WHERE id = 's0'")
    for text in ("metadata.a = 1", "metadata:a", "metadata.a:*"):
        assert found_ids(connection, parse_filter(text)) == {"s1"}
    assert found_ids(connection, parse_filter("NOT metadata:a")) == {"s0"}


def test_a_filter_that_does_not_fit_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(InvalidArgument) as caught:
            query.count(SQLITE, SESSION, "default", parse_filter("titel = x"))
        assert caught.value.reason == "FIELD_UNKNOWN"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("value > 1", {"high"}),
        ("value >= 0.5", {"high", "low"}),
        ("NOT value >= 0.5", {"unset"}),
        ("value = null", {"unset"}),
        ("value:*", {"high", "low"}),
        ("active = true", {"high"}),
        ("active != true", {"low", "unset"}),
        ("active:*", {"high"}),
        ('note = ""', {"low", "unset"}),
        ('note > ""', {"high"}),
        ("note = null", {"unset"}),
        ("note:*", {"high", "low"}),
    ],
)
def test_types_that_no_kind_has_yet(connection: Any, text: str, expected: set[str]) -> None:
    """A number and a string with presence, and a boolean."""
    plain = TASK.by_name["title"]
    fields = (
        TASK.by_name["id"],
        replace(plain, name="value", type=FieldType.REAL, optional=True),
        replace(plain, name="active", type=FieldType.BOOLEAN),
        replace(plain, name="note", optional=True),
    )
    gauge = Kind(name="gauge", message_class=TASK.message_class)
    gauge.__dict__["fields"] = fields  # in place of those that would be read from the message
    connection.execute("DROP TABLE IF EXISTS gauge")
    connection.execute(
        "CREATE TABLE gauge (workspace TEXT, id TEXT, value DOUBLE PRECISION, active BIGINT, note TEXT, image BYTEA,"
        " checksum BIGINT, made BIGINT)"
    )
    rows = [("high", 1.5, 1, "n"), ("low", 0.5, 0, ""), ("unset", None, 0, None)]
    connection.executemany("INSERT INTO gauge VALUES ('default', ?, ?, ?, ?, NULL, NULL, 0)", rows)
    asked = query.select_page(SQLITE, gauge, "default", parse_filter(text), parse_order(gauge, "value"), None, 9)
    assert {row[-1] for row in connection.execute(*asked)} == expected


# SQLite's query plans.


def plan(connection: Any, asked: Query) -> str:
    return "; ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}", asked[1]))


@pytest.mark.parametrize("after", [None, (5, 7, "x")])
@pytest.mark.parametrize(
    ("kind", "text", "order", "index"),
    [
        (TASK, "", "", "task_by_create_time"),
        (TASK, "", "create_time desc", "task_by_create_time"),
        (TASK, 'status = "running"', "", "task_by_status"),
        (TASK, 'status = "running" AND title:x', "create_time desc", "task_by_status"),
        (TASK, "construct_id = c", "", "task_by_construct"),
        (TASK, 'construct_id = ""', "", "task_by_construct"),
        (SESSION, "construct_id = c", "create_time desc", "session_by_construct"),
        (CHECKPOINT, "session_id = s", "number desc", "checkpoint_by_session"),
        (CHECKPOINT, 'session_id = s AND tags:"before"', "number desc", "checkpoint_by_session"),
        (KINDS["artifact"], "type = diff", "", "artifact_by_type"),
    ],
)
def test_lists_are_found_by_seeking(connection: Any, kind: Any, text: str, order: str, index: str, after: Any) -> None:
    shown = plan(connection, query.select_page(SQLITE, kind, "default", parse_filter(text), parse_order(kind, order), after, 100))
    assert f"SEARCH t USING INDEX {index}" in shown
    assert "TEMP B-TREE" not in shown
    assert "SCAN" not in shown
    if after is not None:
        assert ",made,id)>(?,?,?)" in shown or ",made,id)<(?,?,?)" in shown


def test_a_later_page_of_a_mixed_order_enters_at_its_place(connection: Any) -> None:
    order = parse_order(SESSION, "create_time desc, title")
    shown = plan(connection, query.select_page(SQLITE, SESSION, "default", None, order, (5, "x", 7, "y"), 100))
    assert "session_by_create_time (workspace=? AND create_time<?)" in shown


def test_members_are_found_by_value(connection: Any) -> None:
    shown = plan(connection, query.count(SQLITE, TASK, "default", parse_filter("tags:urgent")))
    assert "COVERING INDEX task_tags_by_value (workspace=? AND value=? AND id=?)" in shown


def steps(connection: Any, asked: Query) -> int:
    """The number of SQLite VM instructions that the query takes."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    connection.set_progress_handler(count, 1)
    try:
        connection.execute(*asked).fetchall()
    finally:
        connection.set_progress_handler(None, 1)
    return counted


@pytest.mark.parametrize("text", ["", "create_time desc", "status, create_time", "status desc, create_time desc"])
def test_a_deep_page_costs_what_the_first_costs(connection: Any, text: str) -> None:
    store(connection, [session(create_time=number, status="active", tags=["t"]) for number in range(2000)])
    order = parse_order(SESSION, text)
    ids = [row[-1] for row in page(connection, None, order, limit=2000)]
    assert len(ids) == 2000
    deep = page(connection, None, order, limit=1900)[-1][2:]
    first = steps(connection, query.select_page(SQLITE, SESSION, "default", None, order, None, 20))
    last = steps(connection, query.select_page(SQLITE, SESSION, "default", None, order, deep, 20))
    assert [row[-1] for row in page(connection, None, order, deep, 20)] == ids[1900:1920]
    assert last < 2 * first


# Journals.


@pytest.fixture
def transcripts(connection: Any) -> Any:
    """Three journals of 500 entries in `default`, and one of another workspace with ids between theirs."""
    connection.execute("DELETE FROM transcript")
    connection.execute("DELETE FROM journal")
    journals = [
        (1, "default", "session", "a"),
        (2, "default", "task", "a"),
        (3, "other", "session", "a"),
        (4, "default", "session", "b"),
    ]
    for journal_id, workspace, kind, parent in journals:
        connection.execute("INSERT INTO journal VALUES (?, ?, 'transcript', ?, ?, 1)", (journal_id, workspace, kind, parent))
        connection.executemany(
            "INSERT INTO transcript (journal_id, number, revision, create_time, task_id, phase, iteration, role, content)"
            " VALUES (?, ?, ?, ?, ?, 'plan', 0, 'prompt', 'text')",
            [(journal_id, number, number, number, f"T{number % 2}") for number in range(1, 501)],
        )
    return connection


def listed(connection: Any, text: str = "", **asked: Any) -> list[tuple[int, int]]:
    rows = connection.execute(*query.list_entries(SQLITE, TRANSCRIPT, "default", parse_filter(text), **asked)).fetchall()
    return [(row[0], row[3]) for row in rows]


def test_entries_of_one_journal(transcripts: Any) -> None:
    def numbers(text: str = "", **asked: Any) -> list[int]:
        sql, parameters = query.read_entries(SQLITE, TRANSCRIPT, 1, parse_filter(text), **asked)
        return [row[0] for row in transcripts.execute(sql, parameters)]

    assert numbers(limit=2) == [1, 2]
    assert numbers(start=499, limit=9) == [499, 500]
    assert numbers(start=501, limit=9) == []
    assert numbers(end=3, limit=2, descending=True) == [3, 2]
    assert numbers("task_id = T0 AND number > 490", limit=3) == [492, 494, 496]
    assert numbers("revision = 7 AND create_time = 1970-01-01T00:00:00.000000007Z AND phase = plan", limit=9) == [7]
    row = transcripts.execute(*query.read_entries(SQLITE, TRANSCRIPT, 1, None, limit=1)).fetchone()
    assert row == (1, None, None)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("text", "asked", "journals"),
    [
        ("", {}, [1, 2, 4]),
        ("", {"parent_kind": "session"}, [1, 4]),
        ("", {"parent_id": "a"}, [1, 2]),
        ("", {"parent_kind": "session", "parent_id": "b"}, [4]),
        ("task_id = T1", {}, [1, 2, 4]),
        ("task_id = T1", {"parent_kind": "session", "parent_id": "a"}, [1]),
        ("NOT task_id = T1 AND role = prompt", {}, [1, 2, 4]),
    ],
)
def test_pages_of_entries_make_up_the_list(
    transcripts: Any, text: str, asked: dict[str, str], journals: list[int], descending: bool
) -> None:
    step = 1 if not text else 2
    offset = 2 if "NOT" in text else 1
    expected = [(journal, number) for journal in journals for number in range(offset, 501, step)]
    paged: list[tuple[int, int]] = []
    while rows := listed(transcripts, text, **asked, after=paged[-1] if paged else None, descending=descending, limit=170):
        paged += rows
    assert paged == sorted(expected, reverse=descending)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("text", ["", "task_id = T1", "role = prompt"])
@pytest.mark.parametrize("asked", [{}, {"parent_kind": "session"}, {"parent_kind": "session", "parent_id": "b"}])
def test_a_deep_page_of_entries_costs_what_the_first_costs(
    transcripts: Any, text: str, asked: dict[str, str], descending: bool
) -> None:
    node = parse_filter(text)
    after = (4, 100) if descending else (4, 400)
    first = query.list_entries(SQLITE, TRANSCRIPT, "default", node, **asked, descending=descending, limit=20)
    deep = query.list_entries(SQLITE, TRANSCRIPT, "default", node, **asked, after=after, descending=descending, limit=20)
    for each in (first, deep):
        shown = plan(transcripts, each)
        assert "TEMP B-TREE" not in shown
        assert "SCAN" not in shown
    assert steps(transcripts, deep) < 2 * steps(transcripts, first)


def test_entry_indexes_are_there(connection: Any) -> None:
    for table, names in ENTRY_INDEXES.items():
        indexes = [row[1] for row in connection.execute(f"PRAGMA index_list({table})")]
        columns = [[row[2] for row in connection.execute(f"PRAGMA index_info({name})")] for name in indexes]
        assert all([name, "journal_id", "number"] in columns for name in names)
