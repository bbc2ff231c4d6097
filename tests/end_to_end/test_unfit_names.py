"""Ids, filters and names with a lone surrogate are InvalidArgument, which names the field, from every method that takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import holdfast

BAD = "id \udc80"

CALLS: dict[str, tuple[str, Callable[[holdfast.Store], Any]]] = {
    "get": ("id", lambda store: store.tasks.get(BAD)),
    "exists": ("id", lambda store: store.tasks.exists(BAD)),
    "batch_get": ("id", lambda store: store.tasks.batch_get(["T", BAD])),
    "list": ("filter", lambda store: list(store.tasks.list(filter=f'title = "{BAD}"'))),
    "order": ("order_by", lambda store: list(store.tasks.list(order_by=BAD))),
    "page": ("page_token", lambda store: store.tasks.page(page_token=BAD)),
    "first": ("filter", lambda store: store.tasks.first(filter=BAD)),
    "count": ("filter", lambda store: store.tasks.count(BAD)),
    "create": ("id", lambda store: store.tasks.create(id=BAD, title="t")),
    "update": ("id", lambda store: store.tasks.update(BAD, title="t")),
    "delete": ("id", lambda store: store.tasks.delete(BAD)),
    "history": ("ids", lambda store: list(store.tasks.history(BAD))),
    "watch": ("ids", lambda store: store.watch(ids=[BAD], since=0)),
    "cursor": ("cursor", lambda store: store.watch(cursor=BAD)),
    "append": ("parent_id", lambda store: store.transcripts.append(BAD, role="r", content="c")),
    "read": ("parent_id", lambda store: store.transcripts.read(BAD)),
    "entries": ("filter", lambda store: list(store.transcripts.list(filter=BAD))),
    "entry watch": ("ids", lambda store: store.transcripts.watch(ids=[BAD], since=0)),
    "events": ("task_id", lambda store: store.events.save(BAD, type="x")),
    "audit": ("parent_id", lambda store: list(store.audit.of("task", BAD))),
    "states": ("filter", lambda store: store.states.load(BAD)),
    "comments": ("filter", lambda store: list(store.comments.for_task(BAD))),
    "outputs": ("filter", lambda store: list(store.phase_outputs.for_task(BAD))),
    "attachment": ("filter", lambda store: store.attachments.get("T", BAD)),
    "checkpoint": ("id", lambda store: store.checkpoints.load(BAD)),
    "session": ("session_id", lambda store: store.checkpoints.save(BAD, context=b"c", parent="")),
    "latest": ("filter", lambda store: store.checkpoints.latest("S", tag=BAD)),
    "blob": ("digest", lambda store: store.blobs.get(BAD)),
    "stat": ("digest", lambda store: store.blobs.exists(BAD)),
    "base": ("base_digest", lambda store: store.blobs.put(b"b", base_digest=BAD)),
    "workspace": ("workspace", lambda store: store.in_workspace(BAD).tasks.count()),
    "job": ("job", lambda store: list(store.run_job(BAD))),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_lone_surrogate_is_refused_with_the_field(store: holdfast.Store, name: str) -> None:
    field, call = CALLS[name]
    with pytest.raises(holdfast.InvalidArgument, match="lone surrogate") as refused:
        call(store)
    assert refused.value.metadata["field"] == field


def test_a_transaction_refuses_it_too(store: holdfast.Store) -> None:
    with pytest.raises(holdfast.InvalidArgument, match="lone surrogate"), store.transaction() as tx:
        tx.transcripts.append(BAD, role="r", content="c")
    with pytest.raises(holdfast.InvalidArgument, match="lone surrogate"), store.transaction() as tx:
        tx.tasks.delete(BAD)
    with pytest.raises(holdfast.InvalidArgument, match="lone surrogate"), store.transaction(request_id=BAD) as tx:
        tx.tasks.create(title="t")
