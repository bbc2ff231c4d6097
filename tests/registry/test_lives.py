"""Records of every kind are created, read, changed, watched and deleted, with values drawn by hypothesis."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfast.contract.kinds import KINDS, Kind
from holdfast.v1 import entry_pb2, store_service_pb2
from holdfast.v1 import journal_service_pb2 as journal_pb
from tests.conftest import DaemonProcess
from tests.registry.diffs import expected_diff
from tests.registry.world import SINGULAR, World, changeable, complete, insert_of, stored_form, update_of, without_daemon_s
from tests.support.api import Api, delete, refused

ACTIONS = ["ACTION_INSERT", "ACTION_UPDATE", "ACTION_DELETE"]

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def audit_of(api: Api, kind: str, id: str) -> list[entry_pb2.Entry]:
    request = journal_pb.JournalServiceListRequest(workspace=api.workspace, journal="audit", parent_kind=kind, parent_id=id)
    return list(api.journal.List(request, timeout=30).entries)


def lives(kind: Kind, world: World, draw: st.DrawFn) -> list[Any]:
    """Creates a record and, if its kind allows, changes it; returns its state after each step."""
    sent = world.drawn(kind, draw)
    made = world.api.commit(insert_of(kind, sent), return_records=True).results[0]
    states = [read(world.api, kind, made.id)]
    assert getattr(made.record, kind.name) == states[0]
    assert made.id == states[0].id == (sent.id or made.id)
    assert states[0].version == 1 and states[0].create_time == states[0].update_time
    expected = stored_form(kind, sent)
    expected.id = made.id
    assert without_daemon_s(kind, states[0]) == expected
    if not kind.immutable:
        states.append(change(kind, world, states[0], draw))
    return states


def only(id: str) -> str:
    """The filter for one id."""
    return f"id = {json.dumps(id, ensure_ascii=False)}"


def read(api: Api, kind: Kind, id: str) -> Any:
    """Reads the record by Get and by List, which must agree."""
    found = api.get(kind.name, id)
    listed = api.list(kind.name, filter=only(id))
    assert [getattr(each, kind.name) for each in listed.records] == [found]
    assert not listed.unreadable and not listed.next_page_token
    return found


def change(kind: Kind, world: World, before: Any, draw: st.DrawFn) -> Any:
    message, mask = world.changed(kind, before, draw)
    expected = without_daemon_s(kind, before)
    for name in mask:
        expected.ClearField(name)
        part = kind.message_class()
        part.CopyFrom(message)
        for other in kind.fields:
            if other.name != name:
                part.ClearField(other.name)
        expected.MergeFrom(part)
    world.api.commit(update_of(kind, message, mask, before.version))
    after = read(world.api, kind, before.id)
    assert after.version == 2 and after.create_time == before.create_time
    assert without_daemon_s(kind, after) == stored_form(kind, expected)
    return after


def assert_gone(api: Api, kind: Kind, id: str) -> None:
    refusal = refused(lambda: api.get(kind.name, id))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "RECORD_NOT_FOUND")
    assert api.count(kind.name, filter=only(id)) == 0
    assert not api.list(kind.name, filter=only(id)).records


def assert_told(api: Api, kind: Kind, states: list[Any]) -> None:
    """The history has every change once, with its image, and the audit has its diff."""
    id = states[0].id
    changes = api.changes(after_revision=0, kinds=[kind.name], ids=[id])
    names = ACTIONS if len(states) == 2 else [ACTIONS[0], ACTIONS[2]]
    assert [pb_name(each) for each in changes] == names
    assert [getattr(each.record, kind.name) for each in changes] == [*states, states[-1]]
    entries = audit_of(api, kind.name, id)
    pairs = list(zip([None, *states], [*states, None], strict=True))
    assert [json.loads(each.audit.diff) for each in entries] == [expected_diff(kind, *pair) for pair in pairs]
    assert [(each.revision, each.number - 1, each.create_time) for each in entries] == [
        (each.revision, each.ordinal, each.commit_time) for each in changes
    ]
    for entry, told in zip(entries, changes, strict=True):
        assert f"ACTION_{entry.audit.action.upper()}" == pb_name(told)
        assert (entry.audit.kind, entry.audit.id, entry.audit.version) == (kind.name, id, told.version)
        assert (entry.parent_kind, entry.parent_id, entry.audit.time) == (kind.name, id, told.commit_time)


def pb_name(change: Any) -> str:
    return str(type(change).DESCRIPTOR.fields_by_name["action"].enum_type.values_by_number[change.action].name)


@pytest.fixture(scope="module")
def verified(daemon: DaemonProcess) -> Iterator[None]:
    """Verifies the store after these tests, once: `verify` reads all of it, which takes longer than a test."""
    yield
    with Api(daemon.socket_path) as api:
        assert api.problems(timeout_s=110) == [], "verify finds columns, images and history that disagree"


@kinds
@pytest.mark.usefixtures("verified")
def test_records_are_read_back_and_in_the_history(daemon: DaemonProcess, kind: Kind) -> None:
    with Api(daemon.socket_path) as api:
        alive: list[tuple[str, list[Any]]] = []

        @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None)
        @given(st.data())
        def run(data: st.DataObject) -> None:
            api.workspace = f"test-{uuid.uuid4().hex}"
            alive.append((api.workspace, lives(kind, World(api), data.draw)))

        run()
        for api.workspace, states in alive[:-2]:  # the others stay, to be verified
            api.commit(delete(kind.name, states[-1].id))
            assert_gone(api, kind, states[0].id)
            assert_told(api, kind, states)


def test_a_live_watch_is_told_of_every_kind(world: World) -> None:
    api, since = world.api, world.api.revision()
    stream = api.watch(after_revision=since)
    made = {kind.name: world.parent(kind.name) for kind in KINDS.values() if kind.name not in SINGULAR}
    made |= {name: world.parent(name) for name in SINGULAR}
    done = [("ACTION_INSERT", *each) for each in made.items()]
    for kind in KINDS.values():
        if not kind.immutable:
            field = changeable(kind)[0]
            message = kind.message_class(id=made[kind.name])
            world.fill(message, field)
            api.commit(update_of(kind, complete(message), [field.name]))
            done.append(("ACTION_UPDATE", kind.name, made[kind.name]))
    for name, id in reversed(made.items()):
        api.commit(delete(name, id))
        done.append(("ACTION_DELETE", name, id))
    told: list[store_service_pb2.Change] = []
    for frame in stream:
        told += frame.changes
        if told and step(told[-1]) == done[-1]:
            break
    stream.cancel()
    asked = set(done)
    assert [each for each in map(step, told) if each in asked] == done, "changes are missing, repeated or out of order"
    assert [step(each) for each in told if each.action != store_service_pb2.ACTION_INSERT] == done[len(made) :]
    assert told == api.changes(after_revision=since)


def step(change: store_service_pb2.Change) -> tuple[str, str, str]:
    return pb_name(change), change.kind, change.id
