"""A client's steps in the tests of landed versions. Each version's client runs this file, so it uses only what all of them have.

    python session.py STEP SOCKET

prints `{"client": PATH, "result": …}`; PATH is the client that ran. STEP is one of the functions of `STEPS`.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import threading
from typing import Any

import holdfast

COLLECTIONS = [
    *("constructs", "sessions", "checkpoints", "artifacts", "links", "tasks", "plans", "initiatives", "bugs", "status_updates"),
    *("design_notes", "comments", "gate_decisions", "branches", "constitution", "task_states", "phase_templates", "workflows"),
    *("runs", "phase_outputs", "execution_logs", "interventions", "patterns"),
]
# Incompressible, so that their stored sizes determine their place: in the database, in a file, or as the base of a delta.
SMALL, LARGE = random.Random(1).randbytes(600), random.Random(2).randbytes(200_000)


def fill(store: holdfast.Store) -> None:
    """Writes data of every sort: records of most kinds, transcripts, blobs stored in every form, checkpoints, a delete."""
    fill_records(store)
    fill_workflows(store)
    session = store.sessions.create(title="Talk", state={"step": 3, "text": "naïve ✓"}, tags=["a", "b"])
    store.transcripts.append_many(session.id, [{"role": "prompt", "content": f"entry {each}"} for each in range(20)])
    store.transcripts.append(session.id, role="response", content="ünïcode", metadata={"tokens": 5})
    context: dict[str, Any] = {"messages": [{"role": "user", "content": "x" * 50 + str(each)} for each in range(400)]}
    for number in range(4):
        context["messages"].append({"role": "assistant", "content": f"{number} " + random.Random(number).randbytes(400).hex()})
        store.checkpoints.save(session.id, context=context, name=f"save {number}", tags=["kept"])
    store.artifacts.put(source=SMALL, name="small.bin", session_id=session.id)
    large = store.artifacts.put(source=LARGE, name="large.bin", session_id=session.id)
    edited = LARGE[:100_000] + b"edited" + LARGE[100_000:]
    put = store.blobs.put(edited, base_digest=large.content_digest)
    store.artifacts.create(name="edited.bin", content_digest=put.digest, session_id=session.id)


def fill_records(store: holdfast.Store) -> None:
    construct = store.constructs.create(name="Feature", metadata={"nested": {"list": [1, 2.5, None, "é"]}})
    first = store.tasks.create(title="First", tags=["urgent"], construct_id=construct.id, assignees=["ann"])
    second = store.tasks.create(title="Second", blocked_by=[first.id])
    store.tasks.update(first.id, status="running", version=first.version)
    store.links.create(type="derived-from", from_kind="task", from_id=second.id, to_kind="construct", to_id=construct.id)
    store.bugs.create(title="Crash", task_id=first.id, repro_steps=["open", "press"])
    store.status_updates.create(actor="ann", task_id=first.id, message="under way")
    store.design_notes.create(title="One writer", decision="SQLite", consequences="a queue")
    store.initiatives.create(title="Persistence", decisions=[{"decision": "go", "actor": "bob"}])
    store.comments.create(task_id=first.id, body="looks good", file_path="a.py", line=3)
    store.task_states.create(task_id=first.id, status="running", phases=[{"phase": "plan", "iterations": 2}])
    store.branches.create(name="feature/x", base_branch="main")
    store.constitution.save(content="Tests first.")
    store.phase_templates.create(name="Plan", prompt="Plan it.", settings={"model": "large"})
    store.gate_decisions.create(task_id=first.id, phase="plan", approved=True, actor="bob")
    gone = store.tasks.create(title="Deleted")
    store.tasks.delete(gone.id)
    with store.transaction() as transaction:
        transaction.plans.create(title="Both", from_construct_id=construct.id)
        transaction.patterns.create(workflow_id="ship", description="retries", confidence=0.5)


def fill_workflows(store: holdfast.Store) -> None:
    workflow = store.workflows.create(workflow_id="ship", name="Ship", phases=[{"name": "build"}, {"name": "test"}])
    run = store.runs.create(workflow=workflow.id, inputs={"branch": "main"})
    store.phase_outputs.create(run_id=run.id, phase="build", variable="binary", content="done")
    store.execution_logs.create(run_id=run.id, workflow_id="ship", steps=[{"name": "compile", "status": "ok"}])
    store.interventions.create(actor="ann", run_id=run.id, reason="flaky")


def fill_events(store: holdfast.Store) -> None:
    """Events came with Scan, so the clients before it don't have them."""
    task = next(iter(store.tasks.list(limit=1)))
    store.events.save(task.id, type="phase_started", phase="plan", data={"round": 1})
    store.events.save_many([{"type": "warning", "message": f"number {each}"} for each in range(5)], parent_id=task.id)


