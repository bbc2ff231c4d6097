"""The writing commands against a real daemon: values by the type of their field, every kind, and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

import holdfast
from holdfast.contract.kinds import KINDS
from holdfast.contract.kinds import KINDS as REGISTRY
from tests.end_to_end.command_line import Ran, Run
from tests.registry.world import World
from tests.support.api import Api

Pipe = Callable[..., Ran]


@pytest.fixture
def pipe(daemon: Any, store: holdfast.Store) -> Pipe:
    """Runs a command in its own process, with `data` on its stdin."""

    def call(data: bytes, *arguments: str) -> Ran:
        command = [sys.executable, "-m", "holdfast", "--socket", str(daemon.socket_path), "--workspace", store.workspace]
        done = subprocess.run([*command, *arguments], input=data, capture_output=True, timeout=30, check=False)
        return Ran(done.returncode, done.stdout, done.stderr.decode())

    return call


def test_create_set_and_delete(run: Run, store: holdfast.Store) -> None:
    made = run("create", "task", "title=Fix it = now", "tags=a", "tags=b", 'metadata={"n": 9007199254740993}', "--actor", "ann")
    assert (made.code, made.out, made.err) == (0, "TASK-001\n", "")
    task = store.tasks.get("TASK-001")
    assert (task.title, task.tags, task.metadata) == ("Fix it = now", ["a", "b"], {"n": 9007199254740993})
    assert run("set", "tasks", "TASK-001", "status=running", "tags=c", "metadata=").out == "TASK-001 version 2\n"
    task = store.tasks.get("TASK-001")
    assert (task.status, task.tags, task.metadata, task.title) == ("running", ["c"], None, "Fix it = now")
    assert next(each.actor for each in store.tasks.history("TASK-001")) == "ann"
    assert run("delete", "task", "TASK-001").out == "deleted task TASK-001\n"
    assert not store.tasks.exists("TASK-001")
    assert run("delete", "task", "TASK-001").code == 4


def test_words_may_stand_after_options(run: Run) -> None:
    run("create", "task", "--json", "title=t", "--actor", "ann", "tags=x")
    changed = run("set", "task", "--json", "--version", "1", "TASK-001", "status=running", "--actor", "bob", "tags=y").objects[0]
    assert (changed["version"], changed["status"], changed["tags"]) == (2, "running", ["y"])
    assert run("log", "task", "--json", "TASK-001", "-n", "1").objects[0]["actor"] == "bob"
    assert run("set", "task", "TASK-001", "--vers", "1", "status=x").code == 2


@pytest.mark.parametrize(
    ("written", "field", "value"),
    [
        ("title=@title.txt", "title", "from a file\n"),
        ("title=@@home", "title", "@home"),
        ("title=-x", "title", "-x"),
        ("metadata=@form.json", "metadata", {"a": [1]}),
        ("metadata=null", "metadata", None),
        ("metadata=2.5", "metadata", 2.5),
        ('assignees=a,b "c"', "assignees", ['a,b "c"']),
        ("Rationale-Log=[]", "rationale_log", []),
    ],
)
def test_values_of_a_task(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, field: str, value: object
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("title.txt").write_text("from a file\n")
    Path("form.json").write_text('{"a": [1]}\n')
    words = [written] if written.startswith("title") else ["title=t", written]
    assert run("create", "task", *words, "--json").objects[0][field] == value


def test_times_numbers_booleans_and_messages(run: Run) -> None:
    run("create", "task", "title=t")
    (gate,) = run(
        "create", "gate-decision", "task_id=TASK-001", "phase=plan", "approved=true", "decide_time=now", "--json"
    ).objects
    assert gate["approved"] is True
    assert gate["decide_time"] is not None
    exact = "2026-01-31T12:00:00.123456789Z"
    phases = [f'phases={{"phase": "plan", "start_time": "{exact}", "retries": 2}}', 'phases=[{"phase": "do", "metadata": [1]}]']
    (state,) = run("create", "task_states", "task_id=TASK-001", "retries=3", f"start_time={exact}", *phases, "--json").objects
    assert (state["retries"], state["start_time"]) == (3, exact)
    assert [(each["phase"], each["status"], each["retries"]) for each in state["phases"]] == [
        ("plan", "pending", 2),
        ("do", "pending", 0),
    ]
    assert (state["phases"][0]["start_time"], state["phases"][1]["metadata"]) == (exact, [1])
    assert run("list", "task-states", "--columns", "phases.phase").lines[1] == "plan, do"
    assert '{"phase":"do","status":"pending","metadata":[1]}' in run("show", "task_state", "TASK-001").out
    (pattern,) = run("create", "pattern", "workflow_id=w", "description=d", "confidence=0.25", "--json").objects
    assert pattern["confidence"] == 0.25
    (cleared,) = run("set", "task_state", "TASK-001", "phases=", "start_time=", "--json").objects
    assert (cleared["phases"], cleared["start_time"]) == ([], None)


@pytest.mark.parametrize(
    ("line", "reason", "said"),
    [
        ("create task titel=x", "FIELD_UNKNOWN", "Did you mean title? There are: id, title,"),
        ("create task title", "USAGE", "'title' is not FIELD=VALUE"),
        ("create task title=a title=b", "VALUE_INVALID", "title: takes one value"),
        ("create task title=t version=3", "FIELD_OUTPUT_ONLY", "task.version is set by the daemon"),
        ("create task title=t metadata={", "VALUE_INVALID", "metadata: takes JSON"),
        ("create task title=t metadata=NaN", "VALUE_INVALID", "metadata"),
        ("create task title=t status=done", "VALUE_INVALID", "is not one of: created"),
        ("create task status=created", "FIELD_REQUIRED", "task.title is required"),
        ("create comment task_id=t body=b line=two", "VALUE_INVALID", "line: 'two' is not a whole number"),
        ("create comment task_id=t body=b line=9223372036854775808", "VALUE_INVALID", "line: "),
        ("create pattern workflow_id=w description=d confidence=nan", "VALUE_INVALID", "confidence: 'nan' is not a number"),
        ("create gate_decision task_id=t phase=p approved=yes", "VALUE_INVALID", "neither true nor false"),
        ("create session start_time=today", "VALUE_INVALID", "start_time: 'today' is not a time"),
        ("create session start_time=2026-01-31T12:00:00", "VALUE_INVALID", "start_time: "),
        ("create task_state task_id=t phases=x", "VALUE_INVALID", "phases: takes JSON"),
        ("create task_state task_id=t phases=1", "VALUE_INVALID", "phases: takes a JSON object"),
        ('create task_state task_id=t phases={"fase":"x"}', "FIELD_UNKNOWN", "Did you mean phase?"),
        ('create task_state task_id=t phases={"retries":"x"}', "VALUE_INVALID", "retries"),
        ("create thing a=b", "KIND_UNKNOWN", "There is no kind 'thing'"),
        ("create transcript a=b", "KIND_UNKNOWN", "holdfast tail"),
        ("create audit a=b", "KIND_UNKNOWN", "There is no kind"),
        ("set task TASK-001", "USAGE", "Say what to set"),
        ("set task", "USAGE", "ID"),
        ("set task TASK-001 id=x", "FIELD_IMMUTABLE", "cannot be changed"),
        ("delete task", "USAGE", "ID"),
        ("graph plans", "USAGE", "There is no graph of plans"),
        ("graph checkpoints", "USAGE", "SESSION"),
        ("graph workflow ship --ready", "USAGE", "wait for nothing"),
    ],
)
def test_wrong_values_are_refused_with_the_field_named(
    run: Run, store: holdfast.Store, line: str, reason: str, said: str
) -> None:
    refused = run(*line.split(" "), "--json")
    assert (refused.code, refused.out, refused.reason) == (2, "", reason)
    assert said in json.loads(refused.err)["message"]
    with pytest.raises(holdfast.WorkspaceNotFound):  # nothing was written
        store.tasks.count()


def test_conflicts_exit_with_5_and_change_nothing(run: Run, store: holdfast.Store) -> None:
    run("create", "task", "title=t", "id=mine")
    run("create", "comment", "task_id=mine", "body=b")
    for line, reason in (
        ("create task title=t id=mine", "ID_TAKEN"),
        ("create comment task_id=nobody body=b", "PARENT_NOT_FOUND"),
        ("set task mine status=running --version 7", "VERSION_MISMATCH"),
        ("set task mine blocked_by=mine", "DEPENDENCY_CYCLE"),
        ("delete task mine --version 2", "VERSION_MISMATCH"),
        ("delete task mine", "HAS_DEPENDENTS"),
    ):
        refused = run(*line.split(), "--json")
        assert (refused.code, refused.reason) == (5, reason)
    assert "`holdfast delete task mine --cascade`" in run("delete", "task", "mine").err
    assert store.tasks.get("mine").version == 1
    assert run("set", "task", "nobody", "status=running").code == 4
    assert run("delete", "task", "mine", "--cascade", "--version", "1", "--json").objects == [
        {"kind": "task", "id": "mine", "deleted": True}
    ]
    assert not list(store.collection("comment").list())


def test_the_one_record_of_a_kind_needs_no_id(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rules.md").write_text("Be kind.\n")
    assert run("create", "constitution", "content=Be.").out == "constitution\n"
    assert run("set", "constitution", f"content=@{tmp_path}/rules.md", "edition=2").out == "constitution version 2\n"
    assert run("set", "constitution", "--version", "2", "edition=3").out == "constitution version 3\n"
    assert run("set", "constitution", "constitution", "edition=4").out == "constitution version 4\n"
    (shown,) = run("show", "constitution", "--json").objects
    assert (shown["content"], shown["edition"]) == ("Be kind.\n", "4")
    assert len(run("log", "constitution", "--json").lines) == 4
    assert run("delete", "constitution").code == 0


def test_files_become_blobs(run: Run, pipe: Pipe, store: holdfast.Store, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "a.diff").write_bytes(data)
    (artifact,) = run("create", "artifact", f"content_digest=@{tmp_path}/a.diff", "type=diff", "--json").objects
    assert (artifact["name"], artifact["content_type"], artifact["content_size_bytes"]) == ("a.diff", "text/x-diff", len(data))
    assert run("cat", artifact["id"]).raw == data
    piped = pipe(data[:70_000], "create", "artifact", "name=b", "content_digest=@-")
    assert (piped.code, run("cat", piped.out.strip()).raw) == (0, data[:70_000])
    binary = run("create", "task", f"title=@{tmp_path}/a.diff")
    assert (binary.code, "not UTF-8" in binary.err) == (2, True)
    (tmp_path / "long").write_bytes(b"x" * (2 << 20) + b"y")
    assert run("create", "task", "title=t", f"description=@{tmp_path}/long", "--json").reason == "TOO_LARGE"
    missing = run("create", "task", f"title=@{tmp_path}/none")
    assert (missing.code, "title: " in missing.err, "No such file" in missing.err) == (2, True, True)


def test_a_shown_record_can_be_created_elsewhere(run: Run, pipe: Pipe, store: holdfast.Store) -> None:
    run("create", "task", "title=t", "tags=a", 'metadata={"a": null}')
    run("create", "task_state", "task_id=TASK-001", 'phases={"phase":"p","status":"failed"}', "start_time=now")
    for kind, id in (("task", "TASK-001"), ("task-state", "TASK-001")):
        form = run("show", kind, id, "--json")
        made = pipe(form.raw, "create", kind, "--json-file", "-", "--json", "--workspace", f"{store.workspace}-2", "metadata=1")
        assert made.code == 0, made.err
        (before,), (after,) = form.objects, made.objects
        assert after == before | {name: after[name] for name in ("create_time", "update_time")} | {"metadata": 1}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("{", "not one JSON object"),
        ("[]", "not list"),
        ('{"titel": "x"}', "Did you mean title?"),
        ('{"title": 3}', "task.title"),
        ('{"title": "t", "tags": "x"}', "task.tags"),
        ('{"title": "t"} {"title": "u"}', "not one JSON object"),
    ],
)
def test_json_that_is_no_record_is_refused(run: Run, tmp_path: Path, form: str, said: str) -> None:
    (tmp_path / "form").write_text(form)
    refused = run("create", "task", "--json-file", str(tmp_path / "form"))
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err


def test_stdin_is_read_once(pipe: Pipe) -> None:
    refused = pipe(b"{}", "create", "task", "--json-file", "-", "title=@-")
    assert (refused.code, "only once" in refused.err) == (2, True)


@pytest.fixture
def world(daemon: Any, store: holdfast.Store) -> Iterator[World]:
    """Knows from the registry which fields a record requires; uses the workspace of `store`."""
    with Api(daemon.socket_path, store.workspace) as api:
        yield World(api)


def _spelled(value: Any) -> Any:
    """A list of messages as JSON, anything else as it is."""
    return value if isinstance(value, str | int) else json.dumps([MessageToDict(each) for each in value])


def test_every_kind_by_the_same_verbs(run: Run, world: World) -> None:
    for name, kind in KINDS.items():
        spelled = name.replace("_", "-")
        needed = world.minimal(REGISTRY[name]).ListFields()
        if needed:
            assert run("create", spelled, "--json").reason == "FIELD_REQUIRED"
        made = run("create", spelled, *(f"{field.name}={_spelled(value)}" for field, value in needed))
        assert made.code == 0, made.err
        id = made.out.strip()
        assert run("show", kind.noun, id, "--json").objects[0]["id"] == id
        assert id in [each["id"] for each in run("list", kind.noun.replace("_", "-"), "--json").objects]
        assert len(run("list", spelled, "--filter", f'id = "{id}"').lines) == 2
        assert run("log", spelled, id, "--json").objects[0]["action"] == "insert"
        changed = run("set", spelled, id, 'metadata={"a": 1}', "--json")
        assert (changed.code == 0) is not kind.immutable, changed.err
        assert run("delete", spelled, id, "--cascade").code == 0
        assert run("show", spelled, id).code == 4
