# Generated from tests/end_to_end/test_client_transcripts.py by `make generate-async`. Do not edit.
"""Transcripts over a real daemon: append, the writer, reading, following."""

from __future__ import annotations

import datetime
import itertools
import threading
import time
from typing import Any

import pytest

import holdfast
from tests.async_client.store import AsyncStore, collect
from holdfast.v1 import entry_pb2


@pytest.fixture
async def session_id(store: AsyncStore) -> str:
    return (await store.sessions.create(title="a session")).id


async def test_append_and_read_back(store: AsyncStore, session_id: str) -> None:
    said = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert await store.transcripts.append(session_id, role="prompt", content="…", metadata={"n": 1}, time=said, iteration=2) == 1
    combined = entry_pb2.Entry(transcript=entry_pb2.Transcript(role="combined"))
    entries: list[Any] = [{"role": "response", "content": "é"}, entry_pb2.Transcript(role="chunk"), combined]
    assert await store.transcripts.append_many(session_id, entries) == range(2, 5)
    assert len(await store.transcripts.append_many(session_id, [])) == 0
    read = await collect(store.transcripts.read(session_id))
    assert [each.number for each in read] == [1, 2, 3, 4]
    first = holdfast.plain(read[0])["transcript"]
    assert (first["metadata"], first["time"], first["iteration"], first["content"]) == ({"n": 1}, said, 2, "…")


async def test_reading_parts(store: AsyncStore, session_id: str) -> None:
    await store.transcripts.append_many(session_id, [{"role": "odd" if n % 2 else "even", "content": str(n)} for n in range(1, 101)])

    async def numbers(**how: Any) -> list[int]:
        return [each.number async for each in store.transcripts.read(session_id, **how)]

    assert await numbers(start=5, end=8) == [5, 6, 7, 8]
    assert await numbers(descending=True, limit=3) == [100, 99, 98]
    assert await numbers(start=99) == [99, 100] and await numbers(start=500) == []
    assert await numbers(filter='role = "even"', limit=2) == [2, 4]


async def test_tasks_have_transcripts_too_and_list_goes_over_all(store: AsyncStore, session_id: str) -> None:
    task = await store.tasks.create(title="t")
    await store.transcripts.append(session_id, role="prompt", content="s")
    await store.transcripts.append(task.id, parent_kind="task", role="prompt", content="t")
    listed = await collect(store.transcripts.list(filter='role = "prompt"', page_size=1))
    assert {(each.parent_kind, each.parent_id, each.transcript.content) for each in listed} == {
        ("session", session_id, "s"),
        ("task", task.id, "t"),
    }
    assert len(await collect(store.transcripts.list(limit=1, page_size=1))) == 1
    assert [each.parent_id async for each in store.transcripts.list(parent_kind="task")] == [task.id]


async def test_expected_last_number_is_checked(store: AsyncStore, session_id: str) -> None:
    assert await store.transcripts.append(session_id, role="a", expected_last_number=0) == 1
    with pytest.raises(holdfast.VersionMismatch):
        await store.transcripts.append(session_id, role="b", expected_last_number=0)


async def test_no_such_parent(store: AsyncStore) -> None:
    await store.tasks.create(title="creates the workspace")
    with pytest.raises(holdfast.ParentNotFound):
        await store.transcripts.append("ses_none", role="a")
    with pytest.raises(holdfast.NotFound):
        await collect(store.transcripts.read("ses_none"))
