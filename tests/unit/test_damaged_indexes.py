"""One bit of an index changed while the daemon is stopped: what the next writes do to what the index no longer shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.contract.kinds import KINDS
from holdfast.v1 import journal_service_pb2 as journal_pb
from holdfast.v1 import record_pb2
from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import DataLoss, HoldfastError, NotFound
from holdfastd.model.call import Call
from holdfastd.model.mutations import Mutation, Upsert
from holdfastd.writer.batch import Waiter
from tests.support.engine import Engine, append, commit_of, delete, insert_session, insert_task, update_task
from tests.support.flips import flip

COUNTS = "SELECT (SELECT count(*) FROM journal), (SELECT count(*) FROM transcript), (SELECT count(*) FROM commits)"
LAST = 20  # number and row of the last entry
LAST_KEY = bytes([4, 9, 1, 1, LAST, LAST])  # a header, the types of the constant 1 and of two bytes, and these


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Callable[[str, bytes, int, int], Engine]]:
    """Fills a store, flips a bit of it, and opens it again."""
    engine = Engine(tmp_path)
    engine.submit(insert_session("S1"), append("S1", *[f"old {number}" for number in range(1, LAST + 1)]))
    engine.submit(insert_session("S2"), append("S2", "other"))
    engine.submit(insert_session("S3"), append("S3", "third"))
    engine.submit(insert_task("T1", title="kept"), insert_task("T2"))
    engine.close()
    opened: list[Engine] = []

    def reopened(name: str, stored: bytes, at: int, bit: int) -> Engine:
        flip(tmp_path / "holdfast.db", name, stored, at, bit)
        opened.append(Engine(tmp_path))
        return opened[0]

    yield reopened
    for each in opened:
        each.close()


Damaged = Callable[[str, bytes, int, int], Engine]


def listed(engine: Engine, **fields: Any) -> list[int]:
    request = journal_pb.JournalServiceListRequest(journal="transcript", page_size=1000, **fields)
    return [each.number for each in engine.journals.list(request, Call()).entries]


def refused(engine: Engine, *mutations: Mutation) -> DataLoss:
    """The DATA_LOSS of a commit, which changes nothing."""
    before = engine.query(COUNTS)
    with pytest.raises(DataLoss, match="Run verify") as lost:
        engine.submit(*mutations)
    assert engine.query(COUNTS) == before
    return lost.value


def test_no_second_journal_is_made_for_one_that_an_index_hides(damaged: Damaged) -> None:
    engine = damaged("sqlite_autoindex_journal_2", b"sessionS1", 8, 0)
    assert refused(engine, append("S1", "new")).reason == "JOURNAL_DAMAGED"
    for cascade in (False, True):
        assert refused(engine, delete("session", "S1", cascade=cascade)).reason == "JOURNAL_DAMAGED"
    with pytest.raises(DataLoss, match="Entry 1 of the transcript of session S1"):
        listed(engine, parent_kind="session", parent_id="S1")
    assert len(listed(engine)) == LAST + 2  # by another index
    assert engine.submit(append("S3", "more")).results[0].first_number == 2
    assert listed(engine, parent_kind="session", parent_id="S3") == [1, 2]


@pytest.mark.parametrize(("at", "bit"), [(at, bit) for at in (1, 2, 4) for bit in range(8)])
def test_no_number_is_given_twice_behind_a_damaged_key(damaged: Damaged, at: int, bit: int) -> None:
    """Of the last key of the entries: the type of the journal's id, the type of the number, or the number."""
    engine = damaged("sqlite_autoindex_transcript_1", LAST_KEY, at, bit)
    before = engine.query(COUNTS)
    for _ in range(2):
        with pytest.raises(DataLoss):
            engine.submit(append("S1", "new"))
    assert engine.query(COUNTS) == before


def test_no_entry_goes_into_the_journal_of_another(damaged: Damaged) -> None:
    engine = damaged("journal", b"\x02default", 0, 0)  # the id of S2's journal becomes that of S3's
    assert "that of session S3" in str(refused(engine, append("S2", "new")))
    refused(engine, delete("session", "S2", cascade=True))
    assert engine.submit(append("S3", "more")).results[0].first_number == 2
    assert [each.transcript.content for each in engine.entries("S3")] == ["third", "more"]


