"""A command over damage prints what can be read, names the rest on stderr, and exits with 1."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import holdfast
from holdfast.cli import main
from tests.end_to_end.daemons import DaemonProcess, Directory

pytestmark = pytest.mark.slow  # processes of its own


@pytest.fixture
def stopped(directory: Directory) -> Path:
    """The database of a stopped daemon. It has two tasks, and a transcript of three entries."""
    daemon = directory.serve()
    with holdfast.connect(daemon.socket) as store:
        store.tasks.create(title="one")
        store.tasks.create(title="two")
        store.sessions.create(title="s", id="ses")
        for each in "abc":
            store.transcripts.append("ses", role="note", content=each)
    assert daemon.end() == 0
    return daemon.data_dir / "holdfast.db"


def damaged(directory: Directory, database: Path, *statements: str) -> DaemonProcess:
    with closing(sqlite3.connect(database)) as connection:
        for each in statements:
            connection.execute(each)
        connection.commit()
    return directory.serve()


@pytest.mark.parametrize(
    ("statement", "line", "shown", "said"),
    [
        ("UPDATE task SET image = x'07' WHERE id = 'TASK-001'", "list tasks", "TASK-002", "task TASK-001 cannot be read"),
        ("UPDATE task SET image = x'07' WHERE id = 'TASK-001'", "list tasks --json", "TASK-002", "task TASK-001 cannot be read"),
        ("UPDATE transcript SET image = x'07' WHERE number = 2", "tail ses", "#3", "transcript 2 cannot be read"),
        ("UPDATE transcript SET image = x'07' WHERE number = 2", "tail ses -n 2", "#3", "transcript 2 cannot be read"),
    ],
)
def test_the_rest_is_printed_and_the_exit_code_is_1(
    directory: Directory,
    stopped: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    statement: str,
    line: str,
    shown: str,
    said: str,
) -> None:
    daemon = damaged(directory, stopped, statement)
    assert main([*line.split(), "--socket", str(daemon.socket)]) == 1
    assert shown in capsys.readouterr().out
    assert said in caplog.text
    assert main(["list", "sessions", "--socket", str(daemon.socket)]) == 0


def test_a_damaged_history_is_not_called_a_missing_one(
    directory: Directory, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = damaged(directory, stopped, "UPDATE changes SET image = x'07' WHERE id = 'TASK-001'")
    assert main(["log", "TASK-001", "--socket", str(daemon.socket)]) == 1
    assert "No change of TASK-001 can be read. `holdfast verify` names the damage." in capsys.readouterr().err
    assert main(["log", "TASK-009", "--socket", str(daemon.socket)]) == 4


def test_of_a_history_the_readable_changes_are_shown(
    directory: Directory, stopped: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    daemon = directory.serve()
    with holdfast.connect(daemon.socket) as store:
        store.tasks.update("TASK-001", title="three")
        store.tasks.update("TASK-001", title="four")
    assert daemon.end() == 0
    daemon = damaged(directory, stopped, "UPDATE changes SET image = x'07' WHERE id = 'TASK-001' AND version = 3")
    assert main(["log", "TASK-001", "--socket", str(daemon.socket)]) == 1
    assert "update task TASK-001 v2" in capsys.readouterr().out
    assert "cannot be read" in caplog.text
