"""Transcripts over a real daemon: append, the writer, reading, following."""

from __future__ import annotations

import datetime
import itertools
import threading
import time
from typing import Any

import pytest

import holdfast
from holdfast.v1 import entry_pb2


@pytest.fixture
def session_id(store: holdfast.Store) -> str:
    return store.sessions.create(title="a session").id


def test_append_and_read_back(store: holdfast.Store, session_id: str) -> None:
    said = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert store.transcripts.append(session_id, role="prompt", content="…", metadata={"n": 1}, time=said, iteration=2) == 1
    combined = entry_pb2.Entry(transcript=entry_pb2.Transcript(role="combined"))
    entries: list[Any] = [{"role": "response", "content": "é"}, entry_pb2.Transcript(role="chunk"), combined]
    assert store.transcripts.append_many(session_id, entries) == range(2, 5)
    assert len(store.transcripts.append_many(session_id, [])) == 0
    read = list(store.transcripts.read(session_id))
    assert [each.number for each in read] == [1, 2, 3, 4]
    first = holdfast.plain(read[0])["transcript"]
    assert (first["metadata"], first["time"], first["iteration"], first["content"]) == ({"n": 1}, said, 2, "…")


def test_reading_parts(store: holdfast.Store, session_id: str) -> None:
    store.transcripts.append_many(session_id, [{"role": "odd" if n % 2 else "even", "content": str(n)} for n in range(1, 101)])

    def numbers(**how: Any) -> list[int]:
        return [each.number for each in store.transcripts.read(session_id, **how)]

    assert numbers(start=5, end=8) == [5, 6, 7, 8]
    assert numbers(descending=True, limit=3) == [100, 99, 98]
    assert numbers(start=99) == [99, 100] and numbers(start=500) == []
    assert numbers(filter='role = "even"', limit=2) == [2, 4]


def test_tasks_have_transcripts_too_and_list_goes_over_all(store: holdfast.Store, session_id: str) -> None:
    task = store.tasks.create(title="t")
    store.transcripts.append(session_id, role="prompt", content="s")
    store.transcripts.append(task.id, parent_kind="task", role="prompt", content="t")
    listed = list(store.transcripts.list(filter='role = "prompt"', page_size=1))
    assert {(each.parent_kind, each.parent_id, each.transcript.content) for each in listed} == {
        ("session", session_id, "s"),
        ("task", task.id, "t"),
    }
    assert len(list(store.transcripts.list(limit=1, page_size=1))) == 1
    assert [each.parent_id for each in store.transcripts.list(parent_kind="task")] == [task.id]


def test_expected_last_number_is_checked(store: holdfast.Store, session_id: str) -> None:
    assert store.transcripts.append(session_id, role="a", expected_last_number=0) == 1
    with pytest.raises(holdfast.VersionMismatch):
        store.transcripts.append(session_id, role="b", expected_last_number=0)


def test_the_writer_keeps_order_and_counts(store: holdfast.Store, session_id: str) -> None:
    batches: list[tuple[int, int]] = []
    with store.transcripts.writer(
        session_id, on_acknowledged=lambda a: batches.append((a.first_number, a.last_number))
    ) as writer:
        for number in range(20_000):
            writer.write(role="response", content=str(number), iteration=number % 3)
        assert writer.flush() == 20_000
        writer.write(role="response", content="last", metadata={"ü": None}, task_id="TASK-001", phase="end")
    assert (writer.written, writer.acknowledged, writer.last_number) == (20_001, 20_001, 20_001)
    assert [each.transcript.content for each in store.transcripts.read(session_id)] == [*map(str, range(20_000)), "last"]
    assert batches[0][0] == 1 and all(one[1] + 1 == two[0] for one, two in itertools.pairwise(batches))
    assert len(batches) < 2000, "the writer must put many entries into a batch"


