"""The filter language: valid filters are parsed, all other text is refused with its position."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contract.kinds import JOURNALS, KINDS
from holdfastd.errors import InvalidArgument
from holdfastd.model import filters
from holdfastd.model.filters import And, Comparison, Literal, LiteralKind, Node, Not, Operator, Or, parse_filter
from holdfastd.model.predicates import check
from holdfastd.model.rfc3339 import parse_time_ns
from tests.unit.filter_trees import render

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True).filter(lambda name: name not in ("true", "false", "null"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def text_literal(value: str) -> Literal:
    return Literal(LiteralKind.TEXT, value)


LITERALS = st.one_of(
    TEXTS.map(text_literal),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: Literal(LiteralKind.INTEGER, value)),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: Literal(LiteralKind.REAL, value)),
    st.booleans().map(lambda value: Literal(LiteralKind.BOOLEAN, value)),
    st.just(Literal(LiteralKind.NULL, None)),
)
PATHS = st.tuples(NAMES, st.lists(TEXTS, max_size=2)).map(lambda parts: (parts[0], *parts[1]))
COMPARISONS = st.one_of(
    st.builds(Comparison, PATHS, st.sampled_from(Operator), LITERALS),
    st.builds(Comparison, PATHS, st.just(Operator.HAS), st.just(Literal(LiteralKind.ANYTHING, None))),
)


def operands(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[tuple[Node, ...]]:
    return st.lists(nodes, min_size=2, max_size=3).map(tuple)


NODES: st.SearchStrategy[Node] = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(st.builds(Not, inner), st.builds(And, operands(inner)), st.builds(Or, operands(inner))),
    max_leaves=8,
)


def equal(name: str, value: str = "x") -> Comparison:
    return Comparison((name,), Operator.EQUAL, text_literal(value))


def refusal(text: str, kind: str = "task") -> InvalidArgument:
    """The refusal of a filter, by the parser or by the kind's type check."""
    with pytest.raises(InvalidArgument) as caught:
        check_all(KINDS.get(kind) or JOURNALS[kind], parse_filter(text))
    return caught.value


def check_all(shape, node: Node | None) -> None:
    match node:
        case And(inner) | Or(inner):
            for each in inner:
                check_all(shape, each)
        case Not(inner):
            check_all(shape, inner)
        case Comparison():
            check(shape, node)


@given(NODES)
def test_a_tree_rendered_and_parsed_is_the_same_tree(node: Node) -> None:
    assert parse_filter(render(node)) == node


@given(st.one_of(st.text(max_size=40), st.text("aA.=<>!:*()-\"'\\ NOTRD01e\ud800\0", max_size=60)))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    if (error := refused(text)) is not None:
        assert error.reason == "FILTER_INVALID"
        assert 0 <= int(error.metadata["position"]) <= len(text)


def refused(text: str) -> InvalidArgument | None:
    try:
        parse_filter(text)
    except InvalidArgument as error:
        return error
    return None


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_an_empty_filter_matches_all(text: str) -> None:
    assert parse_filter(text) is None


def test_or_binds_tighter_than_and() -> None:
    expected = And((equal("a"), Or((equal("b"), equal("c"))), equal("d")))
    assert parse_filter("a = x AND b = x OR c = x AND d = x") == expected


def test_minus_and_not_negate_the_next_term_only() -> None:
    expected = And((Not(equal("a")), Not(Not(equal("b"))), equal("c")))
    assert parse_filter("-a = x AND NOT -b = x AND c = x") == expected


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("TASK-001", LiteralKind.TEXT, "TASK-001"),
        (r"'it\'s \\ \n'", LiteralKind.TEXT, "it's \\ \n"),
        ('"a AND b"', LiteralKind.TEXT, "a AND b"),
        ("-12", LiteralKind.INTEGER, -12),
        ("0" * 5000 + "7", LiteralKind.INTEGER, 7),
        ("9223372036854775807", LiteralKind.INTEGER, 2**63 - 1),
        ("1.0", LiteralKind.REAL, 1.0),
        ("1e3", LiteralKind.REAL, 1000.0),
        ("true", LiteralKind.BOOLEAN, True),
        ('"true"', LiteralKind.TEXT, "true"),
        ("null", LiteralKind.NULL, None),
        ("NULL", LiteralKind.NULL, None),
        ("True", LiteralKind.BOOLEAN, True),
        ("FALSE", LiteralKind.BOOLEAN, False),
        ('"NULL"', LiteralKind.TEXT, "NULL"),
        ("nullable", LiteralKind.TEXT, "nullable"),
        ("2026-01-31T12:00:00.5+01:00", LiteralKind.TEXT, "2026-01-31T12:00:00.5+01:00"),
        ("Grün", LiteralKind.TEXT, "Grün"),
    ],
)
def test_values(text: str, kind: LiteralKind, value: object) -> None:
    node = parse_filter(f"a={text}")
    assert isinstance(node, Comparison)
    assert node.literal == Literal(kind, value)


def test_paths_into_json() -> None:
    node = parse_filter('metadata.a-b."odd \\"key\\"".0.AND:*')
    assert isinstance(node, Comparison)
    assert node.path == ("metadata", "a-b", 'odd "key"', "0", "AND")


