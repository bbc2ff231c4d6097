"""Every journal under every parent kind: append, read, follow, list, watch, and delete with the parent."""

from __future__ import annotations

import itertools
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfast.contract.kinds import KINDS, STORED_JOURNALS, FieldType, Journal
from holdfast.v1 import entry_pb2
from holdfast.v1 import journal_service_pb2 as pb
from holdfastd.model import codec
from tests.registry.world import World
from tests.support.api import Api, delete, refused
from tests.support.messages import messages

journals = pytest.mark.parametrize("journal", STORED_JOURNALS.values(), ids=STORED_JOURNALS.keys())
parents = pytest.mark.parametrize(
    ("journal", "parent_kind"),
    [pytest.param(each, parent, id=f"{name} of {parent}") for name, each in STORED_JOURNALS.items() for parent in each.parents],
)


def append(api: Api, parent_kind: str, id: str, entries: list[entry_pb2.Entry]) -> pb.JournalServiceAppendResponse:
    request = pb.JournalServiceAppendRequest(workspace=api.workspace, parent_kind=parent_kind, parent_id=id, entries=entries)
    return api.journal.Append(request, timeout=30)


def listed(api: Api, journal: Journal, **fields: Any) -> list[entry_pb2.Entry]:
    request = pb.JournalServiceListRequest(workspace=api.workspace, journal=journal.name, page_size=1000, **fields)
    return list(api.journal.List(request, timeout=30).entries)


def entry_of(journal: Journal, message: Any) -> entry_pb2.Entry:
    return entry_pb2.Entry(**{journal.name: message})


def stored_form(journal: Journal, sent: Any) -> Any:
    """The message as it is read back: JSON values are canonical."""
    message = journal.message_class()
    message.CopyFrom(sent)
    for field in journal.columns:
        if field.type is FieldType.JSON and getattr(message, field.name):
            setattr(message, field.name, codec.canonical_json(getattr(message, field.name), field.name))
    return message


@parents
def test_entries_are_read_back_and_deleted_with_their_parent(world: World, journal: Journal, parent_kind: str) -> None:
    api = world.api

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None)
    @given(st.lists(messages(journal, whole=True), min_size=1, max_size=4))
    def run(sent: list[Any]) -> None:
        id = world.parent(parent_kind)
        revisions = [append(api, parent_kind, id, [entry_of(journal, each)]).revision for each in sent]
        found = api.entries(id, parent_kind=parent_kind, journal=journal.name)
        assert [getattr(each, journal.name) for each in found] == [stored_form(journal, each) for each in sent]
        assert [(each.number, each.revision) for each in found] == list(enumerate(revisions, 1))
        of_parent = {"parent_kind": parent_kind, "parent_id": id}
        pairs = zip(listed(api, journal, **of_parent), found, strict=True)
        assert all(getattr(one, journal.name) == getattr(other, journal.name) for one, other in pairs)
        assert [each.number for each in listed(api, journal, descending=True, **of_parent)] == list(range(len(sent), 0, -1))
        assert refused(lambda: api.commit(delete(parent_kind, id))).reason == "HAS_DEPENDENTS"
        api.commit(delete(parent_kind, id, cascade=True))
        assert listed(api, journal, **of_parent) == []
        (*_, dropped) = api.changes(after_revision=0, kinds=[journal.name], ids=[id])
        assert (dropped.parent_kind, dropped.first_number, dropped.last_number) == (parent_kind, 1, len(sent))

    run()
    assert api.problems() == []


@parents
def test_a_follower_sees_what_is_appended(world: World, journal: Journal, parent_kind: str) -> None:
    api, id = world.api, world.parent(parent_kind)
    message = smallest(journal)
    stream = api.read(id, parent_kind=parent_kind, journal=journal.name, follow=True)
    entries = (each for frame in stream for each in frame.entries)
    append(api, parent_kind, id, [entry_of(journal, message)] * 2)
    assert [each.number for each in itertools.islice(entries, 2)] == [1, 2]
    append(api, parent_kind, id, [entry_of(journal, message)])
    assert next(entries).number == 3
    stream.cancel()


@journals
def test_a_missing_or_wrong_parent_is_refused(world: World, journal: Journal) -> None:
    entry = entry_of(journal, smallest(journal))
    for kind in journal.parents:
        refusal = refused(lambda kind=kind: append(world.api, kind, "nobody", [entry]))  # type: ignore[misc]
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PARENT_NOT_FOUND")
    other = next(each for each in KINDS if each not in journal.parents)
    assert refused(lambda: append(world.api, other, "x", [entry])).code is grpc.StatusCode.INVALID_ARGUMENT


@journals
def test_what_is_required_must_be_set(world: World, journal: Journal) -> None:
    id = world.parent(journal.parents[0])
    refusal = refused(lambda: append(world.api, journal.parents[0], id, [entry_of(journal, journal.message_class())]))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT


@journals
def test_entries_of_two_journals_do_not_go_together(world: World, journal: Journal) -> None:
    id = world.parent(journal.parents[0])
    for other in STORED_JOURNALS.values():
        if other is not journal:
            both = [entry_of(journal, smallest(journal)), entry_of(other, smallest(other))]
            assert refused(lambda both=both: append(world.api, journal.parents[0], id, both)).reason == "JOURNAL_UNKNOWN"  # type: ignore[misc]


def smallest(journal: Journal) -> Any:
    """A message with only the required fields."""
    return journal.message_class(**{each.name: "x" for each in journal.columns if each.required})
