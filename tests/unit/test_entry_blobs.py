"""The blobs that entries name are checked, kept, counted, verified, and dropped with their journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.v1 import admin_service_pb2, blob_service_pb2, entry_pb2, journal_service_pb2
from holdfastd.errors import FailedPrecondition, InvalidArgument
from holdfastd.model.call import Call
from holdfastd.writer.batch import Waiter
from tests.support import api
from tests.support.engine import Engine, insert_session
from tests.support.in_process import DirectApi

MISSING = "sha256:" + "0" * 64


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path, inline_max_bytes=40)
    yield made
    made.close()


@pytest.fixture
def direct(engine: Engine) -> DirectApi:
    found = DirectApi(engine, "default")
    engine.submit(insert_session("S"))
    return found


def entry(digest: str = "", **fields: Any) -> entry_pb2.Entry:
    return entry_pb2.Entry(transcript=entry_pb2.Transcript(**{"role": "r", "content_digest": digest, **fields}))


def append(direct: DirectApi, *entries: entry_pb2.Entry, parent_kind: str = "session", parent_id: str = "S") -> Any:
    request = journal_service_pb2.JournalServiceAppendRequest(parent_kind=parent_kind, parent_id=parent_id, entries=entries)
    return direct.journal.Append(request)


def references(direct: DirectApi, digest: str) -> int:
    return int(direct.blob.Stat(blob_service_pb2.BlobServiceStatRequest(digest=digest)).reference_count)


def swept(direct: DirectApi) -> int:
    frames = direct.admin.RunJob(admin_service_pb2.AdminServiceRunJobRequest(job="sweep"))
    return int(list(frames)[-1].counts["blobs_deleted"])


def test_a_reference_keeps_the_blob_and_goes_with_the_journal(engine: Engine, direct: DirectApi) -> None:
    one, two = direct.put(b"one" * 100).digest, direct.put(b"two" * 100).digest
    append(direct, entry(one, content_type="text/plain; charset=utf-8"), entry(content="plain"), entry(two), entry(one))
    engine.connection.execute("UPDATE blob_candidate SET due_time = 0")
    assert [references(direct, each) for each in (one, two)] == [2, 1]
    found = [each.transcript for each in engine.entries("S")]
    assert [each.content_size_bytes for each in found] == [300, 0, 300, 300]
    assert [each.content_digest for each in found] == [one, "", two, one]
    assert engine.query("SELECT kind, id, field FROM blob_reference ORDER BY id, digest") == [
        ("transcript", f"session/S/{number}", "content_digest") for number in (1, 3, 4)
    ]
    assert direct.problems() == []
    direct.commit(api.delete("session", "S", cascade=True))
    assert [references(direct, each) for each in (one, two)] == [0, 0]
    assert engine.query("SELECT count(*) FROM blob_candidate") == [(2,)]
    assert direct.problems() == []


def test_the_blobs_of_events(engine: Engine, direct: DirectApi) -> None:
    data, message = direct.put(b'{"a":1}' * 50).digest, direct.put(b"said" * 50).digest
    event = entry_pb2.Event(type="t", data_digest=data, message_digest=message, message_type="text/plain; charset=utf-8")
    append(direct, entry_pb2.Entry(event=event))
    (found,) = (each.event for each in engine.entries("S", journal="event"))
    assert (found.data_size_bytes, found.message_size_bytes) == (350, 200)
    assert [references(direct, each) for each in (data, message)] == [1, 1]
    listed = journal_service_pb2.JournalServiceListRequest(journal="event", filter=f'data_digest = "{data}" AND message_type:*')
    assert len(direct.journal.List(listed).entries) == 1
    direct.commit(api.delete("session", "S", cascade=True))
    assert direct.problems() == []


def test_a_missing_blob_refuses_the_append_and_nothing_else(engine: Engine, direct: DirectApi) -> None:
    append(direct, entry(content="first"))  # the journal's head is in the cache: such appends run without a savepoint
    with pytest.raises(FailedPrecondition, match=f"There is no blob {MISSING}") as caught:
        append(direct, entry(content="second"), entry(MISSING))
    assert (caught.value.reason, caught.value.metadata["digest"]) == ("BLOB_NOT_FOUND", MISSING)
    assert len(engine.entries("S")) == 1
    with pytest.raises(FailedPrecondition):
        append(direct, entry(MISSING), parent_kind="task", parent_id=direct.insert("task", title="t"))
    assert engine.query("SELECT count(*) FROM journal") == [(1,)], "a refused append made a journal"
    assert direct.problems() == []


def test_a_refused_append_does_not_undo_its_batch(engine: Engine, direct: DirectApi) -> None:
    append(direct, entry(content="first"))
    requests = [
        journal_service_pb2.JournalServiceAppendRequest(parent_kind="session", parent_id="S", entries=[each])
        for each in (entry(content="second"), entry(MISSING), entry(content="third"))
    ]
    pending = [engine.commits.append(each, Call(30)) for each in requests]
    waiters = [Waiter(each.command, Call(30), lambda waiter: None) for each in pending]
    commits = engine.query("SELECT count(*) FROM commits")[0][0]
    statements: list[str] = []
    engine.connection.set_trace_callback(statements.append)
    engine.batcher.run(waiters)
    engine.connection.set_trace_callback(None)
    assert "ROLLBACK" not in statements, "the batch was rolled back and its commands were run one by one"
    assert [type(each.error) for each in waiters] == [type(None), FailedPrecondition, type(None)]
    assert [each.transcript.content for each in engine.entries("S")] == ["first", "second", "third"]
    assert engine.query("SELECT count(*) FROM commits") == [(commits + 2,)]


def test_an_entry_says_one_thing(direct: DirectApi) -> None:
    digest = direct.put(b"one").digest
    for wrong in (
        entry(digest, content="both"),
        entry(content="plain", content_type="text/plain"),
        entry(digest, content_type="a\0b"),
        entry_pb2.Entry(event=entry_pb2.Event(type="t", data="{}", data_digest=digest)),
    ):
        with pytest.raises(InvalidArgument):
            append(direct, wrong)
    append(direct, entry(content="plain", content_size_bytes=7), entry(digest, content_size_bytes=7))
    found = journal_service_pb2.JournalServiceListRequest(filter="content_size_bytes = 7")
    assert list(direct.journal.List(found).entries) == []
    assert direct.problems() == []


def test_verify_finds_lost_references(engine: Engine, direct: DirectApi) -> None:
    digest, other = direct.put(b"one" * 100).digest, direct.put(b"two" * 100).digest
    append(direct, entry(content="x"), entry(digest))
    engine.connection.execute("UPDATE blob_reference SET id = 'session/S/7'")
    assert problems(direct) == {"reference_missing transcript/session/S/2", "reference_unused transcript/session/S/7"}
    engine.connection.execute("UPDATE blob_reference SET id = 'session/S/2', field = 'other'")
    assert problems(direct) == {"reference_missing transcript/session/S/2"}
    engine.connection.execute("UPDATE blob_reference SET field = 'content_digest'")
    assert problems(direct) == set()
    engine.connection.execute("UPDATE transcript SET content_digest = ? WHERE number = 2", (other,))
    assert {"entry_damaged session/S", "reference_unused transcript/session/S/2"} <= problems(direct)
    engine.connection.execute("UPDATE transcript SET content_digest = ? WHERE number = 2", (digest,))
    engine.connection.execute("PRAGMA foreign_keys = OFF")
    engine.connection.execute("DELETE FROM blob WHERE digest = ?", (digest,))
    assert "reference_dangling transcript/session/S/2" in problems(direct)


def problems(direct: DirectApi) -> set[str]:
    return {" ".join(each.split()[:2]) for each in direct.problems()}


def test_a_damaged_digest_does_not_keep_its_blob_from_being_released(engine: Engine, direct: DirectApi) -> None:
    digest, other = direct.put(b"one" * 100).digest, direct.put(b"two" * 100).digest
    append(direct, entry(digest))
    engine.connection.execute("UPDATE transcript SET content_digest = ?", (other,))
    direct.commit(api.delete("session", "S", cascade=True))
    assert engine.query("SELECT count(*) FROM blob_reference") == [(0,)]
    assert references(direct, digest) == 0
    assert engine.query("SELECT count(*) FROM blob_candidate") == [(2,)]


def test_entries_of_a_parent_whose_id_is_like_another_s_entry(engine: Engine, direct: DirectApi) -> None:
    digest = direct.put(b"one" * 100).digest
    engine.submit(insert_session("S/1"))
    append(direct, entry(digest))
    append(direct, entry(digest), parent_id="S/1")
    direct.commit(api.delete("session", "S", cascade=True))
    assert engine.query("SELECT id FROM blob_reference") == [("session/S/1/1",)]
    assert direct.problems() == []


def test_an_append_without_blobs_runs_the_same_statements(engine: Engine, direct: DirectApi) -> None:
    append(direct, entry(content="first"))
    statements: list[str] = []
    engine.connection.set_trace_callback(statements.append)
    append(direct, entry(content="second"), entry(content="third"))
    engine.connection.set_trace_callback(None)
    names = 'journal_id, number, revision, create_time, "task_id", "phase", "iteration", "role", "content", image, checksum'
    (insert,) = (each for each in statements if each.startswith('INSERT INTO "transcript"'))
    assert insert.startswith(f'INSERT INTO "transcript" ({names}) VALUES')
    assert not [each for each in statements if "blob" in each or each.startswith("SAVEPOINT")]


def test_the_sweep_finds_entries_by_an_index(engine: Engine, direct: DirectApi) -> None:
    """The foreign keys of the entries are checked when a blob's row is deleted."""
    digest = direct.put(b"one" * 100).digest
    append(direct, *(entry(content="x" * 100) for _ in range(2000)))
    steps = [0]
    engine.connection.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 100)
    for table in ("blob_candidate", "blob_inline", "blob_checksum"):
        engine.connection.execute(f"DELETE FROM {table}")
    steps[0] = 0
    engine.connection.execute("DELETE FROM blob WHERE digest = ?", (digest,))
    engine.connection.set_progress_handler(None, 0)
    assert steps[0] < 20, "the delete scans the entries"