def test_nothing_is_appended_behind_a_damaged_entry(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.submit(insert_session("S"), append("S", "one", "two"))
    engine.close()
    engine = Engine(tmp_path)
    engine.connection.execute("UPDATE transcript SET image = x'00' WHERE number = 2")
    assert "of its last entry 2, it is damaged" in str(refused(engine, append("S", "new")))
    engine.close()


@pytest.mark.parametrize("index", ["sqlite_autoindex_commits_1", "sqlite_autoindex_changes_1"])
@pytest.mark.parametrize("bit", [0, 1, 2, 6])
def test_no_revision_is_given_behind_a_damaged_key(damaged: Damaged, index: str, bit: int) -> None:
    """Of the newest revision, 4: the index shows an earlier one or one that never was."""
    key = {"commits": bytes([3, 1, 1, 4, 4]), "changes": bytes([4, 1, 9, 1, 4, 8])}[index.split("_")[2]]
    engine = damaged(index, key, key.index(4, 1), bit)
    for mutation in (append("S1", "new"), insert_task("T9"), delete("task", "T2")):
        assert refused(engine, mutation).reason == "HISTORY_DAMAGED"
    found = engine.records.get(pb.StoreServiceGetRequest(kind="task", id="T1"), Call())
    assert found.record.task.title == "kept"


def test_a_commit_that_only_a_scan_finds_is_data_loss_of_a_watch(damaged: Damaged) -> None:
    """The key of revision 3 repeats 2. The index has as many keys as before; a search for 3, as in a join, finds nothing."""
    key = bytes([3, 1, 1, 3, 3])
    engine = damaged("sqlite_autoindex_commits_1", key, 3, 0)
    with pytest.raises(DataLoss, match="4 of the 4 revisions from 1 to 4 are whole, and an index does not find all commits"):
        engine.changes()
    assert [each.revision for each in engine.changes(after=3)] == [4, 4]


def test_a_key_that_repeats_another_hides_no_change(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.submit(*[insert_task(f"T{number}") for number in range(20)])
    engine.close()
    flip(tmp_path / "holdfast.db", "sqlite_autoindex_changes_1", bytes([4, 9, 1, 1, 18, 19]), 4, 1)  # 18 becomes 16
    engine = Engine(tmp_path)
    with pytest.raises(DataLoss, match="history"):
        engine.changes()
    engine.close()


def get(engine: Engine, id: str, workspace: str = "") -> Any:
    return engine.records.get(pb.StoreServiceGetRequest(kind="task", id=id, workspace=workspace), Call()).record.task


def test_a_hidden_record_is_not_written_again(damaged: Damaged) -> None:
    engine = damaged("sqlite_autoindex_task_1", b"defaultT1", 8, 0)
    again = insert_task("T1", title="again")
    for mutation in (
        again,
        Upsert(KINDS["task"], record_pb2.Task(id="T1", title="again"), ("title",)),
        update_task("T1", title="again"),
        delete("task", "T1"),
    ):
        assert refused(engine, mutation).reason == "RECORD_DAMAGED"
    with pytest.raises(DataLoss, match="hides it"):
        get(engine, "T1")
    batch = pb.StoreServiceBatchGetRequest(keys=[pb.RecordKey(kind="task", id=id) for id in ("T1", "T2", "T3")])
    found = engine.records.batch_get(batch, Call())
    assert [[each.id for each in some] for some in (found.unreadable, found.missing)] == [["T1"], ["T3"]]
    assert engine.query("SELECT count(*) FROM task") == [(2,)]
    with pytest.raises(NotFound):
        get(engine, "T3")


def test_a_hidden_workspace_is_read_and_not_made_again(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.writer.submit(commit_of(insert_task("T1"), workspace="other"), Call())
    engine.close()
    flip(tmp_path / "holdfast.db", "sqlite_autoindex_workspace_1", b"other", 4, 0)
    engine = Engine(tmp_path)
    assert get(engine, "T1", "other").id == "T1"
    engine.writer.submit(commit_of(insert_task("T2"), workspace="other"), Call())
    assert engine.query("SELECT count(*) FROM workspace NOT INDEXED") == [(1,)]
    with pytest.raises(NotFound):
        get(engine, "T1", "never")
    engine.close()


def outcomes(engine: Engine, *commits: tuple[Mutation, ...]) -> list[Any]:
    """The results of commits of one batch, or their errors."""
    batch = [Waiter(commit_of(*each), Call(), lambda _: None) for each in commits]
    engine.writer.run_exclusively(lambda: engine.batcher.run(batch), Call())
    return [each.error or each.outcome().results for each in batch]


def test_what_the_batch_itself_wrote_is_no_damage(tmp_path: Path) -> None:
    """The history of a batch is written at its end, so the tables are ahead of it. A refused command clears the cached heads."""
    engine = Engine(tmp_path)
    engine.submit(insert_session("S"), append("S", "one"), insert_task("T"))
    engine.close()
    engine = Engine(tmp_path)
    found = outcomes(
        engine,
        (append("S", "two"),),
        (delete("task", "none"),),
        (append("S", "three"), delete("session", "S", cascade=True), insert_session("S"), append("S", "new"), append("S", "er")),
        (delete("task", "T"),),
        (insert_task("T"), delete("task", "T"), insert_task("T")),
        (delete("task", "none"),),
        (append("S", "last"),),
    )
    assert [each for each in found if isinstance(each, HoldfastError)] == [found[1], found[5]]
    assert found[6][0].first_number == 3
    assert [each.transcript.content for each in engine.entries("S")] == ["new", "er", "last"]
    engine.close()


def test_a_constraint_that_the_found_rows_allow_is_data_loss(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.submit(insert_task("T"))
    for sql, is_damage in (
        ("INSERT INTO commits SELECT * FROM commits", True),
        ("INSERT INTO blob_reference VALUES ('none', 'w', 'task', 'T', 'f')", True),
        ("UPDATE task SET title = NULL", False),
    ):
        with pytest.raises(engine.connection.Error) as caught:
            engine.connection.execute(sql)
        assert isinstance(engine.connection.engine.translate(caught.value), DataLoss) == is_damage
    engine.close()
