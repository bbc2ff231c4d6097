"""The orchestrator of the fourth seed, continued: transcripts, attachments, comments, gates, events, branches, lifecycle."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

import pytest

import holdfast
from tests.scenarios.orchestrator import Backend
from tests.scenarios.orchestrator_model import (
    Attachment,
    Branch,
    BranchListOptions,
    Context,
    Decision,
    Event,
    GateDecision,
    Initiative,
    PhaseOutput,
    QueryEventsOptions,
    ReviewComment,
    State,
    Task,
    TaskComment,
    Transcript,
    WorkflowRun,
)
from tests.scenarios.test_orchestrator import BEGAN, NESTED, UTC, saved_task

MINUTE = datetime.timedelta(minutes=1)
CTX = Context(timeout_s=60)

# --- Transcript ---


def whole_transcript(task_id: str) -> list[Transcript]:
    """An entry of each role, in an order that their times do not have: output of commands, and one of 5 MB."""
    return [
        Transcript(task_id, "implement it", 1, "prompt", "Ändere die Größe 🜁\r\n", BEGAN),
        Transcript(task_id, "implement it", 1, "response", "PNG\0\0 and half of a pair \udce2\ud83d", BEGAN - MINUTE),
        Transcript(task_id, "implement it", 1, "chunk", "", None),
        Transcript(task_id, "implement it", 2, "combined", "zeile ü\n" * 620_000, BEGAN + MINUTE),
        Transcript(task_id, "", 0, "tool_call", '{"not": "decoded"}', BEGAN),
    ]


def test_transcripts_come_back_as_they_were_added(backend: Backend, task: Task) -> None:
    entries = whole_transcript(task.id)
    assert len(entries[3].content.encode()) > 5_000_000
    backend.AddTranscript(entries[0])
    backend.AddTranscriptBatch(CTX, entries[1:])
    assert backend.GetTranscripts(task.id) == entries
    backend.AddTranscript(entries[1])
    assert backend.GetTranscripts(task.id) == [*entries, entries[1]], "an entry is added, not saved: twice is two"
    assert backend.SearchTranscripts("Größe") == entries[:1]
    assert backend.SearchTranscripts('{"not"') == entries[4:]
    assert backend.SearchTranscripts("nowhere") == []
    with pytest.raises(holdfast.ParentNotFound):
        backend.AddTranscript(dataclasses.replace(entries[0], task_id="TASK-404"))
    with pytest.raises(holdfast.NotFound):
        backend.GetTranscripts("TASK-404")


def test_a_batch_of_transcripts_is_added_whole_or_not_at_all(backend: Backend, task: Task) -> None:
    other = saved_task(backend)
    before = backend.store.revision
    backend.AddTranscriptBatch(CTX, [])
    assert backend.store.status().revision == before, "an empty slice is a no-op"
    good = Transcript(other.id, "spec", 1, "prompt", "good", BEGAN)
    for bad in (dataclasses.replace(good, role=""), dataclasses.replace(good, task_id="TASK-404")):
        with pytest.raises(holdfast.HoldfastError):
            backend.AddTranscriptBatch(CTX, [good, bad])
    cancelled = Context(timeout_s=60)
    cancelled.cancellation()
    with pytest.raises(holdfast.Cancelled):
        backend.AddTranscriptBatch(cancelled, [good])
    assert backend.GetTranscripts(other.id) == []
    mixed = [each for pair in zip(whole_transcript(task.id), whole_transcript(other.id), strict=True) for each in pair]
    backend.AddTranscriptBatch(CTX, mixed)
    assert backend.GetTranscripts(task.id) == mixed[0::2] and backend.GetTranscripts(other.id) == mixed[1::2]
    stored = backend.store.transcripts.list(parent_kind="task", contents=False)
    assert len({each.revision for each in stored}) == 1, "a batch must be one transaction"


def test_runs_and_sessions_have_transcripts_too(backend: Backend, task: Task, run: WorkflowRun) -> None:
    store = backend.store
    session = store.sessions.create(title="s")
    store.transcripts.append(run.id, parent_kind="run", role="combined", content="of the run", task_id=task.id)
    store.transcripts.append_many(session.id, [{"role": "prompt", "content": "of the session"}])
    backend.AddTranscript(Transcript(task.id, "", 0, "prompt", "of the task"))
    hits = store.transcripts.list(filter='content:"of the"')
    assert {(each.parent_kind, each.parent_id) for each in hits} == {("run", run.id), ("session", session.id), ("task", task.id)}
    store.transcripts.append_many(task.id, [{"role": "chunk", "content": "more"}], parent_kind="task")
    assert [each.content for each in backend.GetTranscripts(task.id)] == ["of the task", "more"]


# --- Attachment, Comments, Gates ---


def test_attachments(backend: Backend, task: Task) -> None:
    image, text = bytes(range(256)) * 20_000, "größer".encode()
    shot, note = Attachment("bild schirm.png", "image/png", len(image)), Attachment("note.txt", "text/plain", len(text))
    for _ in range(2):
        assert backend.SaveAttachment(task.id, shot.filename, shot.content_type, image) == shot
        assert backend.SaveAttachment(task.id, note.filename, note.content_type, text) == note
    assert backend.ListAttachments(task.id) == [shot, note]
    assert backend.GetAttachment(task.id, shot.filename) == (shot, image)
    replaced = Attachment("note.txt", "text/markdown", 0)
    assert backend.SaveAttachment(task.id, "note.txt", "text/markdown", b"") == replaced
    assert backend.GetAttachment(task.id, "note.txt") == (replaced, b"")
    backend.DeleteAttachment(task.id, shot.filename)
    assert backend.ListAttachments(task.id) == [replaced]
    for missing in (backend.GetAttachment, backend.DeleteAttachment):
        with pytest.raises(holdfast.NotFound):
            missing(task.id, shot.filename)


def test_comments_list_in_the_order_in_which_they_were_saved(backend: Backend, task: Task) -> None:
    comments = [TaskComment(task.id, "ann", f"Größe {number}\n", "spec", id=f"c-{9 - number}") for number in range(3)]
    comments.append(TaskComment(task.id, "bob", "without an id"))
    reviews = [
        ReviewComment(task.id, "bob", "off by one", "src/größe.py", 42, "major", id="r-1"),
        ReviewComment(task.id, "", "of the whole", status="resolved", resolution="fixed"),
    ]
    for comment in (*comments, *comments):
        backend.SaveTaskComment(comment)
    for review in (*reviews, *reviews):
        backend.SaveReviewComment(review)
    stored, found = backend.ListTaskComments(task.id), backend.ListReviewComments(task.id)
    assert [dataclasses.replace(each, created_at=None) for each in stored] == comments
    assert [dataclasses.replace(each, created_at=None) for each in found] == reviews
    found[0].resolution = "fixed, too"
    backend.SaveReviewComment(found[0])
    backend.SaveTaskComment(stored[1])
    assert (backend.ListTaskComments(task.id), backend.ListReviewComments(task.id)) == (stored, found)
    assert backend.ListTaskComments("TASK-404") == []


def test_gate_decisions(backend: Backend, task: Task) -> None:
    decisions = [
        GateDecision("spec", "ai", False, "vague", "gpt", BEGAN + MINUTE, task.id, "g-2"),
        GateDecision("spec", "human", True, "", "ann", BEGAN, task.id, "g-1"),
        GateDecision("implement it", "human", None, task_id=task.id),
    ]
    for decision in (*decisions, *decisions):
        backend.SaveGateDecision(decision)
    assert backend.ListGateDecisions(task.id) == decisions
    pending = backend.store.gate_decisions.list(filter="approved = null")
    assert [each.id for each in pending] == [decisions[2].id]
    decided = dataclasses.replace(decisions[2], approved=False, decided_by="ann", decided_at=BEGAN)
    backend.SaveGateDecision(decided)
    assert backend.ListGateDecisions(task.id) == [*decisions[:2], decided]
    assert [each.approved for each in backend.LoadAllStates()[0].gates] == [False, True, False]
    with pytest.raises(holdfast.ParentNotFound):
        backend.SaveGateDecision(dataclasses.replace(decided, task_id="TASK-404", id=""))


# --- Events ---


def whole_events(task_id: str, other_id: str) -> list[Event]:
    """Events of two tasks, oldest first."""
    return [
        Event(task_id, "phase", "spec", 1, {"status": "started", "größe": NESTED}, "executor", None, BEGAN),
        Event(task_id, "phase", "spec", 1, {"status": "completed"}, "executor", 90_000, BEGAN + MINUTE),
        Event(other_id, "error", data=["a\0b", "\ud800", None], created_at=BEGAN + 2 * MINUTE),
        Event(task_id, "tokens", "spec", 2, 12, duration_ms=0, created_at=BEGAN + 3 * MINUTE),
        Event(other_id, "output", data={"text": "zeile ü\n" * 620_000}, created_at=BEGAN + 4 * MINUTE),
    ]


def test_events_come_back_as_they_were_saved(backend: Backend, task: Task) -> None:
    """Filters and pages, newest first over all tasks; the events of one batch come task by task, not as they were mixed."""
    other = saved_task(backend)
    events = whole_events(task.id, other.id)
    backend.SaveEvent(events[0])
    backend.SaveEvents(events[1:])
    newest = [events[place] for place in (4, 2, 3, 1, 0)]
    assert backend.QueryEvents(QueryEventsOptions()) == newest
    assert backend.QueryEvents(QueryEventsOptions(task_id=task.id)) == newest[2:]
    assert backend.QueryEvents(QueryEventsOptions(event_types=["error", "tokens"])) == newest[1:3]
    assert backend.QueryEvents(QueryEventsOptions(since=BEGAN + MINUTE, until=BEGAN + 3 * MINUTE)) == [newest[1], newest[3]]
    pages = [backend.QueryEvents(QueryEventsOptions(limit=2, offset=offset)) for offset in (0, 2, 4, 6)]
    assert pages == [newest[:2], newest[2:4], newest[4:], []]
    first = backend.store.events.page(by_revision=True, descending=True, page_size=2)
    rest = backend.store.events.page(by_revision=True, descending=True, page_token=first.next_page_token)
    assert [each.type for each in (*first.items, *rest.items)] == [each.event_type for each in newest]
    assert backend.QueryEvents(QueryEventsOptions(task_id="TASK-404")) == []
    backend.SaveEvent(events[0])
    assert backend.QueryEvents(QueryEventsOptions(task_id=task.id, event_types=["phase"])) == [events[0], *newest[3:]]


def test_a_batch_of_events_is_saved_whole_or_not_at_all(backend: Backend, task: Task) -> None:
    before = backend.store.status().revision
    backend.SaveEvents([])
    good = Event(task.id, "phase")
    for bad, error in ((Event("TASK-404", "phase"), holdfast.ParentNotFound), (Event(task.id), holdfast.InvalidArgument)):
        with pytest.raises(error):
            backend.SaveEvents([good, bad])
    assert backend.QueryEvents(QueryEventsOptions()) == []
    assert backend.store.status().revision == before
    backend.SaveEvents([good] * 10)
    assert len({each.revision for each in backend.store.events.query()}) == 1, "a batch must be one commit"


def test_subscribers_see_events_as_they_are_saved(backend: Backend, task: Task) -> None:
    other = saved_task(backend)
    of_all, of_one = backend.store.events.watch(), backend.store.events.follow(task.id)
    events = whole_events(task.id, other.id)
    backend.SaveEvents(events)
    seen = [next(of_all) for _ in events]
    assert {(each.parent_id, each.number) for each in seen} == {(task.id, n) for n in (1, 2, 3)} | {(other.id, n) for n in (1, 2)}
    assert [(each.type, each.data) for each in (next(of_one), next(of_one), next(of_one))] == [
        (each.event_type, each.data) for each in events if each.task_id == task.id
    ]
    of_all.close()
    of_one.close()


# --- Branch, Constitution, Context, Lifecycle ---


def test_branches(backend: Backend, task: Task) -> None:
    now = datetime.datetime.now(UTC).replace(microsecond=123)
    old = Branch("orc/TASK-001", "task", task.id, "main", last_activity=BEGAN)
    fresh = Branch("orc/größe-" + "x" * 900, "initiative", last_activity=now)
    merged = Branch("orc/merged", "task", status="merged", last_activity=BEGAN)
    for branch in (old, fresh, merged, old, fresh):
        backend.SaveBranch(branch)
    assert backend.ListBranches(BranchListOptions()) == [old, fresh, merged]
    assert [backend.LoadBranch(each.name) for each in (old, fresh, merged)] == [old, fresh, merged]
    assert backend.ListBranches(BranchListOptions(status="active", type="task")) == [old]
    before = now - datetime.timedelta(days=30)
    assert backend.GetStaleBranches(before) == [old]
    backend.UpdateBranchActivity(old.name)
    touched = backend.LoadBranch(old.name)
    assert touched.last_activity is not None and touched.last_activity >= now
    assert dataclasses.replace(touched, last_activity=BEGAN) == old and backend.GetStaleBranches(before) == []
    backend.UpdateBranchStatus(fresh.name, "stale")
    assert backend.LoadBranch(fresh.name) == dataclasses.replace(fresh, status="stale")
    backend.DeleteBranch(merged.name)
    assert backend.ListBranches(BranchListOptions(status="merged")) == []
    for missing in (backend.LoadBranch, backend.UpdateBranchActivity, backend.DeleteBranch):
        with pytest.raises(holdfast.NotFound):
            missing(merged.name)


def test_the_constitution(backend: Backend) -> None:
    assert not backend.ConstitutionExists()
    for content in ("Be kind.", "Sei freundlich.\n雪", "Sei freundlich.\n雪"):
        backend.SaveConstitution(content)
        assert backend.LoadConstitution() == content
    assert backend.ConstitutionExists()
    backend.DeleteConstitution()
    assert not backend.ConstitutionExists()
    with pytest.raises(holdfast.NotFound):
        backend.LoadConstitution()


def test_context_is_materialized(backend: Backend, tmp_path: Path) -> None:
    backend.SaveConstitution("Be kind.")
    decision = Decision("OAuth", "everybody has it")
    backend.SaveInitiative(Initiative("INIT-001", "One login", decisions=[decision]))
    task = saved_task(backend, initiative_id="INIT-001")
    backend.SaveSpecForTask(task.id, "# The spec", "ann")
    backend.SaveAttachment(task.id, "shot.png", "image/png", b"\x89PNG")
    target = tmp_path / "context"
    assert backend.NeedsMaterialization(task.id, target)
    backend.MaterializeContext(task.id, target)
    assert not backend.NeedsMaterialization(task.id, target)
    files = {each.relative_to(target).as_posix(): each.read_bytes() for each in target.rglob("*") if each.is_file()}
    assert json.loads(files.pop("manifest.json"))
    assert files["constitution.md"] == b"Be kind." and files["spec.md"] == b"# The spec"
    assert b"\x89PNG" in files.values() and any(b"OAuth" in content for content in files.values())
    backend.SaveSpecForTask(task.id, "# The better spec", "ann")
    assert backend.NeedsMaterialization(task.id, target)
    backend.MaterializeContext(task.id, target)
    assert (target / "spec.md").read_text() == "# The better spec"
    backend.DeleteAttachment(task.id, "shot.png")
    assert backend.NeedsMaterialization(task.id, target)
    backend.MaterializeContext(task.id, target)
    assert b"\x89PNG" not in {each.read_bytes() for each in target.rglob("*") if each.is_file()}
    (target / "constitution.md").unlink()
    assert backend.NeedsMaterialization(task.id, target), "a removed file must be noticed"


def test_deleting_a_task_deletes_its_dependents(backend: Backend, task: Task, run: WorkflowRun) -> None:
    backend.SaveState(State(task.id, "running"))
    backend.SaveGateDecision(GateDecision("spec", "human", True, task_id=task.id))
    backend.SaveTaskComment(TaskComment(task.id, "ann", "…"))
    backend.SaveAttachment(task.id, "a.txt", "text/plain", b"a")
    backend.SavePhaseOutput(PhaseOutput(run.id, task.id, "spec", content="…"))
    backend.AddTranscriptBatch(CTX, whole_transcript(task.id))
    backend.SaveEvent(Event(task.id, "phase"))
    waiting = saved_task(backend, blocked_by=[task.id])
    with pytest.raises(holdfast.HasDependents):
        backend.store.tasks.delete(task.id)
    backend.DeleteTask(task.id)
    assert backend.LoadAllStates() == [State(waiting.id)]
    assert backend.QueryEvents(QueryEventsOptions()) == [] and backend.SearchTranscripts("Größe") == []
    store = backend.store
    for left in (store.comments, store.gate_decisions, store.artifacts, store.phase_outputs, store.runs):
        assert left.count() == 0
    assert backend.LoadAllTasks() == [dataclasses.replace(waiting, blocked_by=[])]
    assert [each.action for each in store.audit.of("run", run.id)] == ["insert", "delete"], "each change must be recorded"


def test_lifecycle(backend: Backend, task: Task) -> None:
    writer = backend.store.transcripts.writer(task.id, parent_kind="task")
    for number in range(50):
        writer.write(role="chunk", content=str(number))
    backend.Sync()
    assert [each.content for each in backend.GetTranscripts(task.id)] == [str(number) for number in range(50)]
    writer.close()
    backend.Cleanup()
    backend.Close()
    with pytest.raises(holdfast.Closed):
        backend.LoadTask(task.id)