def test_an_upload_whose_append_never_came_is_swept(engine: Engine, direct: DirectApi) -> None:
    kept, _ = direct.put(b"one" * 100).digest, direct.put(b"two" * 100).digest
    append(direct, entry(kept))
    engine.batcher._clock_ns = lambda: 2**62
    engine.parts.blob_sweep._clock_ns = lambda: 2**62
    assert swept(direct) == 1
    assert references(direct, kept) == 1


def test_an_output_has_its_content_or_a_blob(direct: DirectApi) -> None:
    digest, task = direct.put(b"one" * 100).digest, direct.insert("task", title="t")
    id = direct.insert("phase_output", task_id=task, phase="p", content="small")
    for fields, mask, expected in (
        ({"content_digest": digest}, ["content_digest"], ("", digest, 300)),
        ({"content": "again"}, ["content"], ("again", "", 0)),
        ({"content_digest": digest}, [], ("", digest, 300)),
        ({"content": "more"}, [], ("more", "", 0)),
        ({"content_digest": digest, "phase": "p", "task_id": task}, ["*"], ("", digest, 300)),
        ({"source": "x"}, ["source"], ("", digest, 300)),
        ({"content": ""}, ["content"], ("", "", 0)),
    ):
        direct.commit(api.update("phase_output", id=id, mask=mask, **fields))
        found = direct.get("phase_output", id)
        assert (found.content, found.content_digest, found.content_size_bytes) == expected
        assert references(direct, digest) == bool(expected[1])
    with pytest.raises(InvalidArgument, match="content and content_digest are both set"):
        direct.commit(api.update("phase_output", id=id, mask=["*"], content="x", content_digest=digest))
    assert direct.problems() == []


def test_a_retried_append_refers_once(engine: Engine, direct: DirectApi) -> None:
    digest = direct.put(b"one" * 100).digest
    request = journal_service_pb2.JournalServiceAppendRequest(
        parent_kind="session", parent_id="S", entries=[entry(digest)], request_id="once"
    )
    assert [direct.journal.Append(request).last_number for _ in range(2)] == [1, 1]
    assert references(direct, digest) == 1
