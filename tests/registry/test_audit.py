"""The audit has one entry for every change of the store, in order, with its diff. It can be filtered and paged, not written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from holdfast.contract.kinds import KINDS
from holdfast.v1 import entry_pb2, store_service_pb2
from holdfast.v1 import journal_service_pb2 as pb
from tests.registry.diffs import expected_diff
from tests.registry.world import World
from tests.support.api import Api, append, delete, insert, refused, update
from tests.support.random_commits import RandomCommits, mutation

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def page(api: Api, text: str = "", **fields: Any) -> pb.JournalServiceListResponse:
    request = pb.JournalServiceListRequest(workspace=api.workspace, journal="audit", filter=text, **fields)
    return api.journal.List(request, timeout=30)


def audit(api: Api, text: str = "", **fields: Any) -> list[entry_pb2.Entry]:
    return list(page(api, text, page_size=1000, **fields).entries)


def pages(api: Api, text: str = "", **fields: Any) -> Iterator[pb.JournalServiceListResponse]:
    token = ""
    while True:
        answer = page(api, text, page_token=token, **fields)
        yield answer
        if not (token := answer.next_page_token):
            return


def told(entries: list[entry_pb2.Entry]) -> list[tuple[str, str, str]]:
    return [(each.audit.action, each.audit.kind, each.audit.id) for each in entries]


def expected_entries(changes: list[store_service_pb2.Change]) -> Iterator[tuple[Any, ...]]:
    """The audit entries that the replayed changes must produce."""
    images: dict[tuple[str, str], Any] = {}
    for each in changes:
        action = store_service_pb2.Action.Name(each.action).removeprefix("ACTION_").lower()
        diff = None
        if each.kind in KINDS:
            image = getattr(each.record, each.kind)
            before = images.get((each.kind, each.id))
            gone = action == "delete"
            diff = expected_diff(KINDS[each.kind], image if gone else before, None if gone else image)
            images[each.kind, each.id] = None if gone else image
        numbers = (each.version, each.parent_kind, each.first_number, each.last_number)
        yield each.revision, each.ordinal + 1, action, each.kind, each.id, *numbers, each.actor, diff


@pytest.mark.parametrize("seed", range(3))
def test_every_change_of_a_run_is_there_once_with_its_diff(world: World, seed: int) -> None:
    api, steps = world.api, RandomCommits(seed)
    applied = 0
    for number in range(400):
        try:
            api.commit(*map(mutation, steps.commit()), actor=f"actor-{number % 3}")
            applied += 1
        except grpc.RpcError:
            continue
    assert applied > 40
    entries = [each for answer in pages(api, page_size=17) for each in answer.entries]
    found = [
        (
            *(each.revision, each.number, each.audit.action, each.audit.kind, each.audit.id, each.audit.version),
            *(each.audit.parent_kind, each.audit.first_number, each.audit.last_number, each.audit.actor),
            json.loads(each.audit.diff) if each.audit.diff else None,
        )
        for each in entries
    ]
    assert found == list(expected_entries(api.changes(after_revision=0)))
    assert {each[2] for each in found} >= {"insert", "update", "delete", "append"}


def test_a_diff_has_the_changed_fields(world: World) -> None:
    api = world.api
    id = api.insert("task", title="a", tags=["x"], metadata='{"deep": [1, {"b": 9007199254740993}]}')
    api.commit(update("task", id=id, title="b", tags=["x", "y"], mask=["title", "tags", "metadata"]), actor="ann")
    diffs = [json.loads(each.audit.diff) for each in audit(api, parent_kind="task", parent_id=id)]
    metadata = {"deep": [1, {"b": 9007199254740993}]}
    made = {"title": "a", "status": "created", "priority": "normal", "tags": ["x"], "metadata": metadata}
    assert diffs[0] == {name: {"after": value} for name, value in made.items()}
    assert diffs[1] == {
        "title": {"before": "a", "after": "b"},
        "tags": {"before": ["x"], "after": ["x", "y"]},
        "metadata": {"before": metadata},
    }


def test_a_record_that_is_made_again_begins_again(world: World) -> None:
    api = world.api
    api.commit(insert("task", id="T", title="one"), delete("task", "T"), insert("task", id="T", title="two"))
    entries = audit(api, parent_kind="task", parent_id="T")
    assert [each.audit.action for each in entries] == ["insert", "delete", "insert"]
    assert [json.loads(each.audit.diff)["title"] for each in entries] == [{"after": "one"}, {"before": "one"}, {"after": "two"}]
    assert len({each.revision for each in entries}) == 1 and [each.number for each in entries] == [1, 2, 3]


def test_large_values_are_told_by_their_size(world: World) -> None:
    api, texts = world.api, ["a" * 900_000, "b" * 900_000]
    id = api.insert("task", title="t", description=texts[0])
    api.commit(update("task", id=id, description=texts[1], title="u"))
    whole, cut = (json.loads(each.audit.diff) for each in audit(api, parent_kind="task", parent_id=id))
    assert whole["description"] == {"after": texts[0]}
    assert cut == {"description": {"before_bytes": 900_002, "after_bytes": 900_002}, "title": {"before": "t", "after": "u"}}


def test_a_page_of_large_diffs_fits_into_an_answer(world: World) -> None:
    api = world.api
    ids = [api.insert("task", title="t", description=f"{number}" * 800_000) for number in range(9)]
    answers = list(pages(api))
    assert max(each.ByteSize() for each in answers) < 3 * 2**20
    assert [each.audit.id for answer in answers for each in answer.entries] == ids


def test_journals_are_in_it(world: World) -> None:
    api = world.api
    id = api.insert("session")
    api.commit(append(id, "a", "b"))
    api.commit(append(id, "c"))
    api.commit(delete("session", id, cascade=True))
    appends = audit(api, parent_kind="transcript", parent_id=id)
    assert [(each.audit.action, each.audit.first_number, each.audit.last_number) for each in appends] == [
        ("append", 1, 2),
        ("append", 3, 3),
        ("drop", 1, 3),
    ]
    assert {(each.audit.parent_kind, each.audit.diff, each.audit.version) for each in appends} == {("session", "", 0)}
    assert told(audit(api, parent_kind="session", parent_id=id)) == [("insert", "session", id), ("delete", "session", id)]


def test_it_is_filtered(world: World) -> None:
    api = world.api
    first = api.commit(insert("task", id="A", title="a"), insert("bug", id="B", title="b"), actor="ann")
    second = api.commit(update("task", id="A", title="c"), actor="bob", request_id="r-1")
    third = api.commit(delete("bug", "B"), actor="ann")
    made = [("insert", "task", "A"), ("insert", "bug", "B")]
    rest = [("update", "task", "A"), ("delete", "bug", "B")]
    time = second.commit_time.ToJsonString()
    cases = {
        "": made + rest,
        'actor = "ann"': [*made, rest[1]],
        'kind = "bug"': [made[1], rest[1]],
        'id = "A"': [made[0], rest[0]],
        'kind = "task" AND id = "A"': [made[0], rest[0]],
        'action = "insert"': made,
        'action = "insert" OR action = "delete"': [*made, rest[1]],
        'request_id = "r-1"': rest[:1],
        "request_id:*": rest[:1],
        f'time >= "{time}"': rest,
        f'time > "{time}"': rest[1:],
        f'time < "{time}"': made,
        f'time <= "{time}" AND actor = "bob"': rest[:1],
        f'create_time = "{time}"': rest[:1],
        f'NOT time > "{time}"': made + rest[:1],
        f'time > "{third.commit_time.ToJsonString()}"': [],
        'time < "1999-01-01"': [],
        f"revision = {first.revision}": made,
        f"revision = {first.revision} AND number = 2": made[1:],
        "version = 2": rest[:1],
        'actor = "carl"': [],
    }
    for text, expected in cases.items():
        assert told(audit(api, text)) == expected, text


@pytest.mark.parametrize("text", ['diff = "x"', "diff:*", 'nobody = "x"'])
def test_a_filter_that_does_not_fit_is_refused(world: World, text: str) -> None:
    refusal = refused(lambda: page(world.api, text))
    assert (refusal.code, refusal.reason) == (INVALID, "FIELD_UNKNOWN" if "action" not in text else "FILTER_INVALID")


def test_pages_go_on_while_others_write(world: World) -> None:
    api, ids = world.api, [world.parent("task") for _ in range(5)]
    seen: list[str] = []
    for number, answer in enumerate(pages(api, 'kind = "task"', page_size=2)):
        seen += [each.audit.id for each in answer.entries]
        if number < 2:
            ids.append(world.parent("task"))
    assert seen == ids


@pytest.mark.parametrize("text", ["", 'action = "update"', 'time > "2020-01-01" AND time < "2200-01-01"'])
def test_the_newest_first_is_the_reverse(world: World, text: str) -> None:
    api, id = world.api, world.parent("task")
    for number in range(5):
        api.commit(update("task", id=id, title=str(number)), insert("bug", title="b"))
    for names in ({}, {"parent_kind": "task", "parent_id": id}):
        forward = audit(api, text, **names)
        assert forward, "the list to reverse is empty"
        backward = [each for answer in pages(api, text, page_size=2, descending=True, **names) for each in answer.entries]
        assert backward == forward[::-1]


def test_a_token_of_another_list_is_refused(world: World) -> None:
    for _ in range(3):
        world.parent("task")
    token = page(world.api, page_size=1).next_page_token
    assert refused(lambda: page(world.api, 'kind = "task"', page_token=token)).reason == "PAGE_TOKEN_INVALID"
    assert refused(lambda: page(world.api, parent_kind="task", page_token=token)).reason == "PAGE_TOKEN_INVALID"
    assert refused(lambda: page(world.api, descending=True, page_token=token)).reason == "PAGE_TOKEN_INVALID"
    assert refused(lambda: page(world.api, parent_kind="nobody")).reason == "KIND_UNKNOWN"


def test_the_audit_cannot_be_appended_to_or_streamed(world: World) -> None:
    api, id = world.api, world.parent("session")
    forged = entry_pb2.Entry(audit=entry_pb2.Audit(actor="somebody else", kind="task", id="A"))
    revision = api.revision()
    call = pb.JournalServiceAppendRequest(workspace=api.workspace, parent_kind="session", parent_id=id, entries=[forged])
    assert refused(lambda: api.journal.Append(call, timeout=30)).reason == "JOURNAL_DERIVED"
    operation = store_service_pb2.Append(parent_kind="session", parent_id=id, entries=[forged])
    assert refused(lambda: api.commit(store_service_pb2.Mutation(append=operation))).reason == "JOURNAL_DERIVED"
    refusal = refused(lambda: api.read(id, journal="audit"))
    assert (refusal.code, refusal.reason) == (INVALID, "JOURNAL_DERIVED") and "List" in refusal.message
    assert refused(lambda: api.changes(kinds=["audit"])).reason == "KIND_UNKNOWN"
    assert api.revision() == revision


def test_another_workspace_has_another_audit(world: World) -> None:
    world.parent("task")
    with_other = pb.JournalServiceListRequest(journal="audit", workspace="default", filter="")
    other = world.api.journal.List(with_other, timeout=30)
    assert not {each.audit.id for each in other.entries} & {each.audit.id for each in audit(world.api)} or not other.entries
