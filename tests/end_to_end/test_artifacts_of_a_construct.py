"""The artifacts of a construct, also those that name only a session of it; filters on fields of a record referred to."""

from __future__ import annotations

import pytest

import holdfast


def test_artifacts_of_a_session_are_found_by_its_construct(store: holdfast.Store) -> None:
    one, other = (store.constructs.create(name=name, type="planner").id for name in ("one", "other"))
    session = store.sessions.create(title="s", construct_id=one)
    foreign = store.sessions.create(title="f", construct_id=other)
    by_session = store.artifacts.put(source=b"1", name="a.txt", session_id=session.id)
    by_construct = store.artifacts.put(source=b"2", name="b.txt", construct_id=one)
    store.artifacts.put(source=b"3", name="c.txt", session_id=foreign.id)
    store.artifacts.put(source=b"4", name="d.txt")
    both = store.artifacts.put(source=b"5", name="e.txt", session_id=foreign.id, construct_id=one)
    assert [each.id for each in store.artifacts.of_construct(one)] == [by_session.id, by_construct.id, both.id]
    assert [each.name for each in store.artifacts.of_construct(one, filter='name != "b.txt"', order_by="name desc", limit=1)] == [
        "e.txt"
    ]
    assert list(store.artifacts.of_construct("nobody")) == []
    store.sessions.update(session.id, title="renamed")
    assert [each.id for each in store.artifacts.of_construct(one, limit=1)] == [by_session.id]


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ('session_id.title = "s"', ["a"]),
        ('session_id.title != "s"', ["b", "c"]),
        ('NOT session_id.title = "s"', ["b", "c"]),
        ("session_id.metadata.n = 2", ["b"]),
        ("session_id.construct_id:*", ["a"]),
        ("session_id.construct_id = null", ["b"]),
        ('session_id.title:"t" AND session_id.create_time > "2020-01-01"', ["b"]),
    ],
)
def test_filters_reach_the_record_that_a_reference_names(store: holdfast.Store, filter: str, found: list[str]) -> None:
    construct = store.constructs.create(name="c", type="planner").id
    first = store.sessions.create(title="s", construct_id=construct, metadata={"n": 1}).id
    second = store.sessions.create(title="t", metadata={"n": 2}).id
    for name, session in (("a", first), ("b", second), ("c", None)):
        store.artifacts.put(source=b"x", name=name, session_id=session)
    assert [each.name for each in store.artifacts.list(filter=filter)] == found
    assert store.artifacts.count(filter) == len(found)


@pytest.mark.parametrize("filter", ['session_id.nothing = "x"', 'session_id.tags:"x"', 'session_id.construct_id.name = "x"'])
def test_what_a_reference_cannot_tell_is_refused(store: holdfast.Store, filter: str) -> None:
    with pytest.raises(holdfast.InvalidArgument):
        list(store.artifacts.list(filter=filter))
