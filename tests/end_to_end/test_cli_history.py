"""`log` and `graph` against a real daemon: a record's history, and how records depend on each other."""

from __future__ import annotations

import datetime
import json
import os
from typing import Any

import pytest

import holdfast
from holdfast.cli import main
from tests.end_to_end.command_line import Run


def test_log_is_a_diff_newest_first(run: Run, store: holdfast.Store) -> None:
    task = store.tasks.create(title="Fix it", description="one\ntwo\nthree", metadata={"a": 1, "b": 2})
    store.tasks.update(task.id, status="running", description="one\n2\nthree", tags=["x", "y"], metadata={"a": 1, "b": 3})
    store.tasks.update(task.id, tags=[], title="Fixed\x1b[31m")
    newest, middle, oldest = (each.split("\n") for each in run("log", "task", task.id).out.rstrip("\n").split("\n\n"))
    assert newest[0].startswith("revision ")
    assert newest[0].endswith(f"update task {task.id} v3  by tester (uid {os.getuid()}, pid {os.getpid()})")
    assert newest[1:] == ["  title: Fix it → Fixed\\x1b[31m", "- tags: x, y"]
    assert middle[1:] == [
        *("  description:", "     one", "    -two", "    +2", "     three"),
        "  status: created → running",
        "+ tags: x, y",
        *("  metadata:", '       "a": 1,', '    -  "b": 2', '    +  "b": 3', "     }"),
    ]
    assert oldest[1:6] == ["+ title: Fix it", "  description:", "    +one", "    +two", "    +three"]
    assert "+ status: created" in oldest
    assert run("log", task.id).out == run("log", "tasks", task.id).out


def test_log_for_programs(run: Run, store: holdfast.Store) -> None:
    task = store.tasks.create(title="t", tags=["a"])
    store.tasks.update(task.id, status="running", tags=["a", "b"])
    store.tasks.delete(task.id)
    store.tasks.create(title="again", id=task.id)
    entries = run("log", task.id, "--json").objects
    assert [(each["action"], each["version"]) for each in entries] == [("insert", 3), ("delete", 2), ("update", 2), ("insert", 1)]
    again, deleted, updated, created = (each["fields"] for each in entries)
    assert again["title"] == {"before": None, "after": "again"}
    assert deleted["title"] == {"before": "t", "after": None}
    assert updated == {"status": {"before": "created", "after": "running"}, "tags": {"before": ["a"], "after": ["a", "b"]}}
    assert list(created) == ["title", "status", "priority", "tags"]
    revisions = [each["revision"] for each in entries]
    assert revisions == sorted(revisions, reverse=True)
    assert {(each["actor"], each["kind"], each["id"]) for each in entries} == {("tester", "task", task.id)}
    assert {(each["peer_uid"], each["peer_pid"]) for each in entries} == {(os.getuid(), os.getpid())}
    assert [each["version"] for each in run("log", task.id, "--json", "-n", "2").objects] == [3, 2]
    assert run("log", task.id, "-n", "0").out == ""


def test_log_of_an_id_alone(run: Run, store: holdfast.Store) -> None:
    task = store.tasks.create(title="t", id="same")
    store.collection("task_state").create(task_id=task.id)
    store.transcripts.append(task.id, role="note", content="x", parent_kind="task")
    assert {each["kind"] for each in run("log", "same", "--json").objects} == {"task"}
    assert run("log", "task-state", "same", "--json").objects[0]["kind"] == "task_state"
    store.sessions.create(title="s", id="same")
    ambiguous = run("log", "same", "--json")
    assert (ambiguous.code, ambiguous.reason) == (5, "AMBIGUOUS")
    for line in ("log nobody", "log task nobody", "log task", "log nobody --workspace nowhere"):
        assert run(*line.split()).code == 4
    assert run("log", "thing", "same").code == 2


