"""A record of which no copy is intact: the command line says which commands replace or delete it, and they do."""

from __future__ import annotations

import re
import sqlite3

import pytest

import holdfast
from holdfast.cli import main
from tests.end_to_end.daemons import Directory


@pytest.fixture
def socket(directory: Directory) -> str:
    """The socket of a daemon with two such tasks."""
    daemon = directory.serve("store", "s")
    with holdfast.connect(daemon.socket) as store:
        for id in ("T1", "T2"):
            store.tasks.create(id=id, title="title", tags=["a"])
    daemon.process.terminate()
    assert daemon.wait(15) == 0
    with sqlite3.connect(daemon.data_dir / "holdfast.db") as connection:
        connection.execute("UPDATE task SET title = 'tidle', checksum = checksum + 1")
        connection.execute("UPDATE changes SET image_checksum = image_checksum + 1 WHERE kind = 'task'")
    connection.close()
    return str(directory.serve("store", "s").socket)


def test_the_error_names_the_commands_and_they_work(socket: str, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> str:
        code = main(["--socket", socket, *arguments])
        out, err = capsys.readouterr()
        return f"{code} {out}{err}"

    said = run("show", "task", "T1")
    assert said.startswith("1 holdfast: The task T1 cannot be read")
    assert "`holdfast delete task T1`, or `holdfast set task T1` with all of these fields (`FIELD=` for an empty one): " in said
    assert run("set", "task", "T1", "title=new").startswith("1 holdfast: The task T1 cannot be read")
    fields = {"title": "new", "status": "running"}
    words = [f"{name}={fields.get(name, '')}" for name in re.findall(r"(\w+)=…", said)]
    assert len(words) > 10
    assert run("set", "task", "T1", *words) == "0 T1 version 2\n"
    assert "new" in run("show", "task", "T1")
    assert run("delete", "task", "T2") == "0 deleted task T2\n"
