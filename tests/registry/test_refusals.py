"""What every kind refuses: an update of an old version, of an immutable field, or without a required field."""

from __future__ import annotations

import grpc
import pytest

from holdfast.contract.kinds import KINDS, Field, FieldType, Kind
from tests.registry.world import World, insert_of, settable, update_of
from tests.support.api import delete, refused

ABORTED, INVALID = grpc.StatusCode.ABORTED, grpc.StatusCode.INVALID_ARGUMENT

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
mutable_kinds = pytest.mark.parametrize(
    "kind", [each for each in KINDS.values() if not each.immutable], ids=lambda each: each.name
)


def free_field(kind: Kind) -> Field:
    """A text field without constraints that may be updated."""
    texts = [each for each in settable(kind) if each.type is FieldType.STRING and not each.repeated and not each.immutable]
    return next(each for each in texts if not each.values and each.reference is None and not each.blob)


@mutable_kinds
def test_two_changes_of_the_same_version_conflict(world: World, kind: Kind) -> None:
    id, name = world.parent(kind.name), free_field(kind).name
    world.api.commit(update_of(kind, kind.message_class(id=id, **{name: "first"}), [name], 1))
    second = update_of(kind, kind.message_class(id=id, **{name: "second"}), [name], 1)
    refusal = refused(lambda: world.api.commit(second))
    assert (refusal.code, refusal.reason) == (ABORTED, "VERSION_MISMATCH")
    assert (refusal.metadata["expected"], refusal.metadata["actual"]) == ("1", "2")
    record = world.api.get(kind.name, id)
    assert (getattr(record, name), record.version) == ("first", 2)
    refusal = refused(lambda: world.api.commit(delete(kind.name, id, version=1)))
    assert (refusal.code, refusal.reason) == (ABORTED, "VERSION_MISMATCH")


@kinds
def test_an_immutable_kind_is_never_changed(world: World, kind: Kind) -> None:
    if not kind.immutable:
        return
    id, name = world.parent(kind.name), free_field(kind).name
    refusal = refused(lambda: world.api.commit(update_of(kind, kind.message_class(id=id, **{name: "other"}), [name])))
    assert (refusal.code, refusal.reason) == (INVALID, "KIND_IMMUTABLE")
    assert world.api.get(kind.name, id).version == 1


@mutable_kinds
def test_an_immutable_field_is_fixed(world: World, kind: Kind) -> None:
    id = world.parent(kind.name)
    before = world.api.get(kind.name, id)
    for field in settable(kind):
        values = [each for each in field.values if each != getattr(before, field.name)] if field.values else ["other"]
        if field.immutable and values:
            other = kind.message_class(id=id, **{field.name: values[0]})
            refusal = refused(lambda name=field.name, other=other: world.api.commit(update_of(kind, other, [name])))
            assert (refusal.code, refusal.reason, refusal.metadata["field"]) == (INVALID, "FIELD_IMMUTABLE", field.name)
    assert world.api.get(kind.name, id) == before


@kinds
def test_a_missing_required_field_is_refused(world: World, kind: Kind) -> None:
    for field in settable(kind):
        if field.required:
            message = world.minimal(kind)
            message.ClearField(field.name)
            refusal = refused(lambda message=message: world.api.commit(insert_of(kind, message)))
            assert (refusal.code, refusal.reason, refusal.metadata["field"]) == (INVALID, "FIELD_REQUIRED", field.name)
    assert world.api.count(kind.name) == 0


@kinds
def test_an_id_is_taken_once(world: World, kind: Kind) -> None:
    message = world.minimal(kind)
    numbered = any(each.number_within for each in kind.columns)
    if kind.id_template and numbered:  # the next insert would get another number, and so another id
        assert world.add(kind, message) != world.add(kind, message)
        return
    message.id = "" if kind.id_template else "one"
    world.add(kind, message)
    refusal = refused(lambda: world.add(kind, message))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ID_TAKEN")


@pytest.mark.parametrize(
    ("kind", "key"),
    [(each, key.fields) for each in KINDS.values() for key in each.keys],
    ids=lambda each: str(getattr(each, "name", each)),
)
def test_a_key_is_taken_once_and_an_upsert_finds_its_record_by_it(world: World, kind: Kind, key: tuple[str, ...]) -> None:
    first, second = world.minimal(kind), world.minimal(kind)
    for name in key:
        value = world.parent(field.reference.kind) if (field := kind.by_name[name]).reference else "same"
        setattr(first, name, value)
        setattr(second, name, value)
    id = world.add(kind, first)
    refusal = refused(lambda: world.add(kind, second))
    assert (refusal.code, refusal.reason, refusal.metadata["id"]) == (grpc.StatusCode.ALREADY_EXISTS, "KEY_TAKEN", id)
    mutation = insert_of(kind, second)
    mutation.upsert.record.CopyFrom(mutation.insert.record)
    mutation.upsert.update_mask.paths.append(free_field(kind).name)
    assert [(each.id, each.version) for each in world.api.commit(mutation).results] == [(id, 2)]
