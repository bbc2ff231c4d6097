"""Notes of the audit and clients of earlier API versions, retries, and the limit of a commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.v1 import store_service_pb2 as pb
from holdfastd.model.call import Call
from tests.support.engine import Engine, answered


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


def note(engine: Engine, action: str, request_id: str = "", size: int = 0, count: int = 1) -> Any:
    each = pb.Mutation(note=pb.Note(kind="task", id="T", action=action, diff=f'"{"x" * size}"'))
    request = pb.StoreServiceCommitRequest(request_id=request_id, mutations=[each] * count, return_records=True)
    return answered(engine.commits.commit(request, Call(30)))


def watched(engine: Engine, api_version: int) -> list[int]:
    request = pb.StoreServiceWatchRequest(after_revision=0, replay_only=True)
    frames = list(engine.parts.watches.watch(request, Call(30, api_version=api_version)))
    assert frames[-1].revision == engine.ledger.revision
    return [change.action for frame in frames for change in frame.changes]


def insert(engine: Engine) -> None:
    mutation = pb.Mutation(insert=pb.Insert())
    mutation.insert.record.task.id, mutation.insert.record.task.title = "T", "t"
    answered(engine.commits.commit(pb.StoreServiceCommitRequest(mutations=[mutation]), Call(30)))


def test_a_client_that_does_not_know_notes_is_not_sent_any(engine: Engine) -> None:
    insert(engine)
    note(engine, "approved")
    assert watched(engine, 4) == [pb.ACTION_INSERT, pb.ACTION_NOTE]
    assert watched(engine, 3) == [pb.ACTION_INSERT]


def test_a_retry_adds_it_once(engine: Engine) -> None:
    insert(engine)
    first, again = (note(engine, "approved", request_id="r") for _ in range(2))
    assert first == again and (first.results[0].kind, first.results[0].id, first.results[0].version) == ("task", "T", 1)
    assert watched(engine, 4) == [pb.ACTION_INSERT, pb.ACTION_NOTE]


def test_notes_count_for_the_limit_of_a_commit(engine: Engine) -> None:
    insert(engine)
    with pytest.raises(Exception, match="Split it"):
        for count in (60, 70):
            note(engine, "large", size=1_000_000, count=count)


def test_a_damaged_record_is_restored_from_its_newest_change_and_not_from_a_note(engine: Engine) -> None:
    insert(engine)
    note(engine, "approved")
    engine.connection.execute("UPDATE task SET image = X'00' WHERE id = 'T'")
    mutation = pb.Mutation(update=pb.Update())
    mutation.update.record.task.id, mutation.update.record.task.description = "T", "restored"
    request = pb.StoreServiceCommitRequest(mutations=[mutation], return_records=True)
    answer = answered(engine.commits.commit(request, Call(30)))
    assert (answer.results[0].record.task.title, answer.results[0].version) == ("t", 2)
