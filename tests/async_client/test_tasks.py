"""What runs in tasks: a follower, where the synchronous tests use a thread, a watch, and many calls at once."""

from __future__ import annotations

import asyncio

import pytest

import holdfast
from tests.async_client.store import AsyncStore


async def test_follow_sees_what_comes_and_closing_it_ends_the_task(store: AsyncStore) -> None:
    session = await store.sessions.create(title="s")
    await store.transcripts.append(session.id, role="a", content="before")
    seen: list[str] = []
    reader = store.transcripts.follow(session.id)

    async def follow() -> None:
        async for each in reader:
            seen.append(each.transcript.content)

    task = asyncio.create_task(follow())
    for number in range(50):
        await store.transcripts.append(session.id, role="a", content=str(number))
    async with asyncio.timeout(10):
        while len(seen) < 51:
            await asyncio.sleep(0.01)
        await reader.close()
        await task
    assert seen == ["before", *map(str, range(50))]


async def test_a_watch_has_the_changes_of_a_transaction(store: AsyncStore) -> None:
    await store.tasks.create(title="before")
    async with await store.tasks.watch() as watch:
        async with store.transaction() as tx:
            made = await tx.tasks.create(title="after")
            entry = await tx.transcripts.append(made.id, parent_kind="task", role="a")
        change = await anext(watch)
    assert (change.id, change.revision, made.version, entry.number) == (made.id, tx.revision, 1, 1)
    with pytest.raises(holdfast.NotFound):
        async with store.transaction() as tx:
            await tx.tasks.delete("TASK-404")


async def test_calls_of_many_tasks_run_together(store: AsyncStore) -> None:
    await store.tasks.create(title="first")
    made = await asyncio.gather(*(store.tasks.create(title=str(number)) for number in range(50)))
    assert sorted(each.title for each in made) == sorted(map(str, range(50))) and await store.tasks.count() == 51