@pytest.mark.parametrize(
    ("text", "position", "part"),
    [
        ("status", 6, "one of = != < <= > >= :"),
        ("status =", 8, "a value"),
        ("status = AND", 9, "a value"),
        ("status = * ", 9, "* stands only after"),
        ("status == x", 8, "a value"),
        ("a = x b = y", 6, "AND, OR or the end"),
        ("a = x and b = y", 6, "AND, OR or the end"),
        ("(a = x", 6, "closing parenthesis"),
        ("a = x)", 5, "AND, OR or the end"),
        ("()", 1, "a field's name"),
        ("a = x AND", 9, "a field's name"),
        ('a = "x', 4, "no closing"),
        (r'a = "\q"', 5, "no escape"),
        ("a = fix/login", 7, "quotes"),
        ("a. = x", 2, "in quotes"),
        ("a.b. = x", 4, "in quotes"),
        ("a = -x", 5, "a number"),
        ("a = 9223372036854775808", 4, "64 bits"),
        ("a = " + "9" * 8000, 4, "64 bits"),
        ("a = -" + "9" * 8000, 4, "64 bits"),
        ("a = 1e999", 4, "too large"),
        ("a = 'x\0'", 6, "NUL"),
        ("f(x)", 1, "one of ="),
    ],
)
def test_malformed_text_is_refused_with_the_place(text: str, position: int, part: str) -> None:
    error = refusal(text)
    assert (error.reason, error.metadata["position"]) == ("FILTER_INVALID", str(position))
    assert part in error.message


@pytest.mark.parametrize(
    ("kind", "text", "position", "part"),
    [
        ("vocabulary", 'NOT field != ""', 13, "status"),
        ("task", "title = 3", 8, "in quotes"),
        ("task", 'version = "3"', 10, "an integer"),
        ("task", "version = 1.5", 10, "an integer"),
        ("task", "title = null", 8, "never null"),
        ("task", "title = NULL", 8, "never null"),
        ("task", "title = True", 8, "put it in quotes"),
        ("task", "create_time = null", 14, "never null"),
        ("session", "end_time > null", 0, "no order"),
        ("task", "metadata.a < true", 0, "no order"),
        ("task", 'create_time > "yesterday"', 14, "2026-01-31"),
        ("task", "create_time > 2026-01-31T12:00:00", 14, "2026-01-31"),
        ("task", 'create_time > "1600-01-01"', 14, "1678"),
        ("task", 'tags = "urgent"', 0, 'tags:"'),
        ("task", "tags:3", 5, "a string"),
        ("task", 'title.x = "y"', 0, "JSON"),
        ("transcript", 'number = "1"', 9, "an integer"),
        ("session", "end_time:null", 9, "= null"),
    ],
)
def test_values_that_do_not_fit_the_field_are_refused(kind: str, text: str, position: int, part: str) -> None:
    error = refusal(text, kind)
    assert (error.reason, error.metadata["position"]) == ("FILTER_INVALID", str(position))
    assert part in error.message


def test_an_unknown_field_is_refused_with_the_known_ones() -> None:
    error = refusal("status = running AND state = 1")
    assert (error.reason, error.metadata["position"], error.metadata["field"]) == ("FIELD_UNKNOWN", "21", "state")
    assert "blocked_by" in error.message
    assert "revision" in refusal("x = 1", "transcript").message


def test_messages_stay_small_whatever_the_text() -> None:
    for text in ("x" * 8000 + " = 1", "version = " + "x" * 8000, "title = '" + "x" * 8000):
        assert len(refusal(text).message) < 500


def test_limits() -> None:
    deep = "(" * 64 + "a = x" + ")" * 64
    assert parse_filter(deep) == equal("a")
    assert refusal(f"({deep})").metadata == {"position": "64", "limit": "64"}
    assert refusal("NOT " * 65 + "a = x").metadata["limit"] == "64"
    assert refusal("(" * 8000).metadata["limit"] == "64"
    wide = " OR ".join(["a = x"] * filters.MAX_COMPARISONS)
    assert parse_filter(wide) is not None
    assert refusal(wide + " OR a = x").metadata["limit"] == "200"
    assert parse_filter("a = '" + "x" * (filters.MAX_BYTES - 6) + "'") is not None
    error = refusal("a = '" + "é" * (filters.MAX_BYTES // 2) + "'")
    assert (error.reason, error.metadata["limit"]) == ("TOO_LARGE", str(filters.MAX_BYTES))


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31t23:59:59.5z", -500_000_000),
        ("2026-01-31 12:00:00.123456789-00:30", 1_769_862_600_123_456_789),
        ("2262-04-11T23:47:16.854775807Z", 2**63 - 1),
        ("2262-04-11T23:47:16.854775808Z", None),
        ("2026-02-30", None),
        ("2026-01-01T24:00:00Z", None),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01T00:00:00.1234567890Z", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("0000-01-01", None),
        ("2026-01-01T00:00:00+99:99", None),
        ("٢٠٢٦-01-01", None),
    ],
)
def test_times(text: str, time_ns: int | None) -> None:
    assert parse_time_ns(text) == time_ns
