"""Inserts and upserts: the version that the caller has seen, what only the daemon sets, and fields that may be unset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.v1 import record_pb2
from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import HoldfastError, InvalidArgument, NotFound, VersionMismatch
from holdfastd.model.call import Call
from holdfastd.writer.batch import Waiter
from tests.support import api
from tests.support.engine import Engine, answered, commit_of, delete, insert_task, update_task


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


def commit(engine: Engine, *mutations: pb.Mutation, api_version: int = 4, **fields: Any) -> Any:
    request = pb.StoreServiceCommitRequest(mutations=mutations, **fields)
    return answered(engine.commits.commit(request, Call(30, api_version=api_version)))


def get(engine: Engine, kind: str, id: str) -> Any:
    return getattr(engine.records.get(pb.StoreServiceGetRequest(kind=kind, id=id), Call()).record, kind)


def listed(engine: Engine, kind: str, filter: str) -> list[str]:
    return [each.id for each in engine.records.list(pb.StoreServiceListRequest(kind=kind, filter=filter), Call()).records]


def upsert(version: int, kind: str, **fields: Any) -> pb.Mutation:
    mutation = api.upsert(kind, **fields)
    mutation.upsert.version = version
    return mutation


def sent(operation: str, message: Any, *mask: str) -> pb.Mutation:
    """A mutation that sends a whole message."""
    mutation = pb.Mutation()
    part = getattr(mutation, operation)
    getattr(part.record, message.DESCRIPTOR.name.lower()).CopyFrom(message)
    if mask:
        part.update_mask.paths.extend(mask)
    return mutation


def reason(engine: Engine, *mutations: pb.Mutation) -> str:
    with pytest.raises(HoldfastError) as caught:
        commit(engine, *mutations)
    return str(caught.value.reason)


# The version that the caller has seen.


def test_an_upsert_may_expect_a_version(engine: Engine) -> None:
    commit(engine, api.insert("task", id="T", title="a"))
    assert commit(engine, upsert(1, "task", id="T", title="b")).results[0].version == 2
    with pytest.raises(VersionMismatch):
        commit(engine, upsert(1, "task", id="T", title="c"))
    assert get(engine, "task", "T").title == "b"
    assert commit(engine, upsert(0, "task", id="T", title="d")).results[0].version == 3


@pytest.mark.parametrize("kind", ["task", "phase_output", "constitution"])
def test_an_upsert_that_expects_a_version_makes_no_record(engine: Engine, kind: str) -> None:
    """Found by id, by a unique key, and by the id template."""
    commit(engine, api.insert("run", id="R"))
    fields = {"task": {"id": "T", "title": "t"}, "phase_output": {"run_id": "R", "phase": "p"}, "constitution": {"content": "c"}}
    with pytest.raises(NotFound) as caught:
        commit(engine, upsert(1, kind, **fields[kind]))
    assert caught.value.reason == "RECORD_NOT_FOUND"
    commit(engine, upsert(0, kind, **fields[kind]))
    assert commit(engine, upsert(1, kind, **fields[kind])).results[0].version == 2
    assert reason(engine, upsert(-1, kind, **fields[kind])) == "VALUE_INVALID"


# What only the daemon sets.


@pytest.mark.parametrize("field", ["version", "create_time", "update_time"])
@pytest.mark.parametrize("operation", ["insert", "upsert"])
def test_an_insert_with_a_time_or_a_version_is_refused(engine: Engine, operation: str, field: str) -> None:
    task = record_pb2.Task(id="T", title="t")
    if field == "version":
        task.version = 7
    else:
        getattr(task, field).FromJsonString("2020-01-01T00:00:00Z")
    with pytest.raises(InvalidArgument, match=r"AdminService\.Load") as caught:
        commit(engine, sent(operation, task))
    assert (caught.value.reason, caught.value.metadata["field"]) == ("OUTPUT_ONLY", field)
    assert engine.revisions() == []


def test_an_insert_does_not_choose_a_number_or_a_size(engine: Engine) -> None:
    commit(engine, api.insert("session", id="S"))
    for field in ("number", "context_size_bytes"):
        assert reason(engine, api.insert("checkpoint", session_id="S", **{field: 3})) == "OUTPUT_ONLY"
    assert reason(engine, api.insert("workflow", workflow_id="w", workflow_version=2)) == "OUTPUT_ONLY"


def test_a_record_that_was_read_is_changed_and_sent_back(engine: Engine) -> None:
    commit(engine, api.insert("session", id="S"), api.insert("checkpoint", id="K", session_id="S"))
    for number, operation in enumerate(("update", "upsert"), 1):
        found = get(engine, "checkpoint", "K")
        found.name = operation
        commit(engine, sent(operation, found, "*"))
        commit(engine, sent(operation, found, "name"))  # its version and the time of its update are old now
        assert (get(engine, "checkpoint", "K").name, get(engine, "checkpoint", "K").version) == (operation, 1 + 2 * number)
    found = get(engine, "checkpoint", "K")
    found.create_time.seconds -= 1
    assert reason(engine, sent("update", found, "name")) == "OUTPUT_ONLY"
    found = get(engine, "checkpoint", "K")
    found.number += 1
    assert reason(engine, sent("upsert", found, "*")) == "OUTPUT_ONLY"


def test_a_client_of_an_earlier_version_may_copy_whole_records(engine: Engine) -> None:
    """Clients of versions 1 and 2 send a record that was read into an insert; the daemon makes a new one of it."""
    commit(engine, api.insert("task", id="T", title="t"))
    found = get(engine, "task", "T")
    found.id = "copy"
    commit(engine, sent("insert", found), api_version=3)
    found.id = "second"
    commit(engine, sent("upsert", found, "*"), api_version=3)
    assert [get(engine, "task", id).version for id in ("copy", "second")] == [1, 1]
    assert get(engine, "task", "copy").create_time != found.create_time


# None is not "".

FIX = {"none": {}, "empty": {"proposed_fix": ""}, "some": {"proposed_fix": "a lock"}}


def test_an_unset_fix_is_told_from_an_empty_one(engine: Engine) -> None:
    commit(engine, *[api.insert("bug", id=id, title="b", **fields) for id, fields in FIX.items()])
    for image in ("image", "NULL"):  # as stored, and from the columns
        engine.connection.execute(f"UPDATE bug SET image = {image}")
        assert [(get(engine, "bug", id).HasField("proposed_fix"), get(engine, "bug", id).proposed_fix) for id in FIX] == [
            (False, ""),
            (True, ""),
            (True, "a lock"),
        ]
    assert listed(engine, "bug", "proposed_fix:*") == ["empty", "some"]
    assert listed(engine, "bug", "NOT proposed_fix:*") == ["none"]
    assert listed(engine, "bug", "proposed_fix = null") == ["none"]
    assert listed(engine, "bug", "proposed_fix != null") == ["empty", "some"]
    assert listed(engine, "bug", 'proposed_fix = ""') == ["none", "empty"]
    commit(engine, api.update("bug", id="some", mask=["proposed_fix"]))
    assert listed(engine, "bug", "proposed_fix = null") == ["none", "some"]


def test_an_empty_reference_is_an_unset_one(engine: Engine) -> None:
    commit(engine, api.insert("task", id="T", title="t"), api.insert("bug", id="B", title="b", task_id=""))
    commit(engine, api.insert("bug", id="C", title="b", task_id="T"))
    assert [get(engine, "bug", id).HasField("task_id") for id in "BC"] == [False, True]
    for text, ids in {"task_id = null": ["B"], 'task_id = ""': ["B"], "task_id:*": ["C"], "NOT task_id:*": ["B"]}.items():
        assert listed(engine, "bug", text) == ids, text


def test_a_pending_gate_is_not_a_refused_one(engine: Engine) -> None:
    gate = {"task_id": "T", "phase": "p"}
    commit(engine, api.insert("task", id="T", title="t"))
    commit(engine, *[api.insert("gate_decision", id=id, **gate, **more) for id, more in GATES.items()])
    assert [get(engine, "gate_decision", id).HasField("approved") for id in GATES] == [False, True, True]
    for text, ids in {
        "approved = null": ["pending"],
        "approved:*": ["no", "yes"],
        "approved = false": ["no"],
        "approved = true": ["yes"],
    }.items():
        assert listed(engine, "gate_decision", text) == ids, text
    commit(engine, api.update("gate_decision", id="pending", approved=False))
    assert listed(engine, "gate_decision", "approved = false") == ["pending", "no"]


GATES: dict[str, dict[str, bool]] = {"pending": {}, "no": {"approved": False}, "yes": {"approved": True}}


def test_a_refusal_of_an_earlier_client_is_a_refusal(engine: Engine) -> None:
    """Its contract has no presence, so it sends nothing for false."""
    commit(engine, api.insert("task", id="T", title="t"))
    commit(engine, api.insert("gate_decision", id="G", task_id="T", phase="p"), api_version=3)
    assert listed(engine, "gate_decision", "approved = false") == ["G"]
    commit(engine, api.update("gate_decision", id="G", approved=True), api_version=3)
    commit(engine, api.update("gate_decision", id="G", reason="r"), api_version=3)
    assert get(engine, "gate_decision", "G").approved
    commit(engine, api.update("gate_decision", id="G", mask=["approved"]), api_version=3)
    assert listed(engine, "gate_decision", "approved = false") == ["G"]


# Versions of an id that is used again.


def test_versions_go_on_rising_over_a_delete(engine: Engine) -> None:
    engine.submit(insert_task("T"))
    engine.submit(update_task("T", title="u"))
    engine.submit(delete("task", "T"))
    assert engine.submit(insert_task("T")).results[0].version == 3
    with pytest.raises(VersionMismatch):
        engine.submit(update_task("T", 2, title="lost"))
    assert engine.submit(insert_task("other")).results[0].version == 1
    for version in (5, 7):  # in one commit
        results = engine.submit(delete("task", "T"), insert_task("T"), update_task("T", title="v")).results
        assert results[-1].version == version


def test_versions_go_on_rising_within_a_batch(engine: Engine) -> None:
    """The history of a batch is written at its end. A refused commit between the two takes nothing of it back."""
    batch = [insert_task("T"), delete("task", "T"), delete("task", "nobody"), insert_task("T"), insert_task("U")]
    waiters = [Waiter(commit_of(each), Call(), lambda _: None) for each in batch]
    engine.batcher.run(waiters)
    _, deleted, refused, *made = waiters
    assert (deleted.error, type(refused.error)) == (None, NotFound)
    assert [each.result.results[0].version for each in made] == [2, 1]


def test_ids_made_of_fields_go_on_rising_too(engine: Engine) -> None:
    commit(engine, api.insert("constitution", content="a"))
    engine.submit(delete("constitution", "constitution"))
    assert commit(engine, api.upsert("constitution", content="b")).results[0].version == 2
    commit(engine, api.insert("workflow", workflow_id="w"))
    engine.submit(delete("workflow", "w@1"))
    assert commit(engine, api.insert("workflow", workflow_id="w")).results[0].version == 1
