"""Deleting a record that others refer to, for every reference field: refused, cascaded or unlinked."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from holdfast.contract.kinds import Field, Kind, Referrer, referrers
from tests.registry.world import World
from tests.support.api import delete, refused

CASES = [(target, each) for target, found in referrers().items() for each in found]
NAMES = [f"{target}-from-{each.kind.name}.{each.field.name}" for target, each in CASES]
GONE = grpc.StatusCode.NOT_FOUND


def refer(world: World, kind: Kind, field: Field, target: str, id: str) -> str:
    """Creates a record whose field refers to the target and returns its id."""
    message = world.minimal(kind)
    assert field.reference is not None
    if field.reference.kind_field:
        setattr(message, field.reference.kind_field, target)
    if field.repeated:
        getattr(message, field.name).append(id)
    else:
        setattr(message, field.name, id)
    return world.add(kind, message)


def actions(world: World, after: int) -> list[tuple[str, str]]:
    return [(each.kind, each.id) for each in world.api.changes(after_revision=after)]


def is_gone(world: World, kind: str, id: str) -> bool:
    return world.api.count(kind, filter=f'id = "{id}"') == 0


def unlinked(record: Any, field: Field) -> bool:
    return not getattr(record, field.name)


@pytest.mark.parametrize(("target", "referrer"), CASES, ids=NAMES)
def test_deleting_what_a_field_refers_to(world: World, target: str, referrer: Referrer) -> None:
    kind, field = referrer.kind, referrer.field
    reference = field.reference
    assert reference is not None
    id = world.parent(target)
    other = refer(world, kind, field, target, id)
    before = world.api.revision()
    if reference.follows or reference.clears:
        world.api.commit(delete(target, id))
    else:
        refusal = refused(lambda: world.api.commit(delete(target, id)))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "HAS_DEPENDENTS")
        assert refusal.metadata == {kind.name: "1"}
        assert world.api.get(kind.name, other).version == 1
        if reference.refuses:
            refusal = refused(lambda: world.api.commit(delete(target, id, cascade=True)))
            assert (refusal.reason, refusal.metadata) == ("HAS_DEPENDENTS", {kind.name: "1"})
            assert not is_gone(world, target, id) and not is_gone(world, kind.name, other)
            return
        world.api.commit(delete(target, id, cascade=True))
    assert is_gone(world, target, id)
    assert actions(world, before) == [(kind.name, other), (target, id)]  # children first, one change for each record
    if reference.owned or reference.follows:
        assert is_gone(world, kind.name, other)
    else:
        record = world.api.get(kind.name, other)
        assert unlinked(record, field) and record.version == 2


@pytest.mark.parametrize(("target", "referrer"), CASES, ids=NAMES)
def test_what_is_referred_to_must_exist(world: World, target: str, referrer: Referrer) -> None:
    assert referrer.field.reference is not None
    if referrer.field.reference.may_be_missing:
        refer(world, referrer.kind, referrer.field, target, "nobody")
        assert world.api.count(referrer.kind.name) == 1
        return
    refusal = refused(lambda: refer(world, referrer.kind, referrer.field, target, "nobody"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PARENT_NOT_FOUND")
    assert world.api.count(referrer.kind.name) == 0
