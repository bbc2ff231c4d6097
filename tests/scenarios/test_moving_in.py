"""docs/moving-in.md: each document's own layout is built on disk, and the page's commands move it in as they are written."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import holdfast
from tests.conftest import DaemonProcess

PAGE = Path(__file__).resolve().parents[2] / "docs" / "moving-in.md"
T0 = 1_600_000_000_123  # 2020-09-13T12:26:40.123Z
Moved = Callable[[str], holdfast.Store]

SHIM = """#!{python}
import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]):
    print(*row)
"""


@pytest.fixture
def move(own_daemon: DaemonProcess, tmp_path: Path) -> Iterator[Moved]:
    """Runs the commands of a section in the directory of the test, twice where they can be repeated. Returns the store."""
    with holdfast.connect(own_daemon.socket_path, actor="reader") as store:

        def run(section: str) -> holdfast.Store:
            commands = "\n".join(re.findall(rf"^```sh {section}\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S))
            assert "holdfast load" in commands
            _shell(commands, own_daemon, tmp_path)
            before = store.status().revision
            loads = "\n".join(f"{line} --on-conflict skip" for line in _loads(commands))
            assert "loaded                0" in _shell(loads, own_daemon, tmp_path)
            assert store.status().revision == before
            assert [each for frame in store.verify(read_blobs=True) for each in frame.problems] == []
            return store

        yield run


def _loads(commands: str) -> list[str]:
    return [line for line in commands.splitlines() if line.startswith("holdfast load") and "--dry-run" not in line]


def _shell(commands: str, daemon: DaemonProcess, directory: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("sqlite3") is None:
        (directory / "bin").mkdir(exist_ok=True)
        (directory / "bin" / "sqlite3").write_text(SHIM.format(python=sys.executable))
        (directory / "bin" / "sqlite3").chmod(0o755)
        path = f"{directory / 'bin'}{os.pathsep}{path}"
    environment = os.environ | {"PATH": path, "HOLDFAST_SOCKET": str(daemon.socket_path)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=directory, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(path: Path, script: str, **rows: list[tuple[object, ...]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with sqlite3.connect(path) as database:
        database.executescript(script)
        for table, values in rows.items():
            database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values[0]))})", values)
    database.close()


def test_a_context_manager(move: Moved, tmp_path: Path) -> None:
    (tmp_path / "contexts" / "s1").mkdir(parents=True)
    for number in (1, 2):
        with gzip.open(tmp_path / "contexts" / "s1" / f"c{number}.json.gz", "wt") as file:
            json.dump({"step": number, "text": "x" * 100_000}, file)
    build(
        tmp_path / "workrail.db",
        "CREATE TABLE sessions (id TEXT, title TEXT, tags TEXT, created_at INTEGER, updated_at INTEGER);"
        "CREATE TABLE checkpoints (id TEXT, session_id TEXT, name TEXT, summary TEXT, tags TEXT, created_at INTEGER,"
        " context_path TEXT);",
        sessions=[("s1", "Login", '["web"]', T0, T0 + 5000)],
        checkpoints=[(f"c{n}", "s1", f"step {n}", "half", "[]", T0 + n, f"contexts/s1/c{n}.json.gz") for n in (1, 2)],
    )
    store = move("context-manager")
    session = store.sessions.get("s1")
    assert (session.tags, session.create_time.timestamp()) == (["web"], T0 / 1000)
    assert (session.update_time - session.create_time).total_seconds() == 5
    latest = store.checkpoints.latest("s1")
    assert latest is not None and (latest.id, latest.number, latest.create_time.timestamp()) == ("c2", 2, (T0 + 2) / 1000)
    assert store.checkpoints.load(latest) == {"step": 2, "text": "x" * 100_000}
    assert store.checkpoints.save("s1", context={"step": 3}).number == 3


def test_a_workspace_of_constructs(move: Moved, tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "c1" / "diff").mkdir(parents=True)
    (tmp_path / "artifacts" / "c1" / "diff" / "login.diff").write_text("+fixed\n")
    build(
        tmp_path / "app.db",
        "CREATE TABLE constructs (id TEXT, name TEXT, type TEXT, status TEXT, metadata TEXT, created_at TEXT, updated_at TEXT);"
        "CREATE TABLE sessions (id TEXT, construct_id TEXT, status TEXT, agent TEXT, started_at TEXT, ended_at TEXT);"
        "CREATE TABLE transcripts (session_id TEXT, seq INTEGER, role TEXT, text TEXT, at TEXT);"
        "CREATE TABLE artifacts (id TEXT, construct_id TEXT, session_id TEXT, type TEXT, name TEXT, path TEXT, created_at TEXT);"
        "CREATE TABLE relationships (type TEXT, from_id TEXT, to_id TEXT);",
        constructs=[(f"c{n}", f"Fix {n}", "agent", "active", '{"team": "web"}', f"2024-01-0{n}T10:00:00Z", None) for n in (1, 2)],
        sessions=[("s1", "c1", "active", "claude", "2024-01-01T11:00:00Z", None)],
        transcripts=[
            ("s1", n, "response", f"line {n}" if n < 3 else "x" * (2 << 20), f"2024-01-01T11:00:0{n}Z") for n in (1, 2, 3)
        ],
        artifacts=[("a1", "c1", "s1", "diff", "login.diff", "artifacts/c1/diff/login.diff", "2024-01-01T12:00:00Z")],
        relationships=[("continues", "c2", "c1")],
    )
    store = move("constructs")
    found = list(store.constructs.list(filter='metadata.team = "web"'))
    assert [(each.id, each.create_time.day, each.update_time.day) for each in found] == [("c1", 1, 1), ("c2", 2, 2)]
    assert store.sessions.get("s1").end_time is None
    entries = list(store.transcripts.read("s1"))
    assert [(each.number, len(each.content), each.create_time.second) for each in entries] == [
        (1, 6, 1),
        (2, 6, 2),
        (3, 2 << 20, 3),
    ]
    artifact = store.artifacts.get("a1")
    assert (artifact.content_type, artifact.create_time.hour) == ("text/x-diff", 12)
    with store.artifacts.open("a1") as file:
        assert file.read() == b"+fixed\n"
    assert [(each.from_id, each.to_id) for each in store.links.list()] == [("c2", "c1")]


def test_a_tracker(move: Moved, tmp_path: Path) -> None:
    build(
        tmp_path / "data" / "app.db",
        "CREATE TABLE tasks (id TEXT PRIMARY KEY, title TEXT, status TEXT, version INTEGER, priority TEXT, rationale_log TEXT,"
        " assignees TEXT, created_at INTEGER);"
        "CREATE TABLE bugs (id TEXT PRIMARY KEY, title TEXT, severity TEXT, task_id TEXT NULL, repro_steps TEXT,"
        " proposed_fix TEXT, version INTEGER, created_at INTEGER);"
        "CREATE TABLE status_updates (id TEXT PRIMARY KEY, actor TEXT, task_id TEXT NULL, message TEXT, created_at INTEGER);"
        "CREATE TABLE design_notes (id TEXT PRIMARY KEY, title TEXT, context TEXT, decision TEXT, consequences TEXT, actor TEXT,"
        " created_at INTEGER, superseded_by TEXT NULL);"
        "CREATE TABLE audit_entries (id TEXT PRIMARY KEY, actor TEXT, entity TEXT, entity_id TEXT, action TEXT,"
        " at INTEGER, diff TEXT);",
        tasks=[
            (f"t{n}", f"Task {n}", status, n + 4, "high", '[{"why": 1}]', '["ada"]', T0 + n)
            for n, status in enumerate(("todo", "done"))
        ],
        bugs=[
            ("b1", "Bug", "high", "t0", '["click"]', None, 3, T0),
            ("b2", "Bug", "low", None, "[]", "", 1, T0),
            ("b3", "Bug", "low", "gone", "[]", "", 1, T0),
        ],
        status_updates=[(f"u{9 - n}", "ada" if n else "bob", ("gone", "t0", "t0")[n], "moved on", T0) for n in range(3)],
        design_notes=[
            ("n1", "Old", "c", "d", "e", "ada", T0, "n2"),
            ("n2", "New", "c", "d", "e", "bob", T0 + 1, None),
        ],
        audit_entries=[(f"a{n}", "ada", "task", f"t{n}", "update", T0 + n, '{"status": ["todo", "done"]}') for n in range(2)],
    )
    store = move("tracker")
    tasks = list(store.tasks.list())
    assert [(each.id, each.status, each.version, each.rationale_log, each.assignees) for each in tasks] == [
        ("t0", "todo", 4, [{"why": 1}], ["ada"]),
        ("t1", "done", 5, [{"why": 1}], ["ada"]),
    ]
    assert tasks[0].create_time.timestamp() == T0 / 1000 and tasks[0].update_time == tasks[0].create_time
    assert [(each.id, each.proposed_fix, each.task_id or None) for each in store.bugs.list()] == [
        ("b1", None, "t0"),
        ("b2", "", None),
        ("b3", "", None),
    ]
    assert [each.metadata for each in store.bugs.list()] == [None, None, {"task_id": "gone"}]
    assert next((each.task_id or None, each.metadata) for each in store.status_updates.list()) == (None, {"task_id": "gone"})
    assert [each.id for each in store.status_updates.list()] == ["u9", "u8", "u7"]
    assert [each.actor for each in store.audit.of("status_update", "u8")] == ["ada"]
    assert store.design_notes.get("n1").superseded_by == "n2"
    events = list(store.events.read("moved-audit", parent_kind="session"))
    assert [(each.number, each.type, each.source, each.data["diff"]) for each in events] == [
        (n, "update", "ada", {"status": ["todo", "done"]}) for n in (1, 2)
    ]
    assert store.tasks.update("t0", status="doing", version=4).version == 5


def test_an_orchestrator(move: Moved, tmp_path: Path) -> None:
    day = "2025-03-0{}T10:00:00Z".format
    build(
        tmp_path / ".orc" / "orc.db",
        "CREATE TABLE initiatives (id TEXT, title TEXT, vision TEXT, status TEXT, created_at TEXT, updated_at TEXT);"
        "CREATE TABLE initiative_tasks (initiative_id TEXT, task_id TEXT, position INTEGER);"
        "CREATE TABLE initiative_dependencies (initiative_id TEXT, depends_on TEXT);"
        "CREATE TABLE initiative_decisions (initiative_id TEXT, decision TEXT, rationale TEXT, decided_by TEXT, decided_at TEXT);"
        "CREATE TABLE tasks (id TEXT, title TEXT, description TEXT, status TEXT, initiative_id TEXT, metadata TEXT,"
        " priority TEXT, created_at TEXT, updated_at TEXT);"
        "CREATE TABLE task_dependencies (task_id TEXT, depends_on TEXT);"
        "CREATE TABLE states (task_id TEXT, status TEXT, current_phase TEXT, started_at TEXT);"
        "CREATE TABLE phases (task_id TEXT, phase TEXT, status TEXT, iterations INTEGER, started_at TEXT, ended_at TEXT);"
        "CREATE TABLE gate_decisions (id INTEGER, task_id TEXT, phase TEXT, gate_type TEXT, approved INTEGER, reason TEXT,"
        " decided_by TEXT, created_at TEXT, decided_at TEXT);"
        "CREATE TABLE task_comments (id INTEGER, task_id TEXT, author TEXT, content TEXT, created_at TEXT);"
        "CREATE TABLE review_comments (id INTEGER, task_id TEXT, author TEXT, content TEXT, file_path TEXT, line INTEGER,"
        " severity TEXT, status TEXT, resolution TEXT, created_at TEXT);"
        "CREATE TABLE workflows (id TEXT, version INTEGER, name TEXT, description TEXT, created_at TEXT);"
        "CREATE TABLE workflow_phases (workflow_id TEXT, version INTEGER, position INTEGER, name TEXT, gate_type TEXT,"
        " max_iterations INTEGER, settings TEXT);"
        "CREATE TABLE workflow_variables (workflow_id TEXT, version INTEGER, name TEXT, description TEXT, type TEXT,"
        " required INTEGER, default_value TEXT);"
        "CREATE TABLE runs (id TEXT, workflow_id TEXT, version INTEGER, task_id TEXT, status TEXT, current_phase TEXT,"
        " error TEXT, started_at TEXT, ended_at TEXT);"
        "CREATE TABLE phase_outputs (id INTEGER, run_id TEXT, task_id TEXT, phase TEXT, variable TEXT, content TEXT,"
        " iteration INTEGER, created_at TEXT);"
        "CREATE TABLE attachments (task_id TEXT, filename TEXT, content_type TEXT, path TEXT, created_at TEXT);"
        "CREATE TABLE branches (name TEXT, type TEXT, owner_id TEXT, base_branch TEXT, status TEXT, created_at TEXT,"
        " last_activity TEXT);"
        "CREATE TABLE constitution (content TEXT, version TEXT, updated_at TEXT);"
        "CREATE TABLE transcripts (id INTEGER PRIMARY KEY, task_id TEXT, phase TEXT, iteration INTEGER, role TEXT, content TEXT,"
        " timestamp TEXT);"
        "CREATE TABLE event_log (id INTEGER PRIMARY KEY, task_id TEXT, event_type TEXT, source TEXT, duration_ms INTEGER,"
        " data TEXT, created_at TEXT);",
        initiatives=[
            ("INIT-003", "Waits", "", "active", day(1), day(1)),  # made before the initiative that it waits for
            ("INIT-004", "Login", "fast", "active", day(2), day(2)),
        ],
        initiative_tasks=[("INIT-004", "TASK-017", 1), ("INIT-004", "TASK-018", 2), ("INIT-003", "TASK-017", 1)],
        initiative_dependencies=[("INIT-003", "INIT-004")],
        initiative_decisions=[("INIT-004", "Use JWT", "simple", "ada", day(1))],
        tasks=[
            (
                "TASK-016",
                "Waits",
                "",
                "created",
                "INIT-004",
                None,
                None,
                day(1),
                day(1),
            ),  # made before the task that it waits for
            ("TASK-017", "First", "do", "running", None, '{"b": [1, 2]}', "high", day(2), day(3)),
            ("TASK-018", "", "", "created", None, None, "", day(3), day(3)),
        ],
        task_dependencies=[("TASK-016", "TASK-017")],
        states=[("TASK-017", "running", "implement", day(2))],
        phases=[("TASK-017", "spec", "completed", 2, day(2), day(3)), ("TASK-017", "implement", "running", 1, day(3), None)],
        gate_decisions=[
            (n, "TASK-017", f"p{n}", "human", said, "ok", "ada", day(1), None if said is None else day(3))
            for n, said in enumerate((1, 0, None))
        ],
        task_comments=[(1, "TASK-017", "bob", "Looks right.", day(3))],
        review_comments=[(1, "TASK-017", "eve", "Check it.", "a.py", 42, "major", "resolved", "done", day(3))],
        workflows=[("ship", n, "Ship", "all of it", day(n)) for n in (1, 2)],
        workflow_phases=[("ship", n, 3 - n, f"p{n}", "human", n, '{"model": "x"}') for n in (1, 2)]
        + [("ship", 2, 1, "p1", None, None, None)],
        workflow_variables=[("ship", 2, "BRANCH", "where", "string", 1, "main")],
        runs=[("RUN-007", "ship", 2, "TASK-017", "running", "p1", None, day(2), None)],
        phase_outputs=[(1, "RUN-007", "TASK-017", "spec", "SPEC", "# The spec", 2, day(3))],
        attachments=[("TASK-017", "shot.png", "image/png", "attachments/TASK-017/shot.png", day(2))],
        branches=[("feature/login", "task", "TASK-017", "main", "active", day(1), day(3))],
        constitution=[("Be kind.", "2", day(2))],
        transcripts=[(n, f"TASK-01{6 + n % 2}", "spec", 1, "prompt", f"row {n}", day(n)) for n in range(1, 7)],
        event_log=[(n, "TASK-017", "phase_completed", "executor", n * 10, '{"n": 1}', day(n)) for n in range(1, 4)]
        + [(n, None, "started", "daemon", None, None, day(n)) for n in (4, 5)],
    )
    (tmp_path / ".orc" / "attachments" / "TASK-017").mkdir(parents=True)
    (tmp_path / ".orc" / "attachments" / "TASK-017" / "shot.png").write_bytes(b"png")
    store = move("orchestrator")
    assert store.tasks.next_id() == "TASK-019"
    assert store.tasks.get("TASK-016").blocked_by == ["TASK-017"]
    assert store.tasks.get("TASK-017").metadata == {"b": [1, 2]}
    assert [(each.id, each.title, each.priority) for each in store.tasks.list()] == [  # by their own times
        ("TASK-016", "Waits", "normal"),
        ("TASK-017", "First", "high"),
        ("TASK-018", "TASK-018", "normal"),
    ]
    assert store.initiatives.get("INIT-004").task_ids == ["TASK-017", "TASK-018", "TASK-016"]
    assert (waits := store.initiatives.get("INIT-003")).blocked_by == ["INIT-004"] and waits.task_ids == ["TASK-017"]
    assert [each.decision for each in store.initiatives.get("INIT-004").decisions] == ["Use JWT"]
    state = store.task_states.get("TASK-017")
    assert [(each.phase, each.iterations, each.end_time is None) for each in state.phases] == [
        ("spec", 2, False),
        ("implement", 1, True),
    ]
    gates = [(each.approved, each.create_time.day, each.decide_time is None) for each in store.gate_decisions.list()]
    assert sorted(gates, key=str) == [(False, 3, False), (None, 1, True), (True, 3, False)]
    (review,) = store.comments.reviews("TASK-017")
    assert (review.file_path, review.line, review.status, review.resolution) == ("a.py", 42, "resolved", "done")
    _check_processes(store)
    assert [each.actor for each in store.audit.of("comment", "comment-1")] == ["bob"]
    own = list(store.transcripts.read("TASK-017", parent_kind="task"))
    assert [(each.number, each.content, each.metadata) for each in own] == [
        (1 + n, f"row {1 + 2 * n}", {"orc_id": 1 + 2 * n}) for n in range(3)
    ]
    events = list(store.events.query(task_id="TASK-017"))
    assert [(each.duration_ms, each.create_time.day) for each in events] == [(10, 1), (20, 2), (30, 3)]


def _check_processes(store: holdfast.Store) -> None:
    latest = store.workflows.latest("ship")
    assert (latest.id, latest.parent_version) == ("ship@2", 1)
    assert [(each.name, each.gate_type, each.settings) for each in latest.phases] == [
        ("p2", "human", {"model": "x"}),
        ("p1", "", None),
    ]
    assert [(each.name, each.required, each.default_value) for each in latest.variables] == [("BRANCH", True, "main")]
    run = store.runs.get("RUN-007")
    assert (run.workflow, run.task_id, run.start_time and run.start_time.day, run.end_time) == ("ship@2", "TASK-017", 2, None)
    (output,) = store.phase_outputs.for_task("TASK-017")
    assert (output.run_id, output.variable, output.content, output.iteration) == ("RUN-007", "SPEC", "# The spec", 2)
    found = store.attachments.get("TASK-017", "shot.png")
    assert (found.content_type, found.create_time.day) == ("image/png", 2)
    store.attachments.save("TASK-017", "shot.png", b"newer")
    assert [each.version for each in store.attachments.list("TASK-017")] == [2]
    branch = store.branches.get("feature/login")
    assert (branch.owner_id, branch.activity_time and branch.activity_time.day) == ("TASK-017", 3)
    constitution = store.constitution.get()
    assert (constitution.content, constitution.edition) == ("Be kind.", "2")
    own = list(store.events.read("workspace", parent_kind="workspace"))
    assert [(each.number, each.type, each.source, each.create_time.day) for each in own] == [
        (1, "started", "daemon", 4),
        (2, "started", "daemon", 5),
    ]


def test_a_workflow_engine(move: Moved, tmp_path: Path) -> None:
    (tmp_path / "workflows" / "ship").mkdir(parents=True)
    (tmp_path / "logs").mkdir()
    for number in (1, 2, 10):
        text = (
            f"id: ship\nversion: {number}\nname: Ship it\nphases: [spec, implement]\ncreated: '2024-05-{number:02}T00:00:00Z'\n"
        )
        parent = "" if number == 1 else f"parent: {number // 10 + 1}\n"
        (tmp_path / "workflows" / "ship" / f"v{number}.yaml").write_text(f"{text}author: ada\n{parent}")
    (tmp_path / "logs" / "run-1.json").write_text(json.dumps({"steps": ["x" * 1000] * 3}))
    build(
        tmp_path / "darwinflow.db",
        "CREATE TABLE runs (id TEXT, workflow TEXT, version INTEGER, status TEXT, started TEXT, ended TEXT);"
        "CREATE TABLE patterns (id INTEGER, workflow TEXT, description TEXT, confidence REAL, occurrences INTEGER,"
        " first_seen TEXT, last_seen TEXT);",
        runs=[
            ("run-1", "ship", 2, "completed", "2024-06-01T00:00:00Z", "2024-06-01T01:00:00Z"),
            ("run-2", "ship", 10, "running", "2024-06-02T00:00:00Z", None),
        ],
        patterns=[(1, "ship", "Reviews take long.", 0.8, 4, "2024-06-01T00:00:00Z", "2024-06-03T00:00:00Z")],
    )
    store = move("workflow-engine")
    versions = list(store.workflows.list(order_by="workflow_version"))
    assert [(each.id, each.parent_version, each.create_time.day) for each in versions] == [
        ("ship@1", 0, 1),
        ("ship@2", 1, 2),
        ("ship@10", 2, 10),
    ]
    assert versions[1].definition["phases"] == ["spec", "implement"]
    assert [each.actor for each in store.audit.of("workflow", "ship@10")] == ["ada"]
    assert store.workflows.create(workflow_id="ship", name="Next").workflow_version == 11
    assert store.runs.get("run-2").workflow == "ship@10"
    log = store.execution_logs.get("run-1")
    assert (log.detail_type, log.create_time.hour) == ("application/json", 1)
    assert json.loads(store.blobs.get(log.detail_digest)) == {"steps": ["x" * 1000] * 3}
    (pattern,) = store.patterns.list()
    assert (pattern.occurrences, pattern.create_time.day, pattern.update_time.day) == (4, 1, 3)


def test_every_example_of_the_page_is_run() -> None:
    sections = {"context-manager", "constructs", "tracker", "orchestrator", "workflow-engine"}
    assert set(re.findall(r"^```sh ?(.*)$", PAGE.read_text(), flags=re.M)) == sections
