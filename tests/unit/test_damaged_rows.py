"""Damage in the database: nothing damaged is sent as good, nothing is missing silently, and verify names each."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.contract.kinds import JOURNALS, KINDS
from holdfast.v1 import admin_service_pb2, entry_pb2
from holdfast.v1 import journal_service_pb2 as journal_pb
from holdfast.v1 import store_service_pb2 as pb
from holdfastd import MAX_API_VERSION
from holdfastd.errors import DataLoss
from holdfastd.model import checksums
from holdfastd.model.call import Call
from holdfastd.model.commands import FinishChecksums
from tests.support.engine import Engine, append, insert_session, insert_task, update_task

TEXTS = ("one", "two", "three", "four", "five")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    made.writer.submit(FinishChecksums(), Call())
    made.submit(insert_session("S"), append("S", *TEXTS[:3]), request_id="first")
    made.submit(append("S", *TEXTS[3:]))
    made.submit(insert_task("T1", title="a title"))
    made.submit(update_task("T1", 1, title="another"))
    yield made
    made.close()


def change(engine: Engine, sql: str, *parameters: Any) -> None:
    engine.connection.execute("PRAGMA foreign_keys = OFF")
    assert engine.connection.execute(sql, parameters).rowcount


def problems(engine: Engine) -> list[tuple[str, str]]:
    return [(each.reason, each.subject) for each in verified(engine)]


def verified(engine: Engine) -> list[admin_service_pb2.Problem]:
    frames = engine.parts.admin.verify(admin_service_pb2.AdminServiceVerifyRequest(read_blobs=True), Call())
    return [each for frame in frames for each in frame.problems]


def frames(engine: Engine, **fields: Any) -> list[journal_pb.JournalServiceReadResponse]:
    return list(engine.read(journal_pb.JournalServiceReadRequest(parent_kind="session", parent_id="S", **fields), Call()))


def listed(engine: Engine, journal: str = "") -> journal_pb.JournalServiceListResponse:
    return engine.journals.list(journal_pb.JournalServiceListRequest(journal=journal), Call())


def test_an_undamaged_store_has_no_problem(engine: Engine) -> None:
    assert problems(engine) == []
    assert [each.transcript.content for each in engine.entries("S")] == list(TEXTS)


def test_the_checksums_are_those_of_the_definition(engine: Engine) -> None:
    """Computed as docs/checksums.md says, without the code of the store."""
    ((image, checksum),) = engine.query("SELECT image, checksum FROM transcript WHERE number = 4")
    place = zlib.crc32(b"default\0transcript\0session\0S\0")
    assert checksum == zlib.crc32(image, (place + 4) % 2**32)
    entry = entry_pb2.Entry.FromString(image)
    assert (entry.number, entry.transcript.content, entry.parent_id) == (4, "four", "")
    assert entry.SerializeToString(deterministic=True) == image
    ((image, checksum),) = engine.query("SELECT image, checksum FROM task")
    assert checksum == zlib.crc32(b"default\0task\0T1\0" + image)
    ((time_ns, uid, of_image, checksum),) = engine.query(
        "SELECT commit_time, peer_uid, image_checksum, checksum FROM changes JOIN commits USING (revision) WHERE revision = 4"
    )
    assert of_image == zlib.crc32(b"default\0task\0T1\0" + image)
    said = f"default\0004\0000\0task\0T1\0002\0002\000\0000\0000\000{of_image}\000"
    said += f"{time_ns}\000tester\000\000{uid}\000{os.getpid()}\000"
    assert checksum == zlib.crc32(said.encode())
    ((created, fingerprint, answer, checksum),) = engine.query("SELECT create_time, fingerprint, answer, checksum FROM request")
    said = f"default\000tester\000first\0001\000{created}\000"
    assert checksum == zlib.crc32(said.encode() + fingerprint + answer)


def every_flip(data: bytes) -> Iterator[bytes]:
    for place in range(len(data)):
        yield data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]


def test_no_flip_in_an_entry_is_sent(engine: Engine) -> None:
    ((image,),) = engine.query("SELECT image FROM transcript WHERE number = 2")
    for bad in every_flip(image):
        change(engine, "UPDATE transcript SET image = ? WHERE number = 2", bad)
        (frame,) = frames(engine)
        assert [each.number for each in frame.entries] == [1, 3, 4, 5]
        assert [(each.kind, each.id) for each in frame.unreadable] == [("transcript", "2")]
        page = listed(engine)
        assert [each.number for each in page.entries] == [1, 3, 4, 5]
        assert [each.id for each in page.unreadable] == ["session/S/2"]
    assert problems(engine) == [("entry_damaged", "session/S")]


def test_an_entry_in_the_place_of_another_is_not_sent(engine: Engine) -> None:
    """As when an index names another row: the image is intact, but not that of this number."""
    change(
        engine,
        "UPDATE transcript SET (image, checksum) = (SELECT image, checksum FROM transcript WHERE number = 4) WHERE number = 2",
    )
    (frame,) = frames(engine)
    assert [each.number for each in frame.entries] == [1, 3, 4, 5]


@pytest.mark.parametrize("column", ["role", "content", "task_id", "iteration", "create_time", "revision"])
def test_verify_finds_a_column_that_differs_from_its_entry(engine: Engine, column: str) -> None:
    change(engine, f"UPDATE transcript SET {column} = '7' WHERE number = 3")
    assert [each.transcript.content for each in engine.entries("S")] == list(TEXTS)
    assert ("entry_damaged", "session/S") in problems(engine)


@pytest.mark.parametrize(
    ("fields", "before", "number"),
    [({}, [1, 2], 3), ({"descending": True}, [5, 4], 3), ({"start": 3}, [], 3), ({"start": 2, "end": 3}, [2], 3)],
)
def test_a_missing_entry_is_data_loss_with_its_number(
    engine: Engine, fields: dict[str, Any], before: list[int], number: int
) -> None:
    change(engine, "DELETE FROM transcript WHERE number = 3")
    found: list[int] = []
    request = journal_pb.JournalServiceReadRequest(parent_kind="session", parent_id="S", **fields)
    with pytest.raises(DataLoss) as lost:
        for frame in engine.read(request, Call()):
            found += [each.number for each in frame.entries]
    assert (lost.value.reason, lost.value.metadata["number"], found) == ("ENTRY_MISSING", str(number), before)
    assert [each.number for each in engine.entries("S", start=4)] == [4, 5]
    assert ("journal_gap", "session/S") in problems(engine)


def test_entries_missing_at_the_end_are_data_loss_too(engine: Engine) -> None:
    change(engine, "DELETE FROM transcript WHERE number > 3")
    with pytest.raises(DataLoss, match="Entry 4 of the transcript of session S is missing"):
        engine.entries("S")
    change(engine, "DELETE FROM journal")
    with pytest.raises(DataLoss, match="Entry 1 of the transcript"):
        engine.entries("S")


@pytest.mark.parametrize("number", ["2.5", "'x'"])
def test_an_entry_whose_number_is_no_number_is_data_loss(engine: Engine, number: str) -> None:
    """As when a damaged key of an index has another type."""
    change(engine, f"UPDATE transcript SET number = {number} WHERE number = 2")
    with pytest.raises(DataLoss, match="An index of the transcript entries is damaged"):
        listed(engine)
    with pytest.raises(DataLoss, match=r"An index of the transcript entries is damaged|Entry 2 of the transcript"):
        frames(engine)
    if number == "2.5":  # it is in the range that a read asks for
        with pytest.raises(DataLoss, match="An index of the transcript entries is damaged"):
            frames(engine, filter='content = "two"')
    assert problems(engine)


def test_an_entry_that_a_damaged_key_adds_is_named(engine: Engine) -> None:
    columns = [row[1] for row in engine.query("PRAGMA table_info(transcript)")]
    others = ", ".join(name for name in columns if name != "number")
    change(engine, f"INSERT INTO transcript (number, {others}) SELECT 0, {others} FROM transcript WHERE number = 3")
    page = listed(engine)
    assert [each.number for each in page.entries] == [1, 2, 3, 4, 5]
    assert [each.id for each in page.unreadable] == ["session/S/0"]


def test_a_damaged_record_is_named_and_never_sent(engine: Engine) -> None:
    ((image,),) = engine.query("SELECT image FROM task")
    for bad in every_flip(image):
        change(engine, "UPDATE task SET image = ?", bad)
        with pytest.raises(DataLoss):
            engine.records.get(pb.StoreServiceGetRequest(kind="task", id="T1"), Call())
        page = engine.records.list(pb.StoreServiceListRequest(kind="task"), Call())
        assert ([each.id for each in page.unreadable], len(page.records)) == (["T1"], 0)
    assert problems(engine) == [("image_differs", "task/T1")]


CHANGES = [
    "action = 3",
    "version = 9",
    "parent_kind = 'x'",
    "first_number = 7",
    "image = x'00'",
    "image_checksum = 5",
    "id = 'T9'",
]


def watched(engine: Engine, api_version: int = MAX_API_VERSION) -> Iterator[pb.StoreServiceWatchResponse]:
    request = pb.StoreServiceWatchRequest(after_revision=0, replay_only=True)
    return engine.watches.watch(request, Call(api_version=api_version))


@pytest.mark.parametrize("damage", CHANGES)
def test_a_watch_names_a_damaged_change_and_goes_on(engine: Engine, damage: str) -> None:
    engine.submit(update_task("T1", 2, title="the last"))
    change(engine, f"UPDATE changes SET {damage} WHERE revision = 4")
    frames = list(watched(engine))
    assert [(each.revision, each.ordinal) for frame in frames for each in frame.changes] == [
        *((1, 0), (1, 1), (2, 0), (3, 0)),
        (5, 0),
    ]
    (named,) = [each for frame in frames for each in frame.unreadable]
    row = dict(zip(("kind", "id"), engine.query("SELECT kind, id FROM changes WHERE revision = 4")[0], strict=True))
    assert (named.revision, named.ordinal, named.kind, named.id) == (4, 0, row["kind"], row["id"])
    assert "damaged in the history" in named.reason
    assert frames[-1].revision == 5


def test_a_watch_names_an_image_that_is_no_message(engine: Engine) -> None:
    change(engine, "UPDATE changes SET image = x'07', image_checksum = NULL, checksum = NULL WHERE revision = 4")
    frames = list(watched(engine))
    assert [(each.revision, each.kind, each.id) for frame in frames for each in frame.unreadable] == [(4, "task", "T1")]


@pytest.mark.parametrize("damage", CHANGES)
def test_a_damaged_change_is_data_loss_of_a_watch_of_an_older_client(engine: Engine, damage: str) -> None:
    change(engine, f"UPDATE changes SET {damage} WHERE revision = 4")
    found: list[int] = []
    with pytest.raises(DataLoss) as lost:
        for frame in watched(engine, 3):
            found += [each.revision for each in frame.changes]
    assert (lost.value.reason, lost.value.metadata["revision"], found[-1]) == ("HISTORY_DAMAGED", "4", 3)
    assert "4.1" in [each.id for each in listed(engine, "audit").unreadable]
    assert "history_damaged" in [reason for reason, _ in problems(engine)]
    assert "audit 4.1, which is change 0 of revision 4" in [each.detail for each in verified(engine)]


@pytest.mark.parametrize("damage", ["actor = 'other'", "commit_time = commit_time + 1", "peer_uid = 4321", "peer_pid = 1"])
def test_a_watch_names_the_changes_of_a_damaged_commit(engine: Engine, damage: str) -> None:
    change(engine, f"UPDATE commits SET {damage} WHERE revision = 2")
    (named,) = [each for frame in watched(engine) for each in frame.unreadable]
    assert (named.revision, named.ordinal, named.kind, named.id) == (2, 0, "transcript", "S")
    with pytest.raises(DataLoss, match="Change 0 of revision 2"):
        list(watched(engine, 3))
    assert [each.id for each in listed(engine, "audit").unreadable] == ["2.1"]
    assert ("history_damaged", "transcript/S") in problems(engine)


@pytest.mark.parametrize("table", ["commits", "changes"])
def test_a_missing_revision_is_data_loss_of_a_watch(engine: Engine, table: str) -> None:
    change(engine, f"DELETE FROM {table} WHERE revision = 3")
    with pytest.raises(DataLoss, match="3 of the 4 revisions from 1 to 4"):
        engine.changes()
    assert len(engine.changes(after=3)) == 1
    assert {reason for reason, _ in problems(engine)} & {"revision_gap", "revision_empty"}


def test_a_damaged_answer_is_not_given_again(engine: Engine) -> None:
    change(engine, "UPDATE request SET answer = replace(CAST(answer AS TEXT), '\"S\"', '\"X\"')")
    with pytest.raises(DataLoss) as lost:
        engine.submit(insert_session("S"), request_id="first")
    assert lost.value.reason == "ANSWER_DAMAGED"
    assert ("answer_damaged", "request/first") in problems(engine)


def test_a_text_that_is_not_utf8_is_data_loss(engine: Engine) -> None:
    change(engine, "UPDATE commits SET actor = CAST(x'ff41' AS TEXT) WHERE revision = 2")
    with pytest.raises(DataLoss, match="not UTF-8"):
        engine.changes()
    assert ("table_unreadable", "history") in problems(engine)


def test_a_changed_definition_is_found(engine: Engine) -> None:
    engine.connection.execute("PRAGMA writable_schema = ON")
    change(engine, "UPDATE sqlite_master SET sql = replace(sql, 'phase TEXT', 'phasE TEXT') WHERE name = 'transcript'")
    assert ("schema_damaged", "transcript") in problems(engine)


def test_a_row_without_checksum_is_a_problem_after_the_job_and_read_before_it(engine: Engine) -> None:
    change(engine, "UPDATE transcript SET checksum = NULL WHERE number = 1")
    change(engine, "UPDATE changes SET checksum = NULL WHERE revision = 1")
    assert {reason for reason, _ in problems(engine)} == {"entry_damaged", "history_damaged"}
    change(engine, "DELETE FROM meta WHERE name = 'checksums'")
    assert problems(engine) == []
    assert len(engine.entries("S")) == 5


def test_the_job_fills_in_what_an_earlier_version_wrote(engine: Engine) -> None:
    columns = {"transcript": ("image", "checksum"), "changes": ("image_checksum", "checksum")}
    columns |= {"request": ("checksum",), "task": ("checksum",), "session": ("checksum",)}
    before = {table: engine.query(f"SELECT {', '.join(names)} FROM {table}") for table, names in columns.items()}
    entries = engine.entries("S")
    for table, names in columns.items():
        change(engine, f"UPDATE {table} SET {', '.join(f'{name} = NULL' for name in names)}")
    change(engine, "DELETE FROM meta WHERE name = 'checksums'")
    assert engine.entries("S") == entries
    counts = engine.parts.scheduler.run("checksums", Call())
    assert counts["rows_examined"] >= 5 + 5 + 1 + 2
    assert {table: engine.query(f"SELECT {', '.join(names)} FROM {table}") for table, names in columns.items()} == before
    assert problems(engine) == []


def test_the_job_goes_on_over_many_commits(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfastd.jobs.checksums.ROWS_A_TURN", 2)
    change(engine, "UPDATE transcript SET image = NULL, checksum = NULL")
    engine.parts.scheduler.run("checksums", Call())
    assert engine.query("SELECT count(*) FROM transcript WHERE checksum IS NULL OR image IS NULL") == [(0,)]
    assert problems(engine) == []


def test_kinds_and_journals_are_all_filled() -> None:
    from holdfastd.store.checksum_fill import TABLES

    stored = {name for name, journal in JOURNALS.items() if not journal.derived}
    assert set(TABLES) == {*KINDS, *stored, "changes", "request", "blob"}
    assert checksums.of("a", None, 3) == zlib.crc32(b"a\0\x003\0")


def audit(engine: Engine, **fields: Any) -> journal_pb.JournalServiceListResponse:
    return engine.journals.list(journal_pb.JournalServiceListRequest(journal="audit", **fields), Call())


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE changes SET workspace = 'Default' WHERE revision = 3",
        "UPDATE changes SET ordinal = 1 WHERE revision = 3",
        "UPDATE changes SET revision = 35 WHERE revision = 3",
        "UPDATE commits SET revision = 35 WHERE revision = 3",
        "UPDATE commits SET revision = 0 WHERE revision = 4",  # the newest
        "UPDATE commits SET workspace = 'Default' WHERE revision = 3",
    ],
)
def test_a_change_that_its_workspace_no_longer_shows_is_missed(engine: Engine, damage: str) -> None:
    change(engine, damage)
    with pytest.raises(DataLoss, match="history"):
        engine.changes()
    for fields in (
        {},
        {"descending": True},
        {"page_size": 2, "descending": True},
        {"filter": 'create_time > "2000-01-01T00:00:00Z"'},
    ):
        with pytest.raises(DataLoss, match="history"):
            audit(engine, **fields)
    assert problems(engine)


def test_the_audit_of_a_part_does_not_depend_on_the_rest(engine: Engine) -> None:
    change(engine, "UPDATE changes SET workspace = 'Default' WHERE revision = 4")
    assert len(audit(engine, page_size=2).entries) == 2
    assert [each.audit.action for each in audit(engine, parent_kind="session", parent_id="S").entries] == ["insert"]


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_list_does_not_leave_out_an_entry(engine: Engine, number: int) -> None:
    engine.submit(insert_session("T"), append("T", "six"))
    request = {"journal": "transcript", "page_size": 2}
    assert [len(listed_pages(engine, **request, **more)) for more in ({}, {"descending": True}, {"parent_id": "S"})] == [6, 6, 5]
    change(engine, "DELETE FROM transcript WHERE number = ? AND journal_id = 1", number)
    for more in ({}, {"descending": True}, {"parent_id": "S"}):
        with pytest.raises(DataLoss, match=f"Entry {number} of the transcript of session S"):
            listed_pages(engine, **request, **more)
    assert len(listed_pages(engine, **request, filter="number > 0")) == 5
    assert len(listed_pages(engine, **request, parent_id="T")) == 1


def listed_pages(engine: Engine, **fields: Any) -> list[Any]:
    found, token = [], ""
    while True:
        page = engine.journals.list(journal_pb.JournalServiceListRequest(page_token=token, **fields), Call())
        found += page.entries
        if not (token := page.next_page_token):
            return found


def test_a_read_of_a_table_whose_definition_is_damaged_is_data_loss(engine: Engine) -> None:
    change_definition(engine, "checksum BIGINT", "checksun BIGINT")
    with pytest.raises(DataLoss, match="definition"):
        frames(engine)


def change_definition(engine: Engine, old: str, new: str) -> None:
    engine.connection.execute("PRAGMA writable_schema = ON")
    change(engine, "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = 'transcript'", old, new)
    engine.connection.execute("PRAGMA schema_version = 1000")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("UPDATE workspace SET name = 'Default'", "workspace_damaged"),
        ("INSERT INTO counter (workspace, name, value) VALUES ('default', 'tesk', 4)", "counter_damaged"),
        ("INSERT INTO counter (workspace, name, value) VALUES ('default', 'task', -4)", "counter_damaged"),
        ("INSERT INTO blob_candidate (digest, due_time) VALUES ('sha256:0', 0)", "candidate_damaged"),
        ("INSERT INTO blob_trash (path, stored_bytes) VALUES ('blobz/ab', 0)", "trash_damaged"),
        ("UPDATE commits SET workspace = 'Default' WHERE revision = 2", "revision_workspace"),
        ("UPDATE schema_migrations SET name = 'measuzes' WHERE version = 4", "schema_damaged"),
    ],
)
def test_verify_finds_damage_in_rows_without_a_checksum(engine: Engine, damage: str, reason: str) -> None:
    change(engine, damage)
    assert reason in {found for found, _ in problems(engine)}


def test_a_statement_of_the_writer_over_a_damaged_definition_is_data_loss(engine: Engine) -> None:
    """As a reader's: SQLite says only that there is no such column."""
    change(engine, "UPDATE meta SET value = value")
    engine.connection.execute("ALTER TABLE task RENAME COLUMN title TO titlf")
    with pytest.raises(DataLoss, match="The definition of a table in the database is damaged"):
        engine.submit(insert_task("T2", title="t"))
