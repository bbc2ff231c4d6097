"""The migration of outputs and logs: outputs get the task of their run, and what an earlier store holds stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.v1 import record_pb2
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import find_migrations, migrate
from tests.support.engine import Engine
from tests.support.in_process import DirectApi, store_over


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


def add(connection: Connection, table: str, **values: object) -> None:
    """Inserts a row; the columns that are not named have empty texts and zeros."""
    row = {"workspace": "w", **values}
    for _, name, type, not_null, default, _ in connection.execute(f"PRAGMA table_info({table})"):
        if not_null and default is None:
            row.setdefault(name, "" if type == "TEXT" else 0)
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))


def test_an_earlier_store_keeps_its_outputs_and_logs(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "holdfast.db").open_writer()) as connection:
        migrate(connection, tmp_path / "snapshots", find_migrations()[:11])
        add(connection, "task", id="T")
        add(connection, "run", id="R", task_id="T")
        add(connection, "run", id="S")
        for id, run, task, phase in (("a", "R", None, "p"), ("b", "S", None, "p"), ("c", None, "T", "p"), ("d", None, "T", "q")):
            add(connection, "phase_output", id=id, run_id=run, task_id=task, phase=phase, variable="V", image=b"\0")
        add(connection, "execution_log", id="R", run_id="R", status="s", image=b"\1", checksum=7, made=9)
        add(connection, "execution_log_steps", id="R", ordinal=0, name="one")
        migrate(connection, tmp_path / "snapshots")
        rows = connection.execute("SELECT id, task_id, variable, image FROM phase_output ORDER BY id").fetchall()
        assert rows == [("a", "T", "V", None), ("b", None, "V", b"\0"), ("c", "T", "V", b"\0"), ("d", "T", "V", b"\0")]
        log = "SELECT id, run_id, status, image, checksum, made FROM execution_log"
        assert connection.execute(log).fetchall() == [("R", "R", "s", b"\1", 7, 9)]
        assert connection.execute("SELECT id, name FROM execution_log_steps").fetchall() == [("R", "one")]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_an_output_whose_task_the_migration_set_is_sound(engine: Engine) -> None:
    store = store_over(engine)
    task = store.tasks.create(title="t")
    run = store.runs.create()
    made = store.phase_outputs.save(run_id=run.id, phase="plan", content="c")
    store.runs.update(run.id, task_id=task.id)
    connection = engine.connection
    before = record_pb2.PhaseOutput.FromString(bytes(_image(engine)))
    before.ClearField("task_id")
    connection.execute("DELETE FROM changes WHERE kind = 'phase_output' AND action = 2")
    connection.execute("UPDATE changes SET image = ? WHERE kind = 'phase_output'", (before.SerializeToString(),))
    connection.execute("UPDATE phase_output SET image = NULL, checksum = NULL")
    assert [each for each in DirectApi(engine).problems() if "differs" in each] == []
    found = store.phase_outputs.get(made.id)
    assert found.task_id == task.id and store.phase_outputs.update(made.id, content="d").version == found.version + 1


def test_an_output_of_an_earlier_store_that_names_another_task_than_its_run_can_be_changed(engine: Engine) -> None:
    store = store_over(engine)
    task, other = store.tasks.create(title="t"), store.tasks.create(title="other")
    run = store.runs.create(task_id=task.id)
    made = store.phase_outputs.save(run_id=run.id, phase="plan", content="c")
    engine.connection.execute("UPDATE phase_output SET task_id = ?, image = NULL, checksum = NULL", (other.id,))
    assert store.phase_outputs.update(made.id, content="d").task_id == other.id


def _image(engine: Engine) -> bytes:
    (image,) = engine.connection.execute("SELECT image FROM phase_output").fetchone()
    return bytes(image)


def test_outputs_of_an_earlier_store_that_share_a_variable_stay_until_it_is_saved(engine: Engine) -> None:
    store = store_over(engine)
    task = store.tasks.create(title="t")
    one, _, two = (store.phase_outputs.save(task_id=task.id, phase=each, variable=each) for each in ("plan", "draft", "design"))
    engine.connection.execute("UPDATE phase_output SET variable = 'PLAN', image = NULL, checksum = NULL")
    assert store.phase_outputs.update(one.id, content="changed").content == "changed"
    assert len(list(store.phase_outputs.for_task(task.id))) == 3
    saved = store.phase_outputs.save(task_id=task.id, phase="design", variable="PLAN", content="the one")
    assert saved.id == two.id and [each.id for each in store.phase_outputs.for_task(task.id)] == [two.id]