def _said(message: Any) -> dict[str, Any]:
    """The fields of a message that are set, and in it of messages: each version knows other fields."""
    return _set_fields(holdfast.plain(message))


def _set_fields(values: dict[str, Any]) -> dict[str, Any]:
    found = {name: _set_fields(each) if isinstance(each, dict) else each for name, each in values.items()}
    return {name: each for name, each in found.items() if each not in ("", 0, None) or each is False}


def dump(store: holdfast.Store) -> dict[str, Any]:
    """Everything that can be read: records, entries, contexts, blobs, changes."""
    found: dict[str, Any] = {name: [_said(each) for each in getattr(store, name).list()] for name in COLLECTIONS}
    found["transcripts"] = [_said(each) for each in store.transcripts.list()]
    found["contexts"] = [store.checkpoints.load(each["id"]) for each in found["checkpoints"]]
    named = [each.get("content_digest") or each.get("context_digest") for each in [*found["artifacts"], *found["checkpoints"]]]
    digests = sorted({each for each in named if each})
    found["blobs"] = {each: base64.b64encode(store.blobs.get(each)).decode() for each in digests}
    stats = [store.blobs.stat(each) for each in digests]
    found["stored"] = [[each.codec, each.path, each.base_digest, each.depth, each.size_bytes] for each in stats]
    changes = store.watch(since=0, replay_only=True)
    found["changes"] = [
        [each.revision, each.ordinal, each.kind, each.id, each.action, each.version, each.actor] for each in changes
    ]
    return json.loads(json.dumps(found, default=str, sort_keys=True))


def dump_events(store: holdfast.Store) -> list[Any]:
    task = next(iter(store.tasks.list(limit=1)))
    return json.loads(json.dumps([_said(each) for each in store.events.read(task.id)], default=str))


def work(store: holdfast.Store) -> dict[str, Any]:
    """A typical client session: creates, lists, a transaction, followed appends, a checkpoint, a watch."""
    session = store.sessions.create(title="Work")
    with store.transaction() as transaction:
        task = transaction.tasks.create(title="Staged")
        transaction.transcripts.append(session.id, role="prompt", content="one")
    refused = ""
    try:
        store.tasks.update(task.id, status="running", version=7)
    except holdfast.VersionMismatch as error:
        refused = error.metadata["actual"]
    context = {"messages": ["a" * 5000, "b"]}
    saved = store.checkpoints.save(session.id, context=context)
    return {
        "listed": [each.title for each in store.sessions.list(filter='title = "Work"')],
        "refused": refused,
        "followed": _followed(store, session.id),
        "watched": _watched(store, session.id),
        "loaded": store.checkpoints.load(saved.id) == context and store.checkpoints.latest(session.id).load() == context,
        "newest": [each.transcript.content for each in store.transcripts.read(session.id, descending=True, limit=1)],
    }


def _followed(store: holdfast.Store, session_id: str) -> list[str]:
    """Follows a transcript for three entries; the last is appended while the follower waits."""
    store.transcripts.append(session_id, role="response", content="two")
    with store.transcripts.follow(session_id) as entries:
        seen = [next(entries).transcript.content, next(entries).transcript.content]
        late = threading.Timer(0.2, store.transcripts.append, [session_id], {"role": "response", "content": "three"})
        late.start()
        seen.append(next(entries).transcript.content)
        late.join()
    return seen


def _watched(store: holdfast.Store, session_id: str) -> list[Any]:
    with store.watch(kinds=["session"], since=store.revision) as changes:
        store.sessions.update(session_id, status="done")
        change = next(changes)
    return [change.kind, change.id == session_id, change.record.session.status]


def states(store: holdfast.Store) -> dict[str, str]:
    """All states with their gates; clients that have Scan use it."""
    return {task: state.message.status for task, state in store.states.load_all().items()}


STEPS = {each.__name__: each for each in (fill, fill_events, dump, dump_events, work, states)}


def main(step: str, socket: str) -> None:
    with holdfast.connect(socket, actor="tester") as store:
        result = STEPS[step](store)
    json.dump({"client": holdfast.__file__, "result": result}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