def test_writer_under_threads(store: holdfast.Store, session_id: str) -> None:
    with store.transcripts.writer(session_id) as writer:

        def work(name: str) -> None:
            for number in range(3000):
                writer.write(role=name, content=str(number))

        threads = [threading.Thread(target=work, args=(f"thread{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    read = list(store.transcripts.read(session_id))
    assert len(read) == 12_000
    for number in range(4):
        assert [int(each.transcript.content) for each in read if each.transcript.role == f"thread{number}"] == list(range(3000))


def test_an_invalid_entry_does_not_affect_its_batch(store: holdfast.Store, session_id: str) -> None:
    with store.transcripts.writer(session_id) as writer:
        writer.write(role="a", content="1")
        wrongs: list[dict[str, Any]] = [
            {"role": ""},
            {"role": "nul\0"},
            {"role": "\ud800"},
            {"role": "a", "phase": "\0"},
            {"role": "a", "metadata": {1: 1}},
            {"role": "a", "metadata": holdfast.Json("{")},
            {"role": "a", "iteration": 2**63},
            {"role": "a", "metadata": "x" * (1 << 20)},
            {"role": "a", "content": 7},
        ]
        for wrong in wrongs:
            with pytest.raises((holdfast.InvalidArgument, TypeError)):
                writer.write(**wrong)
        writer.write(role="a", content="2")
    assert [each.transcript.content for each in store.transcripts.read(session_id)] == ["1", "2"]


def test_big_entries_in_many_batches(store: holdfast.Store, session_id: str) -> None:
    contents = ["ä" * 500_000, "𝄞" * 250_000, "x" * 1_000_000] * 5
    with store.transcripts.writer(session_id) as writer:
        for content in contents:
            writer.write(role="a", content=content)
    assert [each.transcript.content for each in store.transcripts.read(session_id)] == contents


def test_the_parent_deleted_under_a_writer(store: holdfast.Store, session_id: str) -> None:
    writer = store.transcripts.writer(session_id)
    writer.write(role="a", content="kept until then")
    writer.flush()
    store.sessions.delete(session_id, cascade=True)
    writer.write(role="a")
    with pytest.raises(holdfast.ParentNotFound):
        writer.flush()
    with pytest.raises(holdfast.ParentNotFound):
        writer.write(role="a")
    with pytest.raises(holdfast.ParentNotFound):
        writer.close()
    assert (writer.written, writer.acknowledged) == (2, 1)


def test_the_writer_ends(store: holdfast.Store, session_id: str) -> None:
    with pytest.raises(KeyError, match="of the block") as caught, store.transcripts.writer(session_id) as writer:
        writer.write(role="a", content="said before the error")
        raise KeyError("of the block")
    assert not hasattr(caught.value, "__notes__")
    assert [each.transcript.content for each in store.transcripts.read(session_id)] == ["said before the error"]
    with pytest.raises(holdfast.Closed):
        writer.write(role="a")
    writer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "holdfast-writer"]


def test_an_error_in_the_block_stays_the_error_when_the_flush_fails_too(store: holdfast.Store) -> None:
    with pytest.raises(KeyError) as caught, store.transcripts.writer("ses_none") as writer:
        writer.write(role="a")
        raise KeyError
    assert "only 0 are durable" in caught.value.__notes__[0]


def test_follow_sees_what_comes(store: holdfast.Store, session_id: str) -> None:
    store.transcripts.append(session_id, role="a", content="before")
    seen: list[str] = []
    reader = store.transcripts.follow(session_id)

    def follow() -> None:
        seen.extend(each.transcript.content for each in reader)

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(50):
        store.transcripts.append(session_id, role="a", content=str(number))
    deadline = time.monotonic() + 10
    while len(seen) < 51 and time.monotonic() < deadline:
        time.sleep(0.01)
    reader.close()
    thread.join(10)
    assert not thread.is_alive()
    assert seen == ["before", *map(str, range(50))]


def test_no_such_parent(store: holdfast.Store) -> None:
    store.tasks.create(title="creates the workspace")
    with pytest.raises(holdfast.ParentNotFound):
        store.transcripts.append("ses_none", role="a")
    with pytest.raises(holdfast.NotFound):
        list(store.transcripts.read("ses_none"))
