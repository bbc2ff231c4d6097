"""Records with equal values are listed in the order in which they were written, on every page and after a migration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.contract.kinds import KINDS
from holdfast.v1 import record_pb2
from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import InvalidArgument
from holdfastd.model import checksums, pages
from holdfastd.model.call import Call
from holdfastd.model.ordering import place_in_history
from holdfastd.store import verify
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import find_migrations, migrate
from tests.support import api
from tests.support.engine import Engine, answered, insert_task, update_task

NAMES = ["m", "c", "z", "a", "k"]  # as written; no order of ids


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


def commit(engine: Engine, *mutations: pb.Mutation) -> Any:
    return answered(engine.commits.commit(pb.StoreServiceCommitRequest(mutations=mutations), Call(30)))


def paged(engine: Engine, kind: str, order_by: str = "", page_size: int = 2) -> list[str]:
    """The ids of a list, read page by page."""
    found: list[str] = []
    token = ""
    while True:
        request = pb.StoreServiceListRequest(kind=kind, order_by=order_by, page_size=page_size, page_token=token)
        page = engine.records.list(request, Call())
        found += [each.id for each in page.records]
        if not (token := page.next_page_token):
            return found


@pytest.mark.parametrize("order_by", ["", "status", "priority, create_time"])
def test_one_commit_is_listed_as_it_was_written(engine: Engine, order_by: str) -> None:
    commit(engine, *[api.insert("task", id=id, title=id) for id in NAMES])
    engine.submit(update_task("m", title="changed"))  # an update does not move a record
    engine.submit(insert_task("0"), insert_task("9"), insert_task("5"))
    assert paged(engine, "task", order_by) == [*NAMES, "0", "9", "5"]
    if not order_by:
        assert paged(engine, "task", "create_time desc") == ["5", "9", "0", *reversed(NAMES)]


def test_ids_that_the_daemon_makes_do_not_change_the_order(engine: Engine) -> None:
    commit(engine, api.insert("task", id="T", title="t"))
    comments = [api.insert("comment", task_id="T", body=str(number)) for number in range(40)]
    ids = [each.id for each in commit(engine, *comments).results]
    assert paged(engine, "comment", page_size=7) == ids
    (frame,) = engine.records.scan(pb.StoreServiceScanRequest(lists=[pb.ScanList(kind="comment")]), Call())
    assert [each.id for each in frame.records] == ids


def test_commits_of_one_time_are_listed_one_after_the_other(engine: Engine) -> None:
    """A clock that stands still, or went back by less than an hour, gives many commits one time."""
    engine.ledger.commit_time = 2**62
    for id in NAMES:
        engine.submit(insert_task(id))
    assert paged(engine, "task") == NAMES


def test_a_record_made_anew_comes_last(engine: Engine) -> None:
    commit(engine, *[api.insert("task", id=id, title=id) for id in ("b", "a")])
    commit(engine, api.delete("task", "b"), api.insert("task", id="c", title="c"), api.insert("task", id="b", title="b"))
    assert paged(engine, "task") == ["a", "c", "b"]
    assert engine.query("SELECT id, made FROM task ORDER BY made") == [
        ("a", place_in_history(1, 1)),
        ("c", place_in_history(2, 1)),
        ("b", place_in_history(2, 2)),
    ]


def test_a_token_of_an_earlier_version_is_refused_and_says_so(engine: Engine) -> None:
    token = pages.encode_token(("default", "task", "", ""), (5, "x"))
    with pytest.raises(InvalidArgument, match="earlier version of the daemon") as caught:
        engine.records.list(pb.StoreServiceListRequest(kind="task", page_token=token), Call())
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


def problems(connection: Connection, kind: str = "task") -> list[tuple[str, str]]:
    return [(each.reason, each.subject) for each in verify.images(KINDS[kind])(connection)]


@pytest.mark.parametrize("value", [0, 7, "'x'"])
def test_verify_compares_the_place_with_the_history(engine: Engine, value: object) -> None:
    engine.submit(insert_task("a"), insert_task("b"))
    assert problems(engine.connection) == []
    engine.connection.execute(f"UPDATE task SET made = {value} WHERE id = 'b'")
    assert problems(engine.connection) == [("record_misplaced", "task/b")]


def as_before(engine: Engine, directory: Path) -> Connection:
    """A copy of the engine's store as the version before migration 10 had it."""
    database = Database(directory / "old.db").open_writer()
    migrate(database, directory, [each for each in find_migrations() if each.version < 10])
    database.execute("ATTACH ? AS new", (str(directory / "holdfast.db"),))
    database.execute("PRAGMA foreign_keys = OFF")
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'schema%'"
    for (name,) in database.execute(tables).fetchall():
        columns = [row[1] for row in database.execute(f"PRAGMA main.table_info({name})")]
        nulls = {"proposed_fix": "COALESCE(proposed_fix, '')", "approved": "COALESCE(approved, 0)"}
        values = ", ".join(nulls.get(each, each) for each in columns)
        database.execute(f"INSERT OR IGNORE INTO main.{name} ({', '.join(columns)}) SELECT {values} FROM new.{name}")
    database.execute("DETACH new")
    forget_refusals(database)
    return database


def forget_refusals(database: Connection) -> None:
    """Writes the images of gate decisions as the version before did: without `approved` where it is false."""
    for id, image in database.execute("SELECT id, image FROM gate_decision").fetchall():
        message = record_pb2.GateDecision.FromString(image)
        if not message.approved:
            message.ClearField("approved")
        encoded = message.SerializeToString()
        checksum = checksums.of_image("default", "gate_decision", id, encoded)
        database.execute("UPDATE gate_decision SET image = ?, checksum = ? WHERE id = ?", (encoded, checksum, id))
        database.execute("UPDATE changes SET image = ?, image_checksum = NULL, checksum = NULL WHERE id = ?", (encoded, id))


def test_a_store_from_before_keeps_its_order_its_refusals_and_its_fixes(engine: Engine, tmp_path: Path) -> None:
    gate = {"task_id": "m", "phase": "p"}
    commit(engine, *[api.insert("task", id=id, title=id) for id in NAMES])
    commit(engine, api.insert("gate_decision", id="no", **gate), api.insert("gate_decision", id="yes", approved=True, **gate))
    commit(engine, api.insert("bug", id="fixed", title="b", proposed_fix="f"), api.insert("bug", id="open", title="b"))
    commit(engine, api.delete("task", "z"), api.insert("task", id="z", title="again"))
    database = as_before(engine, tmp_path)
    migrate(database, tmp_path)
    made = [id for (id,) in database.execute("SELECT id FROM task ORDER BY create_time, made")]
    assert made == ["m", "c", "a", "k", "z"]
    assert database.execute("SELECT id, made FROM task ORDER BY id").fetchall() == engine.query(
        "SELECT id, made FROM task ORDER BY id"
    )
    decided = database.execute("SELECT id, approved, image IS NULL FROM gate_decision ORDER BY id").fetchall()
    assert decided == [("no", 0, 1), ("yes", 1, 0)]
    assert database.execute("SELECT id, proposed_fix FROM bug ORDER BY id").fetchall() == [("fixed", "f"), ("open", None)]
    for kind in ("task", "gate_decision", "bug"):
        assert problems(database, kind) == []
    database.execute("UPDATE gate_decision SET approved = NULL WHERE id = 'yes'")
    assert problems(database, "gate_decision") == [("record_differs", "gate_decision/yes")]
    database.close()
