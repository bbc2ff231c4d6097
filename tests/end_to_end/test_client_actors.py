"""A server that writes for many people over one connection, and the content types of the files that they add."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from tests.end_to_end.command_line import Run


def test_as_actor_writes_for_others_on_one_connection(store: holdfast.Store) -> None:
    ada, bob = store.as_actor("ada"), store.as_actor("bob")
    task = ada.tasks.create(title="t")
    with bob.transaction() as tx:
        tx.tasks.update(task.id, status="running")
    store.tasks.update(task.id, status="completed")
    assert [each.actor for each in store.audit.of(task)] == ["ada", "bob", "tester"]
    assert ada.with_timeout(5).in_workspace("other").actor == "ada" and bob.workspace == store.workspace
    assert ada.revision == store.revision
    with pytest.raises(holdfast.InvalidArgument, match="actor"):
        store.as_actor("x" * 201).tasks.create(title="t")
    with pytest.raises(holdfast.InvalidArgument, match="as_actor: the actor is empty"):
        store.as_actor("")


def test_content_types_of_files(store: holdfast.Store, tmp_path: Path, run: Run) -> None:
    construct = store.constructs.create(name="c", type="agent")
    for name, expected in {"a.log": "text/plain", "a.diff": "text/x-diff", "a.ts": "text/x-typescript"}.items():
        path = tmp_path / name
        path.write_bytes(b"x")
        assert store.artifacts.put(source=path, construct_id=construct.id, type="log").content_type == expected
        made = run("create", "artifact", f"construct_id={construct.id}", "type=log", f"content_digest=@{path}")
        assert store.artifacts.get(made.out.strip()).content_type == expected
    task = store.tasks.create(title="t")
    assert store.attachments.save(task.id, "events.jsonl", b"{}").content_type == "application/jsonl"
    assert store.attachments.save(task.id, "events.jsonl", b"{}", content_type="text/x-own").content_type == "text/x-own"
