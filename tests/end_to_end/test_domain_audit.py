"""The audit through the client: of one record, and of the whole store."""

from __future__ import annotations

import datetime
import os

import pytest

import holdfast
from holdfast.v1 import entry_pb2


def test_the_audit_of_a_record(store: holdfast.Store) -> None:
    task = store.tasks.create(title="t")
    store.tasks.update(task.id, status="running", tags=["x"])
    store.tasks.create(title="another")
    entries = list(store.audit.of("task", task.id))
    assert entries == list(store.audit.of(task)), "kind and id, or the message, must give the same audit"
    assert [(each.action, each.version, each.actor) for each in entries] == [("insert", 1, "tester"), ("update", 2, "tester")]
    assert holdfast.json_value(entries[1].diff) == {"status": {"before": "created", "after": "running"}, "tags": {"after": ["x"]}}
    store.tasks.delete(task.id)
    assert [each.action for each in store.audit.of(task)] == ["insert", "update", "delete"]
    with pytest.raises(TypeError):
        store.audit.of("task")
    with pytest.raises(TypeError):
        store.audit.of(entry_pb2.Transcript())


def test_the_audit_names_the_process_that_made_the_commit(store: holdfast.Store) -> None:
    session = store.sessions.create(title="s")
    store.sessions.update(session.id, title="t")
    store.transcripts.append(session.id, role="user", content="c")
    assert [(each.peer_uid, each.peer_pid) for each in store.audit.query()] == [(os.getuid(), os.getpid())] * 3
    assert len(list(store.audit.query(filter=f"peer_pid = {os.getpid()} AND peer_uid = {os.getuid()}"))) == 3
    assert list(store.audit.query(filter="peer_pid = 1")) == []


def test_the_audit_of_a_checkpoint(store: holdfast.Store) -> None:
    session = store.sessions.create(title="s")
    saved = store.checkpoints.save(session.id, context={"a": 1})
    (entry,) = store.audit.of(saved)
    assert (entry.kind, entry.id, entry.action) == ("checkpoint", saved.id, "insert")


def test_the_audit_is_queried_in_pages(store: holdfast.Store) -> None:
    task = store.tasks.create(title="t")
    for number in range(12):
        store.tasks.update(task.id, priority=str(number))
    store.bugs.create(title="b")
    assert len(list(store.audit.query(page_size=5))) == 14
    assert [each.action for each in store.audit.query(page_size=5, limit=7)] == ["insert", *["update"] * 6]
    assert [each.kind for each in store.audit.query(kind="bug")] == ["bug"]
    assert [each.version for each in store.audit.query(action="update", kind="task", filter="version > 11")] == [12, 13]
    assert len(list(store.audit.query(actor="tester"))) == 14 and list(store.audit.query(actor="nobody")) == []
    assert [each.kind for each in store.audit.query(descending=True, limit=2)] == ["bug", "task"]
    now = datetime.datetime.now(datetime.UTC)
    assert len(list(store.audit.query(until=now))) == 14 and list(store.audit.query(since=now)) == []
