"""Pages of every kind hold each record exactly once that exists throughout, while others write."""

from __future__ import annotations

import pytest

from holdfast.contract.kinds import KINDS, FieldType, Kind
from tests.registry.world import SINGULAR, World, several
from tests.support.api import delete

MANY = [each for each in KINDS.values() if each.name not in SINGULAR]
PAGES = 20  # more than any of these lists has


def orders(kind: Kind) -> list[str]:
    names = [each.name for each in kind.columns if each.type is not FieldType.JSON]
    return ["", "create_time desc", *(f"{name} desc" for name in names[4:7]), "update_time"]


@pytest.mark.parametrize("kind", MANY, ids=lambda each: each.name)
def test_pages_are_stable_while_others_write(world: World, kind: Kind) -> None:
    for order_by in orders(kind):
        ids = list(several(world, kind, 7))
        goes, stays = ids[5:], set(ids[:5])
        seen: list[str] = []
        token = ""
        for page in range(PAGES):
            answer = world.api.list(kind.name, order_by=order_by, page_size=2, page_token=token)
            assert len(answer.records) <= 2
            seen += [each.id for each in answer.records]
            token = answer.next_page_token
            if not token:
                break
            if goes:
                world.api.commit(delete(kind.name, goes.pop()))
            if page < 3:
                world.add(kind, world.minimal(kind))
        assert not token
        assert len(seen) == len(set(seen)), order_by
        assert stays <= set(seen), order_by
        for each in world.api.list(kind.name, page_size=1000).records:
            world.api.commit(delete(kind.name, each.id, cascade=True))
