"""The reading commands against a real daemon: tables for people, JSON for programs, exit codes for scripts."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import holdfast
from tests.end_to_end.command_line import Ran, Run, candidates

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def test_list_is_a_table_and_json_lines(run: Run, store: holdfast.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    store.tasks.create(title="Fix the login", status="running", tags=["urgent"], metadata={"branch": "x", "n": 2**60})
    store.tasks.create(title="Two\nlines and \x1b[31m red", assignees=["ann", "bob"])
    for noun in ("task", "tasks"):
        table = run("list", noun)
        assert table.code == 0
        assert table.lines[0].split() == ["ID", "VERSION", "TITLE", "STATUS", "UPDATE_TIME"]
        assert table.lines[1].startswith("TASK-001\t1\tFix the login\trunning\t")
        assert "Two lines and \\x1b[31m red" in table.lines[2]
        assert len(table.lines) == 3
    first, second = run("list", "tasks", "--json").objects
    assert (first["id"], first["metadata"], first["tags"]) == ("TASK-001", {"branch": "x", "n": 2**60}, ["urgent"])
    assert RFC3339.fullmatch(first["create_time"])
    assert second["title"] == "Two\nlines and \x1b[31m red"
    assert second["metadata"] is None


def test_list_filters_orders_limits_and_chooses_columns(run: Run, store: holdfast.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    for number in range(5):
        store.tasks.create(title=f"t{number}", status="running" if number % 2 else "created", metadata={"deep": {"n": number}})
    assert [each["title"] for each in run("list", "tasks", "--json", "--filter", 'status = "running"').objects] == ["t1", "t3"]
    newest = run(
        "list", "tasks", "--order-by", "title desc", "--limit", "2", "--page-size", "1", "--columns", "title,metadata.deep.n"
    )
    assert [line.split() for line in newest.lines] == [["TITLE", "metadata.deep.n"], ["t4", "4"], ["t3", "3"]]
    assert run("list", "tasks", "--json", "--columns", "id", "--limit", "1").objects == [{"id": "TASK-001"}]
    assert run("list", "tasks", "--limit", "0").lines == ["ID\tVERSION\tTITLE\tSTATUS\tUPDATE_TIME"]


def test_a_table_keeps_to_the_width_of_the_terminal(run: Run, store: holdfast.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.tasks.create(title="word " * 100_000)
    monkeypatch.delenv("COLUMNS", raising=False)
    assert len(run("list", "tasks").lines[1]) > 500_000
    monkeypatch.setenv("COLUMNS", "70")
    heading, row = run("list", "tasks").lines
    assert len(heading) <= len(row) == 70


def test_show_has_all_fields(run: Run, store: holdfast.Store) -> None:
    task = store.tasks.create(title="Fix it", description="one\ntwo", metadata={"b": [1, None]})
    shown = run("show", "tasks", task.id)
    assert shown.code == 0
    assert "title          Fix it" in shown.lines
    assert "description    one\n               two" in shown.out
    assert '"b": [' in shown.out
    assert set(holdfast.plain(task)) <= {line.split()[0] for line in shown.lines if not line.startswith(" ")}
    (form,) = run("show", "task", task.id, "--json").objects
    assert (form["id"], form["version"], form["metadata"]) == (task.id, 1, {"b": [1, None]})


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        ("show task TASK-999", 4, "RECORD_NOT_FOUND"),
        ("tail ses_none", 4, "RECORD_NOT_FOUND"),
        ("cat chk_none", 4, "RECORD_NOT_FOUND"),
        (f"cat sha256:{'0' * 64}", 4, "BLOB_NOT_FOUND"),
        ("cat --all ses_none out", 4, "RECORD_NOT_FOUND"),
        ("list tasks --workspace nobody", 4, "WORKSPACE_NOT_FOUND"),
        ("list tasks --filter status=", 2, "FILTER_INVALID"),
        ("list tasks --filter nothing=1", 2, "FIELD_UNKNOWN"),
        ("list tasks --order-by nothing", 2, "ORDER_BY_INVALID"),
        ("cat sha256:12", 2, "VALUE_INVALID"),
        ("watch --since 1000000000", 5, "REVISION_IN_FUTURE"),
        ("list things", 2, "KIND_UNKNOWN"),
    ],
)
def test_errors_are_a_line_or_an_object(
    line: str, code: int, reason: str, run: Run, store: holdfast.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store.tasks.create(title="creates the workspace")
    plain = run(*line.split())
    assert (plain.code, plain.out, plain.err.count("\n")) == (code, "", 1)
    assert plain.err.startswith("holdfast: ")
    told = run(*line.split(), "--json")
    assert (told.code, told.out) == (code, "")
    error = json.loads(told.err)
    assert set(error) == {"reason", "message", "metadata"}
    assert error["reason"] == reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["list tasks", "graph tasks", "graph tasks --ready", "graph checkpoints SESSION"])
def test_the_position_of_a_filter_error_is_that_in_the_users_text(run: Run, store: holdfast.Store, command: str) -> None:
    session = store.sessions.create(title="s")
    refused = run(*command.replace("SESSION", session.id).split(), "--filter", "bad =", "--json")
    plain = run("list", "tasks" if "tasks" in command else "checkpoints", "--filter", "bad =", "--json")
    assert (refused.code, json.loads(refused.err)) == (2, json.loads(plain.err))


def test_cat_gives_the_bytes(run: Run, store: holdfast.Store) -> None:
    data = bytes(range(256)) * 40
    digest = store.blobs.put(data).digest
    session = store.sessions.create(title="s")
    checkpoint = store.checkpoints.save(session.id, context={"a": 1})
    artifact = store.artifacts.put(source=data, name="a.bin")
    assert run("cat", digest).raw == run("cat", artifact.id).raw == data
    assert run("cat", checkpoint.id).raw == b'{"a":1}'
    assert run("cat", digest, "--offset", "250", "--length", "10").raw == data[250:260]
    assert run("cat", artifact.id, "--offset", "10239").raw == data[-1:]


def test_cat_needs_the_kind_when_two_records_have_the_id(run: Run, store: holdfast.Store) -> None:
    session = store.sessions.create(title="s")
    store.checkpoints.save(session.id, context="context", id="same")
    store.artifacts.put(source=b"content", name="a", id="same")
    refused = run("cat", "same", "--json")
    assert (refused.code, json.loads(refused.err)["reason"]) == (5, "AMBIGUOUS")
    assert run("cat", "same", "--kind", "checkpoints").raw == b"context"
    assert run("cat", "same", "--kind", "artifact").raw == b"content"
    assert run("cat", "same", "--kind", "task").code == 2
    store.artifacts.create(name="empty", id="empty")
    assert run("cat", "empty").code == 4


def test_cat_all_writes_every_context_or_nothing(run: Run, store: holdfast.Store, tmp_path: Path) -> None:
    session = store.sessions.create(title="s")
    contexts: list[object] = [{"n": 1}, "text", b"\0\xff", {"n": [1] * 5000}]
    saved = [store.checkpoints.save(session.id, context=each) for each in contexts]
    store.checkpoints.create(session_id=session.id, id="a/../b")
    target = tmp_path / "out"
    written = run("cat", "--all", session.id, str(target), "--json")
    assert written.objects[0]["contexts"] == 4
    index = [json.loads(line) for line in (target / "checkpoints.jsonl").read_text().splitlines()]
    assert [each["id"] for each in index] == [*(each.id for each in saved), "a/../b"]
    assert [Path(each["file"]).suffix for each in index[:4]] == [".json", ".txt", ".bin", ".json"]
    assert index[4]["file"] is None
    assert json.loads((target / index[3]["file"]).read_text()) == contexts[3]
    assert (target / index[2]["file"]).read_bytes() == contexts[2]
    assert sorted(os.listdir(target)) == sorted([*(each["file"] for each in index[:4]), "checkpoints.jsonl"])
    again = run("cat", "--all", session.id, str(target))
    assert (again.code, again.out) == (5, "")
    assert os.listdir(tmp_path) == ["out"]


def test_cat_all_keeps_strange_ids_inside_the_directory(run: Run, store: holdfast.Store, tmp_path: Path) -> None:
    session = store.sessions.create(title="s")
    store.checkpoints.save(session.id, context="x", id="../../escape")
    store.checkpoints.save(session.id, context="y", id="ü" * 100)
    (tmp_path / "out").mkdir()
    assert run("cat", "--all", session.id, str(tmp_path / "out")).code == 0
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert os.listdir(tmp_path) == ["out"]


def test_a_failing_cat_all_leaves_nothing(run: Run, tmp_path: Path, store: holdfast.Store) -> None:
    session = store.sessions.create(title="s")
    store.checkpoints.save(session.id, context="x")
    missing = run("cat", "--all", session.id, str(tmp_path / "no" / "out"))
    assert missing.code == 1
    assert "No such file" in missing.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def session_id(store: holdfast.Store) -> str:
    session = store.sessions.create(title="talk")
    entries = [
        {"role": "prompt" if n % 2 else "response", "content": f"entry {n}" + "\nmore" * 9, "phase": "plan"} for n in range(1, 21)
    ]
    store.transcripts.append_many(session.id, entries)
    return session.id


def test_tail_shows_the_end(run: Run, session_id: str) -> None:
    def numbers(*options: str) -> list[int]:
        return [each["number"] for each in run("tail", session_id, "--json", *options).objects]

    assert numbers() == list(range(11, 21))
    assert numbers("-n", "3") == [18, 19, 20]
    assert numbers("-n", "0") == []
    assert numbers("-n", "100") == list(range(1, 21))
    assert numbers("--start", "17") == [17, 18, 19, 20]
    assert numbers("--start", "21") == []
    assert numbers("--start", "9", "-n", "3") == [9, 10, 11]
    assert numbers("--start", "9", "-n", "0") == []
    assert numbers("-n", "2", "--filter", 'role = "prompt"') == [17, 19]
    assert numbers("-n", "2", "--filter", 'role = "nobody"') == []


def test_tail_is_readable(run: Run, session_id: str) -> None:
    short = run("tail", session_id, "-n", "1")
    assert re.match(r"#20  \S+Z  response  plan\n  entry 20\n  more\n", short.out)
    assert "… 5 more lines; --full shows them" in short.out
    assert run("tail", session_id, "-n", "1", "--full").out.count("more") == 9
    (entry,) = run("tail", session_id, "-n", "1", "--json").objects
    assert (entry["role"], entry["phase"], entry["content"][:8], entry["metadata"]) == ("response", "plan", "entry 20", None)
    assert RFC3339.fullmatch(entry["create_time"])


def test_tail_of_another_kinds_record_names_the_parent_kind(run: Run, store: holdfast.Store) -> None:
    store.tasks.create(id="TASK-001", title="x")
    for more in ([], ["--journal", "event"], ["--start", "1"], ["--filter", 'phase = "p"']):
        ran = run("tail", "TASK-001", *more)
        assert ran.code == 4 and ran.err.endswith("There is a task TASK-001: add `--parent-kind task`.\n")
    assert run("tail", "nope").err.endswith("The parent may be of another kind, which `--parent-kind` names: task, run.\n")


def test_tail_of_an_empty_transcript_and_of_a_task(run: Run, store: holdfast.Store) -> None:
    task = store.tasks.create(title="t")
    assert run("tail", task.id, "--parent-kind", "task") == Ran(0, b"", "")
    store.transcripts.append(task.id, role="note", content="done", parent_kind="task")
    assert "  done" in run("tail", task.id, "--parent-kind", "tasks").lines


def test_watch_replays_changes(run: Run, store: holdfast.Store) -> None:
    since = store.status().revision
    task = store.tasks.create(title="Fix it")
    store.tasks.update(task.id, status="running")
    store.transcripts.append(task.id, role="note", content="x", parent_kind="task")
    store.tasks.delete(task.id, cascade=True)
    options = ("watch", "--since", str(since), "--replay")
    changes = run(*options, "--json", "--kind", "tasks").objects
    assert [(each["action"], each["version"]) for each in changes] == [("insert", 1), ("update", 2), ("delete", 2)]
    assert changes[1]["record"]["status"] == "running"
    assert changes[1]["actor"] == "tester"
    lines = run(*options, "--kind", "task", "--kind", "transcripts", "--id", task.id).lines
    assert f'insert  task {task.id} v1  "Fix it"  by tester' in lines[0]
    assert f"append  transcript of task {task.id} #1" in lines[2]
    assert run(*options, "--id", "other").out == ""


def test_sweep_counts(run: Run, store: holdfast.Store) -> None:
    store.blobs.put(b"leased for an hour")
    dry = run("sweep", "--dry-run")
    assert (dry.code, dry.err, dry.lines[0]) == (0, "", "would do:")
    (done,) = run("sweep", "--json").objects
    assert done["dry_run"] is False
    assert set(done["counts"]) >= {"blobs_deleted", "bytes_freed"}


def test_verify_finds_nothing_wrong(run: Run, store: holdfast.Store) -> None:
    store.artifacts.put(source=b"x" * 100_000, name="a")
    assert run("verify", "--read-blobs").lines[0] == "no problems found"
    (result,) = run("verify", "--json").objects
    assert (result["finished"], result["problems"]) == (True, 0)


def test_completion_offers_ids_that_are_safe_on_a_command_line(daemon: Any, store: holdfast.Store) -> None:
    for id in ("ab-1", "ab-2", "b-3", "$(reboot)", "ab*"):
        store.tasks.create(title="t", id=id)
    options = ["--socket", str(daemon.socket_path), "--workspace", store.workspace]
    assert candidates([*options, "show", "tasks", ""]) == ["ab-1", "ab-2", "b-3"]
    assert candidates(["show", "task", *options, "ab"]) == ["ab-1", "ab-2"]
    session = store.sessions.create(title="s")
    assert candidates([*options, "tail", "ses_"]) == [session.id]
    artifact = store.artifacts.put(source=b"x", name="x")
    assert candidates([*options, "cat", ""]) == [artifact.id]
