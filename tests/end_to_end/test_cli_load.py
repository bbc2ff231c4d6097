"""`holdfast load`: JSON lines into a running daemon, from files and from the output of the other commands."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

import holdfast
from tests.conftest import DaemonProcess
from tests.end_to_end.command_line import Ran, Run


def written(path: Path, *rows: Any) -> str:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return str(path)


def task(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"TASK-{number:03d}", "title": "t", "create_time": "2020-01-01T00:00:00Z", **fields}


def test_the_output_of_a_store_is_loaded_as_it_is(
    daemon: DaemonProcess, store: holdfast.Store, own_daemon: DaemonProcess
) -> None:
    """What `list --json` and `tail --json` print, another store prints after a load, byte for byte."""
    store.tasks.create(id="TASK-007", title='ä "x"\n\u202e', metadata={"b": 2**60, "a": [None, 0.1]}, tags=["x", "y"])
    store.tasks.create(id="TASK-003", title="t", blocked_by=["TASK-007"])
    store.tasks.update("TASK-003", status="running", metadata={})
    store.bugs.create(title="b", task_id="TASK-003", proposed_fix="")
    store.bugs.create(title="c", repro_steps=["one"])
    store.transcripts.append("TASK-003", parent_kind="task", role="r", content="x" * (2 << 20), metadata={"m": 1})
    store.transcripts.append("TASK-003", parent_kind="task", role="r", content="\0 \ud800 ä")
    store.events.save("TASK-003", type="t", duration_ms=0, data={"z": 1, "a": None})
    lists = (["list", "tasks"], ["list", "bugs"])
    tails = [["tail", "TASK-003", "--parent-kind", "task", "--journal", each, "--start", "1"] for each in ("transcript", "event")]
    for command in (*lists, *tails):
        printed = _command(daemon, store.workspace, b"", *command, "--json")
        name = command[1] if command in lists else command[5]
        parent = [] if command in lists else ["--parent", "task:TASK-003"]
        loaded = _command(own_daemon, "copy", printed.raw, "load", name, "-", *parent)
        assert loaded.code == 0, loaded.err
        again = _command(own_daemon, "copy", b"", *command, "--json")
        assert _places_left_out(again, command in tails) == _places_left_out(printed, command in tails) != b""


def _places_left_out(ran: Ran, is_journal: bool) -> bytes:
    """The output; of entries without the revision, which is the place in the store's own history."""
    if not is_journal:
        return ran.raw
    return b"".join(json.dumps({**each, "revision": 0}).encode() + b"\n" for each in ran.objects)


def _command(daemon: DaemonProcess, workspace: str, data: bytes, *arguments: str) -> Ran:
    command = [sys.executable, "-m", "holdfast", "--socket", str(daemon.socket_path), "--workspace", workspace, *arguments]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
    return Ran(done.returncode, done.stdout, done.stderr.decode())


def test_an_error_names_file_line_and_field_and_what_was_loaded(run: Run, store: holdfast.Store, tmp_path: Path) -> None:
    rows: list[Any] = [task(number) for number in range(1, 11)]
    rows[6] = '{"id": "TASK-007", "title": '
    path = written(tmp_path / "tasks.jsonl", *rows)
    failed = run("load", "tasks", path, "--batch", "3", "--json")
    told = json.loads(failed.err)
    assert (failed.code, told["reason"]) == (2, "LINE_INVALID")
    assert (told["metadata"]["line"], told["metadata"]["loaded"], told["metadata"]["file"]) == ("7", "3", path)
    assert f"{path}, line 7: this is not JSON" in told["message"] and "--on-conflict skip" in told["message"]
    assert store.tasks.count() == 3
    rows[6] = task(7, prioritty="x")
    written(tmp_path / "tasks.jsonl", *rows)
    failed = run("load", "tasks", path, "--on-conflict", "skip")
    assert failed.code == 2 and "line 7: task has no field 'prioritty'" in failed.err and "Nothing was loaded." in failed.err
    rows[6] = task(7)
    done = run("load", "tasks", written(tmp_path / "tasks.jsonl", "", *rows, ""), "--on-conflict", "skip", "--json")
    told = {"name": "task", "loaded": 7, "skipped": 3, "unchecked": 0, "dry_run": False, "revision": store.status().revision}
    assert done.code == 0 and done.objects == [told]
    failed = run("load", "tasks", path)
    assert failed.code == 5 and "line 2: The task TASK-001 exists already. Nothing was loaded." in failed.err


