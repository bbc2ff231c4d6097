"""The construct workspace of the second seed, "Persistence Layer": constructs, transcripts, artifacts and links.

Constructs are listed and filtered by status, type and metadata; long transcripts are read in chunks from either end;
artifacts are streamed with their content type; plans are handed from one construct to another; rows and files are verified.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import holdfast
from holdfast.v1 import record_pb2
from tests.conftest import DaemonProcess
from tests.end_to_end.daemons import Directory

LONG = 12_000
CHUNK = 500


@pytest.fixture
def construct(store: holdfast.Store) -> record_pb2.Construct:
    return store.constructs.create(name="Login", type="agent", root_path="/src/login", branch="feature/login")


def names(found: object) -> list[str]:
    return [each.name for each in found]  # type: ignore[attr-defined]


def test_constructs_are_listed_filtered_and_searched(store: holdfast.Store) -> None:
    rows = [
        ("Login", "agent", "active", "Rework the login form", {"team": "web", "size": 3}),
        ("Billing", "agent", "idle", "Invoices and taxes", {"team": "money", "size": 8}),
        ("Search", "planner", "active", "Plan the search of logins", {"team": "web", "size": 5}),
    ]
    for name, type, status, description, metadata in rows:
        store.constructs.create(name=name, type=type, status=status, description=description, metadata=metadata)
    assert names(store.constructs.list(filter='status = "active"')) == ["Login", "Search"]
    assert names(store.constructs.list(filter='type = "agent" AND NOT status = "active"')) == ["Billing"]
    assert names(store.constructs.list(filter='metadata.team = "web" AND metadata.size > 3')) == ["Search"]
    assert names(store.constructs.list(filter='description:"login"')) == ["Login", "Search"]
    assert names(store.constructs.list(order_by="name desc", page_size=1)) == ["Search", "Login", "Billing"]
    assert store.constructs.count('type = "agent"') == 2


def test_statuses_move_under_optimistic_versions(store: holdfast.Store, construct: record_pb2.Construct) -> None:
    assert (construct.status, construct.version) == ("active", 1)
    paused = store.constructs.update(construct.id, status="paused", version=construct.version)
    with pytest.raises(holdfast.VersionMismatch):
        store.constructs.update(construct.id, status="done", version=construct.version)
    session = store.sessions.create(construct_id=construct.id, title="First run", state={"step": "plan"}, agent="claude")
    moved = store.sessions.update(session.id, status="running", state={"step": "edit", "files": 3})
    assert holdfast.json_value(moved.state) == {"step": "edit", "files": 3}
    statuses = [change.record.construct.status for change in store.constructs.history(construct.id)]
    assert statuses == ["active", "paused"] and paused.version == 2
    assert [each.id for each in store.sessions.list(filter=f'construct_id = "{construct.id}"')] == [session.id]


def test_a_long_transcript_is_read_in_chunks_from_both_ends(store: holdfast.Store, construct: record_pb2.Construct) -> None:
    session = store.sessions.create(construct_id=construct.id, title="A long talk")
    with store.transcripts.writer(session.id) as writer:
        for number in range(1, LONG + 1):
            writer.write(role="prompt" if number % 2 else "response", content=f"message {number}", phase="implement")
    shown = []
    for start in range(1, LONG + 1, CHUNK):
        chunk = [each.number for each in store.transcripts.read(session.id, start=start, limit=CHUNK)]
        assert len(chunk) == CHUNK, "a chunk must have the requested size"
        shown.extend(chunk)
    assert shown == list(range(1, LONG + 1))
    newest = [each.transcript.content for each in store.transcripts.read(session.id, descending=True, limit=3)]
    assert newest == [f"message {LONG - back}" for back in range(3)]
    answers = store.transcripts.read(session.id, filter='role = "response"', start=LONG - 5)
    assert [each.number for each in answers] == [LONG - 4, LONG - 2, LONG]


def test_a_reader_may_leave_a_long_transcript_early(store: holdfast.Store, construct: record_pb2.Construct) -> None:
    session = store.sessions.create(construct_id=construct.id, title="Read in part")
    store.transcripts.append_many(session.id, [{"role": "chunk", "content": "x" * 20_000} for _ in range(200)])
    reader = store.transcripts.read(session.id)
    assert [next(reader).number for _ in range(3)] == [1, 2, 3]
    reader.close()
    assert store.transcripts.append(session.id, role="chunk", content="the next") == 201


@pytest.mark.parametrize(
    ("type", "name", "content_type", "content"),
    [
        ("diff", "login.diff", "text/x-diff", b"--- a/login.py\n+++ b/login.py\n" + b"+line\n" * 200_000),
        ("log", "build.log", "text/plain; charset=utf-8", "übersetzt: 1 Datei\n".encode() * 100_000),
        ("report", "report.json", "application/json", b'{"passed": 3}'),
        ("image", "shot.png", "image/png", hashlib.shake_128(b"noise").digest(2_500_000)),
        ("empty", "nothing.txt", "text/plain", b""),
    ],
)
def test_artifacts_are_served_as_streams_with_their_type(
    store: holdfast.Store,
    construct: record_pb2.Construct,
    tmp_path: Path,
    type: str,
    name: str,
    content_type: str,
    content: bytes,
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    made = store.artifacts.put(source=path, construct_id=construct.id, type=type, content_type=content_type)
    found = store.artifacts.get(made.id)
    assert (found.name, found.type, found.content_type, found.content_size_bytes) == (name, type, content_type, len(content))
    served = hashlib.sha256()
    with store.artifacts.open(made.id) as stream:
        while chunk := stream.read(65_536):
            served.update(chunk)
        stream.seek(max(0, len(content) - 100))
        assert stream.read() == content[-100:]
    assert served.digest() == hashlib.sha256(content).digest()
    assert store.blobs.stat(found.content_digest).stored_bytes <= len(content), "the stored form must not be larger"


def test_artifacts_belong_to_a_construct_and_a_type(store: holdfast.Store, construct: record_pb2.Construct) -> None:
    other = store.constructs.create(name="Other")
    for owner in (construct, other):
        for type in ("diff", "log"):
            store.artifacts.put(source=b"the same bytes" * 5000, name=f"a.{type}", type=type, construct_id=owner.id)
    of_construct = f'construct_id = "{construct.id}"'
    assert [each.type for each in store.artifacts.list(filter=of_construct, order_by="type")] == ["diff", "log"]
    assert store.artifacts.count(f'{of_construct} AND type = "log"') == 1
    assert len({each.content_digest for each in store.artifacts.list()}) == 1, "equal contents must be stored once"
    with pytest.raises(holdfast.HasDependents) as refused:
        store.constructs.delete(construct.id)
    assert refused.value.metadata == {"artifact": "2"}
    store.constructs.delete(construct.id, cascade=True)
    assert {each.construct_id for each in store.artifacts.list()} == {other.id}


def test_sessions_tasks_and_runs_own_artifacts_too(store: holdfast.Store, construct: record_pb2.Construct) -> None:
    owners = {
        "construct_id": construct.id,
        "session_id": store.sessions.create(construct_id=construct.id).id,
        "task_id": store.tasks.create(title="t", construct_id=construct.id).id,
        "run_id": store.runs.create(status="running").id,
    }
    for field, id in owners.items():
        made = store.artifacts.put(source=field.encode(), name="command.log", type="log", **{field: id})
        assert [each.id for each in store.artifacts.list(filter=f'{field} = "{id}"')] == [made.id]
    store.constructs.delete(construct.id, cascade=True)
    assert [each.run_id for each in store.artifacts.list()] == [owners["run_id"]], "the construct's other artifacts must be gone"


def test_artifacts_of_a_construct_and_of_its_sessions(store: holdfast.Store, construct: record_pb2.Construct) -> None:
    session = store.sessions.create(construct_id=construct.id, title="First run")
    owners = {"a.log": {"construct_id": construct.id}, "b.log": {"session_id": session.id}, "c.diff": {"session_id": session.id}}
    for name, owner in owners.items():
        store.artifacts.put(source=b"x", name=name, type=name.partition(".")[2], **owner)
    store.artifacts.put(source=b"x", name="d.log", type="log", construct_id=store.constructs.create(name="Other").id)
    assert names(store.artifacts.of_construct(construct.id)) == ["a.log", "b.log", "c.diff"]
    assert names(store.artifacts.of_construct(construct.id, filter='type = "log"')) == ["a.log", "b.log"]


def test_changes_and_events_are_seen_in_order(store: holdfast.Store, construct: record_pb2.Construct) -> None:
    """What a timeline shows: changes of records, and events of a session, of a construct and of the workspace."""
    session = store.sessions.create(construct_id=construct.id)
    changes, events = store.watch(), store.events.watch()
    store.constructs.update(construct.id, status="idle", metadata={"since": ["ü", None]})
    store.events.save(session.id, parent_kind="session", type="tool", data={"größe": [1, None]})
    store.events.save(construct.id, parent_kind="construct", type="moved")
    store.events.save(parent_kind="workspace", type="upgraded", message="a\0b")
    change = next(changes)
    assert (change.kind, change.id, change.record.construct.status) == ("construct", construct.id, "idle")
    seen = [next(events) for _ in range(3)]
    assert [(each.parent_kind, each.parent_id, each.type) for each in seen] == [
        ("session", session.id, "tool"),
        ("construct", construct.id, "moved"),
        ("workspace", seen[2].parent_id, "upgraded"),
    ]
    assert (seen[0].data, seen[2].event.message) == ({"größe": [1, None]}, "a\0b")
    changes.close()
    events.close()


def test_a_plan_is_handed_to_another_construct(store: holdfast.Store) -> None:
    """From planning to implementation: the plan, the construct that implements it and the link are one commit."""
    planner = store.constructs.create(name="Planner", type="planner")
    plan = store.plans.create(from_construct_id=planner.id, title="Login in three steps", body="1. …\n2. …\n3. …")
    assert (plan.status, plan.to_construct_id) == ("draft", "")
    with store.transaction() as step:
        builder = step.constructs.create(name="Builder", type="implementer")
        step.plans.update(plan.id, to_construct_id=builder.id, status="handed-over", version=plan.version)
        link = step.links.create(
            type="implements", from_kind="construct", from_id=builder.id, to_kind="construct", to_id=planner.id
        )
    waiting = list(store.plans.list(filter=f'to_construct_id = "{builder.id}" AND status = "handed-over"'))
    assert [(each.id, each.body) for each in waiting] == [(plan.id, "1. …\n2. …\n3. …")]
    related = list(store.links.list(filter=f'from_kind = "construct" AND from_id = "{builder.id}"'))
    assert [(each.id, each.type, each.to_id) for each in related] == [(link.id, "implements", planner.id)]
    actions = [change.action for change in store.plans.history(plan.id)]
    assert len(actions) == 2, "the hand-off must be in the plan's history"


def test_links_need_both_ends_and_go_with_either(store: holdfast.Store, construct: record_pb2.Construct) -> None:
    task = store.tasks.create(title="Draw the form")
    ends = {"from_kind": "construct", "from_id": construct.id, "to_kind": "task"}
    with pytest.raises(holdfast.ParentNotFound):
        store.links.create(type="works-on", to_id="TASK-999", **ends)
    store.links.create(type="works-on", to_id=task.id, **ends)
    store.tasks.delete(task.id)
    assert store.links.count() == 0


def test_queries_go_across_constructs(store: holdfast.Store) -> None:
    said = {"Login": "the token expires", "Billing": "the tax is wrong", "Search": "token counts are off"}
    for name, content in said.items():
        session = store.sessions.create(construct_id=store.constructs.create(name=name).id, title=name)
        store.transcripts.append(session.id, role="response", content=content)
    hits = list(store.transcripts.list(filter='content:"token"'))
    titles = {each.title for each in store.sessions.batch_get([hit.parent_id for hit in hits]).values()}
    assert titles == {"Login", "Search"}


def test_rows_and_files_are_checked_against_each_other(
    own_daemon: DaemonProcess, sound: Callable[[holdfast.Store], None]
) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        construct = store.constructs.create(name="Checked")
        made = store.artifacts.put(source=os.urandom(500_000), name="dump.bin", construct_id=construct.id)
        sound(store)
        path = own_daemon.data_dir / store.blobs.stat(made.content_digest).path
        damaged = bytearray(path.read_bytes())
        damaged[1000] ^= 0xFF
        path.write_bytes(damaged)
        problems = [problem for frame in store.verify(read_blobs=True) for problem in frame.problems]
        assert len(problems) == 1 and made.content_digest in problems[0].subject
        command = [sys.executable, "-m", "holdfast", "verify", "--read-blobs", "--socket", str(own_daemon.socket_path)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert told.returncode != 0 and made.content_digest.removeprefix("sha256:") in told.stdout + told.stderr
        path.unlink()
        assert [problem for frame in store.verify() for problem in frame.problems], "a missing file is found without read_blobs"


def test_the_schema_has_a_simple_migrate_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "holdfastd", "migrate", "--data-dir", str(tmp_path / "data")]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


def test_many_threads_read_and_write_at_once(directory: Directory) -> None:
    """ "Manage SQLite connections efficiently for concurrent access": more callers than `--readers`."""
    daemon = directory.serve("store", "run/s.sock", "--readers", "2")
    with holdfast.connect(daemon.socket) as store, ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: store.constructs.create(name=f"construct {number}"), range(40)))
        assert list(pool.map(lambda each: store.constructs.get(each.id), made)) == made
        assert list(pool.map(lambda _: store.constructs.count(), range(16))) == [40] * 16
