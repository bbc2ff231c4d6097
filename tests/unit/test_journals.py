"""Journals compared with a list: appends, reads, ranges, filters and pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.v1 import journal_service_pb2
from holdfastd.errors import InvalidArgument, NotFound
from holdfastd.model.call import Call
from tests.support import api
from tests.support.engine import Engine, answered, append, delete, insert_session, insert_task, new_name

batches = st.lists(st.lists(st.sampled_from(["prompt", "response", "tool"]), max_size=4), max_size=6)
bounds = st.integers(0, 14)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = Engine(tmp_path_factory.mktemp("journals"))
    yield made
    made.close()


def append_roles(engine: Engine, parent: str, roles: list[str]) -> Any:
    request = journal_service_pb2.JournalServiceAppendRequest(
        parent_kind="session", parent_id=parent, entries=[api.entry(f"c{place}", role) for place, role in enumerate(roles)]
    )
    return answered(engine.commits.append(request, Call(30)))


def list_pages(engine: Engine, page_size: int, **fields: Any) -> list[Any]:
    found, token = [], ""
    while True:
        request = journal_service_pb2.JournalServiceListRequest(page_size=page_size, page_token=token, **fields)
        page = engine.journals.list(request, Call(30))
        assert len(page.entries) <= page_size
        found += page.entries
        if not (token := page.next_page_token):
            return found


@given(batches, bounds, bounds, st.integers(0, 12), st.booleans(), st.sampled_from(["", "prompt", "tool"]), st.integers(1, 5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_journal_is_a_list(
    engine: Engine, roles: list[list[str]], start: int, end: int, limit: int, descending: bool, role: str, page_size: int
) -> None:
    parent = engine.submit(insert_session(new_name("S"))).results[0].id
    model: list[tuple[int, str]] = []
    for batch in roles:
        answer = append_roles(engine, parent, batch)
        expected = (len(model) + 1, len(model) + len(batch)) if batch else (0, 0)
        assert (answer.first_number, answer.last_number) == expected
        model += [(number, name) for number, name in enumerate(batch, len(model) + 1)]
    filter_text = f'role = "{role}"' if role else ""
    wanted = [each for each in model if each[0] >= start and (not end or each[0] <= end) and role in ("", each[1])]
    wanted = sorted(wanted, reverse=descending)[: limit or None]
    found = engine.entries(parent, start=start, end=end, limit=limit, descending=descending, filter=filter_text)
    assert [(each.number, each.transcript.role) for each in found] == wanted
    listed = list_pages(engine, page_size, parent_kind="session", parent_id=parent, filter=filter_text)
    assert [(each.number, each.transcript.role) for each in listed] == [each for each in model if role in ("", each[1])]
    assert {(each.parent_kind, each.parent_id) for each in listed} <= {("session", parent)}
    scope = {"parent_kind": "session", "parent_id": parent, "filter": filter_text}
    assert list_pages(engine, page_size, descending=True, **scope) == listed[::-1]


def frames(engine: Engine, parent: str, **fields: Any) -> list[Any]:
    request = journal_service_pb2.JournalServiceReadRequest(parent_kind="session", parent_id=parent, **fields)
    return list(engine.read(request, Call(30)))


@pytest.mark.parametrize(
    "fields", [{"start": 9}, {"start": 3, "end": 2}, {"filter": 'role = "nobody"'}, {"start": 9, "descending": True}]
)
def test_past_the_end_is_one_frame_with_the_bounds_and_no_error(engine: Engine, fields: dict[str, Any]) -> None:
    parent = engine.submit(insert_session(new_name("S"))).results[0].id
    engine.submit(append(parent, "a", "b", "c"))
    (frame,) = frames(engine, parent, **fields)
    assert (list(frame.entries), frame.first_number, frame.last_number) == ([], 1, 3)


def test_an_empty_journal_and_a_parent_that_is_not_there(engine: Engine) -> None:
    parent = engine.submit(insert_session(new_name("S"))).results[0].id
    (frame,) = frames(engine, parent)
    assert (frame.first_number, frame.last_number, len(frame.entries)) == (1, 0, 0)
    with pytest.raises(NotFound) as caught:
        frames(engine, "nobody")
    assert caught.value.reason == "RECORD_NOT_FOUND"


@pytest.mark.parametrize("fields", [{"end": 2}, {"limit": 2}, {"end": 3, "filter": "number < 2"}, {"start": 5, "end": 4}])
def test_following_to_an_existing_entry_ends_at_once(engine: Engine, fields: dict[str, Any]) -> None:
    parent = engine.submit(insert_session(new_name("S"))).results[0].id
    engine.submit(append(parent, "a", "b", "c"))
    call = Call(3.0)
    request = journal_service_pb2.JournalServiceReadRequest(parent_kind="session", parent_id=parent, follow=True, **fields)
    found = [entry.number for frame in engine.read(request, call) for entry in frame.entries]
    assert call.is_active()
    assert found == [number for number in (1, 2) if number >= fields.get("start", 1) and ("filter" not in fields or number < 2)]


def test_a_page_of_the_largest_entries_is_cut_to_what_an_answer_holds(engine: Engine) -> None:
    parent = engine.submit(insert_session(new_name("S"))).results[0].id
    big = "x" * (2**20 - 100)
    for _ in range(4):
        engine.submit(append(parent, big, big, "small"))
    for fields in ({}, {"descending": True}):
        found = frames(engine, parent, **fields)
        numbers = [entry.number for frame in found for entry in frame.entries]
        assert numbers == sorted(range(1, 13), reverse="descending" in fields)
        assert max(frame.ByteSize() for frame in found) <= 3 * 2**20
    assert [each.number for each in list_pages(engine, 1000, parent_kind="session", parent_id=parent)] == list(range(1, 13))


def test_a_journal_begins_anew_with_its_parent(engine: Engine) -> None:
    parent = new_name("S")
    engine.submit(insert_session(parent), append(parent, "old", "old"))
    engine.submit(delete("session", parent, cascade=True), insert_session(parent), append(parent, "new"))
    assert [(each.number, each.transcript.content) for each in engine.entries(parent)] == [(1, "new")]


def test_a_task_and_a_session_of_one_name_have_journals_of_their_own(engine: Engine) -> None:
    name = new_name("X")
    engine.submit(insert_session(name), insert_task(name), append(name, "s"), append(name, "t", parent_kind="task"))
    assert [each.transcript.content for each in engine.entries(name)] == ["s"]
    assert [each.transcript.content for each in engine.entries(name, "task")] == ["t"]


@pytest.mark.parametrize(
    "fields",
    [
        {"start": -1},
        {"end": -1},
        {"limit": -1},
        {"descending": True, "follow": True},
        {"filter": "nothing = 1"},
        {"journal": "nothing"},
    ],
    ids=str,
)
def test_an_invalid_read_is_refused(engine: Engine, fields: dict[str, Any]) -> None:
    parent = engine.submit(insert_session(new_name("S"))).results[0].id
    with pytest.raises(InvalidArgument):
        frames(engine, parent, **fields)