def test_log_is_whole_after_compaction(own_daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def log(*more: str) -> str:
        assert main(["--socket", str(own_daemon.socket_path), "log", *more]) == 0
        return capsys.readouterr().out

    with holdfast.connect(own_daemon.socket_path) as store:
        living, gone = store.tasks.create(title="t"), store.tasks.create(title="gone")
        store.tasks.delete(gone.id)
        store.tasks.update(living.id, status="running")
        before = [log(each.id, *more) for each in (living, gone) for more in ((), ("--json",))]
        list(store.run_job("compact"))
        assert before == [log(each.id, *more) for each in (living, gone) for more in ((), ("--json",))]
        store.tasks.update(living.id, status="paused")
        assert list(store.tasks.history(gone.id)) == [], "compaction must end the history"
        assert [each.version for each in store.tasks.history(living.id)] == [3]
    entries = [json.loads(each) for each in log("task", living.id, "--json").splitlines()]
    assert [(each["action"], each["version"]) for each in entries] == [("update", 3), ("update", 2), ("insert", 1)]
    assert entries[0]["fields"] == {"status": {"before": "running", "after": "paused"}}
    assert log(living.id).endswith(before[0])


def test_log_has_values_as_show_has_them(run: Run, store: holdfast.Store) -> None:
    task = store.tasks.create(title="t")
    states = store.collection("task_state")
    phases = [
        {"phase": "plan", "retries": 2, "start_time": datetime.datetime.now(datetime.UTC)},
        {"phase": "do", "metadata": [1]},
    ]
    states.create(task_id=task.id, phases=phases, retries=3, metadata={"deep": [None, 2**70, 0.5]})
    shown = run("show", "task_state", task.id, "--json").objects[0]
    (made,) = run("log", "task_state", task.id, "--json").objects
    told = {name: each["after"] for name, each in made["fields"].items()}
    assert told == {name: shown[name] for name in told} and {"phases", "retries", "metadata"} <= set(told)
    states.update(task.id, phases=[], retries=0, metadata=None)
    cleared = run("log", "task_state", task.id, "--json", "-n", "1").objects[0]["fields"]
    for name, empty in (("phases", []), ("retries", 0), ("metadata", None)):
        assert cleared[name] == {"before": shown[name], "after": empty}


def test_log_of_large_changes_tells_their_sizes(run: Run, store: holdfast.Store) -> None:
    task = store.tasks.create(title="t", description="a" * 900_000)
    store.tasks.update(task.id, description="b" * 900_000, title="u")
    store.tasks.update(task.id, description="short\nnow")
    assert run("log", task.id, "-n", "2", "--json").objects[1]["fields"] == {
        "title": {"before": "t", "after": "u"},
        "description": {"before_bytes": 900_002, "after_bytes": 900_002},
    }
    shortened, changed = (each.split("\n") for each in run("log", task.id, "-n", "2").out.rstrip("\n").split("\n\n"))
    assert changed[1:] == ["  title: t → u", "  description: 878.9 KiB → 878.9 KiB"]
    assert shortened[1:3] == ["  description:", f"    -{'b' * 900_000}"]


@pytest.fixture
def tasks(store: holdfast.Store) -> None:
    """TASK-002 and TASK-003 are blocked by TASK-001, TASK-004 by both; TASK-005 is alone."""
    for title, blocked_by in (("a", ()), ("b", (1,)), ("c", (1,)), ("d", (2, 3)), ("e", ())):
        store.tasks.create(title=title, blocked_by=[f"TASK-00{each}" for each in blocked_by])


@pytest.mark.usefixtures("tasks")
def test_graph_of_tasks(run: Run, store: holdfast.Store) -> None:
    assert run("graph").lines == [
        "TASK-001  created, ready  a",
        "├─ TASK-002  created  b",
        "│  └─ TASK-004  created  d",
        "└─ TASK-003  created  c",
        "   └─ TASK-004  created  d",
        "TASK-005  created, ready  e",
    ]
    assert run("graph", "tasks", "TASK-004", "--reverse").lines == [
        "TASK-004  created  d",
        "├─ TASK-002  created  b",
        "│  └─ TASK-001  created, ready  a",
        "└─ TASK-003  created  c",
        "   └─ TASK-001  created, ready  a",
    ]
    store.tasks.create(title="f", blocked_by=["TASK-004"])
    assert run("graph", "task", "TASK-003").lines == [
        "TASK-003  created  c",
        "└─ TASK-004  created  d",
        "   └─ TASK-006  created  f",
    ]
    assert "   └─ TASK-004  created  d  (see above)" in run("graph").lines
    assert run("graph", "--filter", 'title = "b"').lines == ["TASK-002  created  b"]
    assert run("graph", "tasks", "TASK-999").code == 4
    assert run("graph", "--filter", "title =").code == 2
    store.tasks.update("TASK-001", status="completed")
    store.tasks.update("TASK-002", status="finished")
    assert run("graph", "--ready").lines == [
        "TASK-003  created, ready  c",
        "└─ TASK-004  created  d",
        "   └─ TASK-006  created  f",
        "TASK-005  created, ready  e",
    ]


@pytest.mark.usefixtures("tasks")
def test_graph_for_programs(run: Run) -> None:
    nodes = {each["id"]: each for each in run("graph", "--json").objects}
    assert list(nodes) == ["TASK-001", "TASK-002", "TASK-004", "TASK-003", "TASK-005"]
    assert len(run("graph", "--json").lines) == 5
    assert nodes["TASK-004"] == {
        "kind": "task",
        "id": "TASK-004",
        "status": "created",
        "about": ["d"],
        "parents": ["TASK-002", "TASK-003"],
        "ready": False,
    }
    assert [id for id, each in nodes.items() if each["ready"]] == ["TASK-001", "TASK-005"]


def test_graph_of_a_session_and_of_a_workflow(run: Run, store: holdfast.Store) -> None:
    session = store.sessions.create(title="s")
    first = store.checkpoints.save(session.id, context="x", name="first")
    left, right = (store.checkpoints.save(session.id, context=each, parent=first.id, tags=[each]) for each in ("l", "r"))
    assert run("graph", "checkpoints", session.id).lines == [
        f"{first.id}  #1  first  1 B",
        f"├─ {left.id}  #2  l  1 B",
        f"└─ {right.id}  #3  r  1 B",
    ]
    workflows = store.collection("workflow")
    for parent in (0, 1, 1):
        workflows.create(workflow_id="ship", parent_version=parent, phases=[{"name": "plan"}])
    workflows.create(workflow_id="other")
    assert run("graph", "workflow", "ship").lines == ["ship@1  plan", "├─ ship@2  plan", "└─ ship@3  plan"]
    initiatives = store.collection("initiative")
    aim = initiatives.create(title="aim", status="completed").id
    initiatives.create(title="next", blocked_by=[aim])
    assert run("graph", "initiatives", "--ready").lines == ["INIT-002  draft, ready  next"]
    assert run("graph", "checkpoints", "ses_none").code == 4
    assert run("graph", "workflow", "none").code == 4