@pytest.mark.parametrize("name", ["task", "transcript"])
def test_an_error_says_that_a_time_is_text_and_ends_with_a_stop(
    run: Run, store: holdfast.Store, tmp_path: Path, name: str
) -> None:
    store.tasks.create(id="TASK-001", title="t")
    given = {"title": "t"} if name == "task" else {"role": "r", "content": "c", "parent_kind": "task", "parent_id": "TASK-001"}
    for time in (1600000000, 16.5, True, [1]):
        failed = run("load", name, written(tmp_path / "x.jsonl", {**given, "create_time": time}))
        told = f"create_time: {time} is not a time. Write RFC 3339 text such as 2026-01-31T12:00:00Z. Nothing was loaded."
        assert failed.code == 2 and told in failed.err
    failed = run("load", "task", written(tmp_path / "x.jsonl", {"title": "t", "tags": "a"}))
    assert "task.tags: expected a list, not str. Nothing was loaded." in failed.err
    failed = run("load", "event", written(tmp_path / "x.jsonl", {"type": 1, "parent_kind": "task", "parent_id": "TASK-001"}))
    assert "event.type: expected str, not int. Nothing was loaded." in failed.err


def test_a_dry_run_says_what_would_be_done(run: Run, store: holdfast.Store, tmp_path: Path) -> None:
    path = written(tmp_path / "tasks.jsonl", task(1), task(2, blocked_by=["TASK-001"]))
    done = run("load", "tasks", path, "--dry-run", "--batch", "1")
    assert done.code == 0 and "would do:" in done.out and "not checked" in done.out
    done = run("load", "tasks", path, "--dry-run")
    assert done.lines == ["would do:", "  loaded                2", "  skipped               0"]
    assert run("list", "tasks").code == 4  # no workspace


def test_files_beside_the_lines(run: Run, store: holdfast.Store, tmp_path: Path) -> None:
    store.sessions.create(id="s")
    content = os.urandom(3 << 20).hex().encode()
    (tmp_path / "contexts").mkdir()
    (tmp_path / "contexts" / "a.json.gz").write_bytes(gzip.compress(b'{"n": 1}'))
    (tmp_path / "contexts" / "b.json.zst").write_bytes(zstandard.compress(b'{"n": 2}'))
    (tmp_path / "talk.txt.gz").write_bytes(gzip.compress(content))
    rows = [
        {"id": name, "session_id": "s", "context_digest": {"@file": f"contexts/{name}"}} for name in ("a.json.gz", "b.json.zst")
    ]
    assert run("load", "checkpoints", written(tmp_path / "c.jsonl", *rows), "--actor", "mover").code == 0
    assert [store.checkpoints.load(store.checkpoints.get(row["id"])) for row in rows] == [{"n": 1}, {"n": 2}]
    assert next(iter(store.audit.of("checkpoint", "a.json.gz"))).actor == "mover"
    talk = written(tmp_path / "t.jsonl", {"role": "r", "content": {"@file": "talk.txt.gz"}})
    assert run("load", "transcript", talk, "--parent", "session:s").code == 0
    assert next(iter(store.transcripts.read("s"))).content == content.decode()


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "link", "missing", ".", "", 5, "x\0y", "x" * 5000])
def test_no_other_file_is_read(run: Run, store: holdfast.Store, tmp_path: Path, name: Any) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    path = written(tmp_path / "in" / "a.jsonl", {"name": "a", "content_digest": {"@file": name}})
    failed = run("load", "artifacts", path)
    assert failed.code == 2 and f"{path}, line 1: content_digest:" in failed.err
    assert name not in ("../secret", "/etc/hostname", "link") or run("load", "artifacts", path, "--allow-any-path").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("tasks", "missing.jsonl"),
        ("tasks", "/dev/zero"),
        ("tasks", "."),
        ("taks", "-"),
        ("transcript", "-", "--parent", "s"),
        ("transcript", "-", "--parent", "sesion:s"),
        ("tasks", "-", "--batch", "20000"),
        ("tasks", "-", "--on-conflict", "overwrite"),
        ("audit", "-"),
    ],
)
def test_wrong_usage(run: Run, store: holdfast.Store, arguments: tuple[str, ...]) -> None:
    assert run("load", *arguments).code == 2


def test_a_line_that_is_no_object(run: Run, tmp_path: Path) -> None:
    for row in ("[1]", '"x"', "5", "\\xff", "{}{}"):
        assert run("load", "tasks", written(tmp_path / "a.jsonl", row)).code == 2
    empty = run("load", "tasks", written(tmp_path / "a.jsonl", ""))
    assert (empty.code, empty.lines[1]) == (0, "  loaded                0")
