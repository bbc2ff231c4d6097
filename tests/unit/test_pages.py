"""Orders and page tokens: valid ones, refused ones, and that the pages together are the whole list."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contract.kinds import KINDS
from holdfastd.errors import InvalidArgument
from holdfastd.model.ordering import Order, parse_order
from holdfastd.model.pages import decode_token, encode_token, page_size

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.lists(
    st.one_of(TEXTS, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.none()), min_size=1, max_size=4
).map(tuple)
SCOPES = st.lists(TEXTS, min_size=1, max_size=4).map(tuple)
SCOPE = ("default", "task", 'status = "running"', "")


def shown(order: Order) -> list[str]:
    return [f"{each.field.name} {'desc' if each.descending else 'asc'}" for each in order.keys]


def refused_token(token: str, scope: tuple[str, ...] = SCOPE, key_length: int = 2) -> str:
    with pytest.raises(InvalidArgument) as caught:
        decode_token(token, scope, key_length)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"
    return caught.value.message


@given(SCOPES, KEYS)
def test_a_token_gives_its_key_back_with_the_same_types(scope: tuple[str, ...], key: tuple[object, ...]) -> None:
    token = encode_token(scope, key)
    decoded = decode_token(token, scope, len(key))
    assert decoded is not None
    assert [(type(value), value) for value in decoded] == [(type(value), value) for value in key]
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(SCOPES, SCOPES, KEYS)
def test_a_token_is_good_for_its_own_list_only(scope: tuple[str, ...], other: tuple[str, ...], key: tuple[object, ...]) -> None:
    token = encode_token(scope, key)
    if scope != other:
        assert "another list" in refused_token(token, other, len(key))


@given(KEYS, st.data())
def test_a_damaged_token_is_refused(key: tuple[object, ...], data: st.DataObject) -> None:
    raw = base64.urlsafe_b64decode(encode_token(SCOPE, key) + "==")
    place = data.draw(st.integers(0, len(raw) - 1))
    changed = bytearray(raw)
    changed[place] ^= data.draw(st.integers(1, 255))
    token = base64.urlsafe_b64encode(changed).decode().rstrip("=")
    refused_token(token, SCOPE, len(key))


@given(st.text(min_size=1, max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    refused_token(text)


def test_a_token_cannot_contain_values_that_sql_refuses() -> None:
    for key in ((2**63, "x"), (True, "x"), (["x"], "x"), ("x",), ("x", "y", "z")):
        refused_token(encode_token(SCOPE, key))
    refused_token(forged(b'["\\ud800","x"]'))
    refused_token(forged(b"[" * 100_000))
    refused_token(forged(b"[1" + b"0" * 10_000 + b',"x"]'))


def forged(payload: bytes) -> str:
    """A token with any payload and a valid checksum."""
    from holdfastd.model import pages

    body = pages._VERSION + pages._fingerprint(SCOPE) + payload
    return base64.urlsafe_b64encode(body + pages._checksum(body)).decode().rstrip("=")


def test_no_token_is_the_first_page() -> None:
    assert decode_token("", SCOPE, 2) is None


def test_a_changed_filter_says_so() -> None:
    token = encode_token(SCOPE, (1, "x"))
    message = refused_token(token, ("default", "task", 'status = "paused"', ""))
    assert "filter" in message
    assert "order_by" in message


@pytest.mark.parametrize(("requested", "size"), [(0, 100), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_page_sizes(requested: int, size: int) -> None:
    assert page_size(requested) == size


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="page_size"):
        page_size(-1)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ["create_time asc", "made asc", "id asc"]),
        ("  ", ["create_time asc", "made asc", "id asc"]),
        ("create_time desc", ["create_time desc", "made desc", "id desc"]),
        ("status, update_time desc", ["status asc", "update_time desc", "made desc", "id desc"]),
        (" title asc , version ", ["title asc", "version asc", "made asc", "id asc"]),
        ("id desc", ["id desc"]),
        ("id, title", ["id asc"]),
    ],
)
def test_orders(text: str, keys: list[str]) -> None:
    order = parse_order(KINDS["task"], text)
    assert shown(order) == keys


@pytest.mark.parametrize(
    ("text", "position", "part"),
    [
        ("bogus", 0, "create_time"),
        ("title, bogus desc", 7, "no field"),
        ("title,", 6, "Expected"),
        (",", 0, "Expected"),
        ("title down", 6, "asc, desc"),
        ("title desc x", 0, "Expected"),
        ("title, title desc", 6, "twice"),
        ("tags", 0, "cannot be ordered by tags"),
        ("metadata", 0, "cannot be ordered by metadata"),
        ("metadata.branch", 0, "Expected"),
        ('title"; DROP TABLE task; --', 0, "Expected"),
        ("x" * 2000, 1024, "at most"),
    ],
)
def test_orders_that_are_refused(text: str, position: int, part: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_order(KINDS["task"], text)
    assert (caught.value.reason, caught.value.metadata["position"]) == ("ORDER_BY_INVALID", str(position))
    assert part in caught.value.message


@given(st.text(max_size=30))
def test_any_order_is_parsed_or_refused(text: str) -> None:
    try:
        order = parse_order(KINDS["session"], text)
    except InvalidArgument as error:
        reason = error.reason
    else:
        reason = "ORDER_BY_INVALID" if order.keys[-1].field.name == "id" else "no total order"
    assert reason == "ORDER_BY_INVALID"
