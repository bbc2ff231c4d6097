"""Filters on every field of every kind: equality with its value finds a record, and the presence operator finds set fields."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfast.contract.kinds import KINDS, Field, FieldType, Kind
from holdfast.values.filters import quoted
from holdfastd.model.codec import time_ns
from tests.conftest import DaemonProcess
from tests.registry.world import SINGULAR, World, insert_of
from tests.support.api import Api

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def literal(field: Field, value: Any) -> str:
    match field.type:
        case FieldType.STRING:
            return quoted(value)
        case FieldType.BOOLEAN:
            return "true" if value else "false"
        case FieldType.TIME:
            return f'"{value.ToJsonString()}"'
        case _:
            return repr(value)


def is_set(field: Field, message: Message) -> bool:
    if field.repeated or not (field.optional or field.type is FieldType.TIME):
        return bool(getattr(message, field.name))
    return message.HasField(field.name)


def comparable(field: Field, value: Any) -> Any:
    return time_ns(value) if field.type is FieldType.TIME else value


def questions(field: Field, message: Message, path: str) -> Iterator[tuple[str, Any]]:
    """Filters that the message matches, each with the value that another message must have to match as well."""
    if field.member is not None:
        for element in getattr(message, field.name):
            for inner in field.member.fields:
                yield from ((text, None) for text, _ in questions(inner, element, f"{path}.{inner.name}"))
    elif field.repeated:
        yield from ((f"{path}:{quoted(each)}", None) for each in getattr(message, field.name))
    elif field.type is FieldType.JSON:
        yield from ((text, None) for text in inside(getattr(message, field.name), path))
    elif is_set(field, message) or not field.nullable:
        value = getattr(message, field.name)
        yield f"{path} = {literal(field, value)}", comparable(field, value)


def inside(text: str, path: str) -> Iterator[str]:
    """Filters on paths inside a JSON value."""
    value = json.loads(text) if text else None
    if isinstance(value, dict):
        yield from (f"{path}.{quoted(key)}:*" for key in value)
    elif isinstance(value, str):
        yield f"{path} = {quoted(value)}"
    elif text:
        yield f"{path}:*"


def found(api: Api, kind: Kind, text: str) -> set[str]:
    return {each.id for each in api.list(kind.name, filter=text).records}


def check_kind(kind: Kind, world: World, draw: st.DrawFn) -> None:
    """Creates a record with every field set and, unless the workspace may hold only one, one with only the required fields."""
    whole = world.api.get(kind.name, world.add(kind, world.drawn(kind, draw, every_field=True)))
    plain = whole if kind.name in SINGULAR else world.api.get(kind.name, world.parent(kind.name))
    records = {each.id: each for each in (whole, plain)}
    for field in kind.fields:
        for text, value in questions(field, whole, field.name):
            ids = found(world.api, kind, text)
            assert whole.id in ids, text
            if value is not None and whole is not plain:
                same = comparable(field, getattr(plain, field.name)) == value and (is_set(field, plain) or not field.nullable)
                assert (plain.id in ids) == same, text
        holders = {id for id, each in records.items() if is_set(field, each)}
        assert found(world.api, kind, f"{field.name}:*") & set(records) == holders, field.name
        assert found(world.api, kind, f"NOT {field.name}:*") & set(records) == set(records) - holders, field.name


@kinds
def test_filters_on_every_field(daemon: DaemonProcess, kind: Kind) -> None:
    with Api(daemon.socket_path) as api:

        @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None)
        @given(st.data())
        def run(data: st.DataObject) -> None:
            api.workspace = f"test-{uuid.uuid4().hex}"
            check_kind(kind, World(api), data.draw)

        run()


@kinds
def test_ready_filters_kinds_that_have_blockers(world: World, kind: Kind) -> None:
    if kind.readiness is None:
        return
    readiness = kind.readiness
    blocker, waiting = world.parent(kind.name), world.minimal(kind)
    getattr(waiting, readiness.waits_for).append(blocker)
    id = world.api.commit(insert_of(kind, waiting)).results[0].id
    for value in kind.by_name[readiness.status_field].values:
        message = kind.message_class(id=blocker, **{readiness.status_field: value})
        mutation = insert_of(kind, message)
        mutation.update.record.CopyFrom(mutation.insert.record)
        mutation.update.update_mask.paths.append(readiness.status_field)
        world.api.commit(mutation)
        done = value in readiness.done_values
        assert found(world.api, kind, "ready = true") == ({blocker, id} if done else {blocker}), value
        assert found(world.api, kind, "ready = false") == (set() if done else {id}), value
