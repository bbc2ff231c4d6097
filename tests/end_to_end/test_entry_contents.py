"""Contents that an entry or a phase output cannot hold: they go in with one call and come out unchanged."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import holdfast
from holdfast.blobs.contents import Contents, open_content, text_of
from holdfast.v1 import entry_pb2
from holdfast.wire.pages import raise_unreadable
from tests.end_to_end.command_line import Run
from tests.end_to_end.daemons import Directory
from tests.support.memory import watched

MIB = 1 << 20
LARGE = "".join(f"line {number} with ä and 𝄞\n" for number in range(5 * MIB // 26))
SURROGATE = "before \ud800 between \udfff after \ud83d"
TEXTS = {
    "large": LARGE,
    "NUL": "a\0b",
    "surrogates": SURROGATE,
    "NUL and surrogates": "\0" + SURROGATE,
    "large with surrogates": LARGE + SURROGATE,
    "limit": "x" * MIB,
    "below the limit": "x" * (MIB - 100),
    "replacement": "\ufffd",
    "empty": "",
}
VALUES: dict[str, Any] = {
    "large": {"output": LARGE},
    "large list": list(range(300_000)),
    "NUL": {"output": "a\0b", "key \0": 1},
    "surrogates": {"output": SURROGATE, SURROGATE: [1, None, 0.5]},
    "escapes": {"output": "\\u0000 and \\ud800 as text, 𝄞"},
    "order": {"b": 1, "a": {"d": 2, "c": 3}},
}

texts = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
values = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())


@pytest.fixture
def session(store: holdfast.Store) -> str:
    return store.sessions.create(title="talk").id


def only(entries: Any) -> Any:
    (entry,) = entries
    return entry


def problems(store: holdfast.Store) -> list[str]:
    return [str(problem) for frame in store.verify(read_blobs=True) for problem in frame.problems]


def as_a_message_holds_it(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in text)


@texts
def test_a_text_comes_back_whole(store: holdfast.Store, session: str, text: str) -> None:
    assert store.transcripts.append(session, role="response", content=text) == 1
    entry = only(store.transcripts.read(session))
    assert store.transcripts.text(entry) == text
    assert entry.content == entry.transcript.content == text
    assert entry.message.transcript.content == as_a_message_holds_it(text)
    listed = only(store.transcripts.list(parent_id=session))
    assert (store.transcripts.text(listed), listed.transcript.content) == (text, text)
    bare = only(store.transcripts.read(session, contents=False))
    assert text_of(bare, store.blobs) == text
    with open_content(bare, store.blobs) as file:
        assert file.read().decode("utf-8", "surrogatepass") == text
        file.seek(0)
        assert file.read(3).decode("utf-8", "ignore") == text[:3].encode("utf-8", "surrogatepass")[:3].decode("utf-8", "ignore")


def test_only_what_an_entry_cannot_hold_is_in_a_blob(store: holdfast.Store, session: str) -> None:
    for text in ("short", "x" * (MIB - 100), "\ufffd"):
        store.transcripts.append(session, role="r", content=text)
    assert [each.transcript.content_digest for each in store.transcripts.read(session)] == ["", "", ""]
    own = SURROGATE + session
    store.transcripts.append(session, role="r", content=own, metadata={"exit": 1}, phase="test")
    store.transcripts.append(session, role="r", content="a\0b")
    *_, first, second = (each.transcript for each in store.transcripts.read(session))
    assert first.content_type == "text/plain; charset=wtf-8"
    assert (second.content_type, second.content_size_bytes, second.content) == ("text/plain; charset=utf-8", 3, "a\0b")
    assert (first.phase, first.metadata, first.content_size_bytes) == (
        "test",
        {"exit": 1},
        len(own.encode("utf-8", "surrogatepass")),
    )
    assert store.blobs.stat(first.content_digest).reference_count == 1


def test_many_entries_of_one_append(store: holdfast.Store, session: str) -> None:
    given = ["one", LARGE, "a\0b", SURROGATE, LARGE, "last"]
    messages = [entry_pb2.Transcript(role="r", content=text) for text in (LARGE, "a\0b")]
    entries = [{"role": "r", "content": text} for text in given]
    assert list(store.transcripts.append_many(session, [*entries, *messages])) == list(range(1, 9))
    assert [store.transcripts.text(each) for each in store.transcripts.read(session)] == [*given, LARGE, "a\0b"]


def test_the_writer_keeps_the_order(store: holdfast.Store, session: str) -> None:
    given = [text for number in range(30) for text in (f"text {number}", *([TEXTS["NUL"], SURROGATE] if number % 5 == 0 else []))]
    given[7:7] = [LARGE]
    with store.transcripts.writer(session) as writer:
        for text in given:
            writer.write(role="chunk", content=text)
        assert writer.written == len(given)
    assert [store.transcripts.text(each) for each in store.transcripts.read(session)] == given


def test_a_transaction_appends_and_drops(store: holdfast.Store) -> None:
    with store.transaction() as tx:
        session = tx.sessions.create(title="talk")
        tx.transcripts.append(session.id, role="r", content=LARGE)
        tx.transcripts.append_many(session.id, [{"role": "r", "content": SURROGATE}])
    assert [store.transcripts.text(each) for each in store.transcripts.read(session.id)] == [LARGE, SURROGATE]
    store.sessions.delete(session.id, cascade=True)
    assert problems(store) == []


def test_a_follower_gets_whole_entries(store: holdfast.Store, session: str) -> None:
    given = ["small", LARGE, "a\0b", LARGE[::-1]]

    def write() -> None:
        for text in given:
            store.transcripts.append(session, role="r", content=text)

    with store.transcripts.follow(session) as following:
        Thread(target=write).start()
        assert [next(following).transcript.content for _ in given] == given


def test_a_read_holds_the_content_of_one_entry(store: holdfast.Store, session: str) -> None:
    """All entries fit into one frame, but their contents are 60 MB."""
    for number in range(12):
        store.transcripts.append(session, role="r", content=f"{number}" + "x" * (5 * MIB))
    transcripts = store.transcripts
    for read in (
        lambda: transcripts.read(session),
        lambda: transcripts.list(parent_id=session),
        lambda: transcripts.watch(since=0, replay_only=True, ids=[session]),
    ):
        with watched(os.getpid()) as memory:
            assert sum(len(each.transcript.content) for each in read()) > 12 * 5 * MIB
        assert memory.growth_mib < 40


@values
def test_the_data_of_an_event_comes_back(store: holdfast.Store, value: Any) -> None:
    task = store.tasks.create(title="work").id
    store.events.save(task, type="output", data=value, message=SURROGATE)
    store.events.save_many([{"type": "output", "data": value, "task_id": task, "message": "a\0b"}])
    with store.transaction() as tx:
        tx.events.save(task, type="output", data=holdfast.Json(json.dumps(value)))
    for found in (store.events.read(task), store.events.query(task_id=task), store.events.follow(task)):
        events = [next(iter(found)) for _ in range(3)]
        assert [holdfast.json_value(each.event.data) for each in events] == [value] * 3
        assert [json.loads(store.events.text(each, "data")) for each in events] == [value] * 3
        assert [store.events.text(each) for each in events] == [SURROGATE, "a\0b", ""]
        assert {each.event.task_id for each in events} == {task}


def test_an_entry_that_was_read_is_appended_again(store: holdfast.Store, session: str) -> None:
    given = [text + session for text in (LARGE, "a\0b", SURROGATE, "\ufffd" + SURROGATE)]
    store.transcripts.append_many(session, [{"role": "r", "content": text} for text in given])
    found = list(store.transcripts.read(session))
    other = store.sessions.create(title="copy").id
    store.transcripts.append_many(other, found)
    assert [store.transcripts.text(each) for each in store.transcripts.read(other)] == given
    assert [each.transcript.content for each in found] == given, "they were changed"
    assert {store.blobs.stat(each.transcript.content_digest).reference_count for each in found} == {2}
    found[0].transcript.content, found[2].transcript.content = LARGE + "more", "changed"
    store.transcripts.append_many(other, found, expected_last_number=4)
    again = [store.transcripts.text(each) for each in store.transcripts.read(other, start=5)]
    assert again == [LARGE + "more", given[1], "changed", given[3]]


@texts
def test_a_phase_output_comes_back_whole(store: holdfast.Store, text: str, tmp_path: Path) -> None:
    outputs, task = store.phase_outputs, store.tasks.create(title="work").id
    text = text * 3 if len(text) > MIB else text
    saved = outputs.save(task_id=task, phase="spec", variable="SPEC", content=text)
    assert (saved.content, saved.message.content) == (text, as_a_message_holds_it(text))
    found = [outputs.get(task_id=task, phase="spec"), outputs.by_var(task_id=task, variable="SPEC"), *outputs.for_task(task)]
    assert [(outputs.text(each), each.content) for each in found] == [(text, text)] * 3
    assert outputs.as_map(task_id=task) == {"SPEC": text}
    assert store.specs.get(task) == text
    with outputs.open_content(saved) as file:
        assert file.read() == text.encode("utf-8", "surrogatepass")
    store.contexts.materialize(task, tmp_path)
    assert (tmp_path / "spec.md").read_bytes() == text.encode("utf-8", "surrogatepass")
    assert not store.contexts.needs_materialization(task, tmp_path)


def test_an_output_changes_between_a_field_and_a_blob(store: holdfast.Store) -> None:
    outputs, task = store.phase_outputs, store.tasks.create(title="work").id
    for text in (LARGE, "small", SURROGATE, "", "a\0b", LARGE):
        saved = outputs.save(task_id=task, phase="plan", content=text)
        assert outputs.text(outputs.get(saved.id)) == text
        assert bool(saved.content_digest) == (text not in ("small", ""))
    assert outputs.text(outputs.update(saved.id, content="small")) == "small"
    assert outputs.text(outputs.update(saved.id, content=LARGE)) == LARGE
    kept = outputs.save(outputs.get(saved.id), source="someone")
    assert (outputs.text(kept), kept.source) == (LARGE, "someone")
    changed = outputs.get(saved.id)
    changed.content = "changed"
    assert outputs.text(outputs.update(changed)) == "changed"
    store.tasks.delete(task, cascade=True)
    assert problems(store) == []


def test_what_cannot_be_kept_is_refused(store: holdfast.Store, session: str) -> None:
    with pytest.raises(holdfast.TooLarge, match=r"The entry has 1,2\d\d,\d{3} bytes, the limit is 1,048,576\..*artifact"):
        store.transcripts.append(session, role="r", metadata="x" * 1_200_000)
    for wrong in ({"role": "\0"}, {"role": SURROGATE}, {"role": "r", "phase": "\0"}, {"role": "r", "metadata": {"a": SURROGATE}}):
        with pytest.raises(holdfast.InvalidArgument):
            store.transcripts.append(session, **{"content": LARGE, **wrong})
    with pytest.raises(holdfast.InvalidArgument, match=r"transcript\.role is required"):
        store.transcripts.append(session, role="", content=LARGE)
    with pytest.raises(holdfast.InvalidArgument, match=r"event\.data: Out of range float"):
        store.events.save(session, type="t", parent_kind="session", data=[float("nan"), SURROGATE])
    with pytest.raises(holdfast.ParentNotFound):
        store.transcripts.append("nobody", role="r", content=LARGE)
    assert list(store.transcripts.read(session)) == []


def test_a_lost_content_is_named_and_the_others_are_read(directory: Directory) -> None:
    daemon = directory.serve()
    with holdfast.connect(daemon.socket) as store:
        session = store.sessions.create(title="talk").id
        store.transcripts.append_many(session, [{"role": "r", "content": text} for text in ("one", LARGE, "three")])
        lost = [*store.transcripts.read(session, contents=False)][1].transcript.content_digest
        (daemon.data_dir / store.blobs.stat(lost).path).unlink()
        for found in (store.transcripts.read(session), store.transcripts.list(parent_id=session)):
            assert [each.transcript.content for each in found] == ["one", "three"]
            (gap,) = found.unreadable
            assert (gap.kind, gap.id) == ("transcript", "2")
            assert gap.reason.startswith("The content of transcript entry 2")
            assert lost in gap.reason
        with pytest.raises(holdfast.DataLoss, match="transcript 2 cannot be read"):
            list(store.transcripts.read(session, on_unreadable=raise_unreadable))
        seen = store.transcripts.watch(since=0, replay_only=True)
        assert [each.transcript.content for each in seen] == ["one", "three"]
        bare = list(store.transcripts.read(session, contents=False))
        with pytest.raises(holdfast.DataLoss, match="transcript entry 2 of session"):
            store.transcripts.text([*store.transcripts.list(contents=False)][1])
        assert [each.transcript.content for each in bare] == ["one", "", "three"]
        assert [each.transcript.content for each in store.transcripts.read(session, start=3)] == ["three"]
        assert lost in "".join(problems(store))
        store.transcripts.append(session, role="r", content=LARGE)  # repairs it
        assert [len(each.transcript.content) for each in store.transcripts.read(session)] == [3, len(LARGE), 5, len(LARGE)]


def test_the_command_line_shows_them(store: holdfast.Store, session: str, run: Run) -> None:
    store.transcripts.append_many(session, [{"role": "r", "content": text} for text in ("a\0b", SURROGATE, LARGE)])
    lines = [json.loads(each) for each in run("tail", session, "--json").out.splitlines()]
    assert [each["content"] for each in lines] == ["a\0b", SURROGATE, LARGE]
    assert "a\\x00b" in (told := run("tail", session).out) and "line 3 with" in told
    task = store.tasks.create(title="work").id
    store.events.save(task, type="t", data={"out": SURROGATE})
    shown = run("tail", task, "--journal", "event", "--parent-kind", "task", "--json").out
    assert json.loads(shown)["data"] == {"out": SURROGATE}
    for text in (LARGE, SURROGATE, "small"):
        id = store.phase_outputs.save(task_id=task, phase="spec", content=text).id
        assert run("cat", id).raw == text.encode("utf-8", "surrogatepass")
        shown = run("show", "phase_output", id, "--json").out
        assert json.loads(shown)["content"] == text
        assert run("show", "phase_output", id).code == 0
        assert text[:7] in run("list", "phase_outputs", "--columns", "content").out or text != "small"


def test_a_printed_output_is_created_again(store: holdfast.Store, run: Run, tmp_path: Path) -> None:
    task = store.tasks.create(title="work").id
    for text in (LARGE, SURROGATE):
        id = store.phase_outputs.save(task_id=task, phase="spec", content=text).id
        form = json.loads(run("show", "phase_output", id, "--json").out)
        (tmp_path / "form.json").write_text(json.dumps({**form, "id": f"copy-{len(text)}", "phase": f"p{len(text)}"}))
        made = run("create", "phase_output", "--json-file", str(tmp_path / "form.json"))
        assert made.code == 0, made.err
        assert store.phase_outputs.text(store.phase_outputs.get(f"copy-{len(text)}")) == text


def test_a_content_is_swept_only_without_its_entry(directory: Directory) -> None:
    daemon = directory.serve(HOLDFAST_LEASE_S="1")
    with holdfast.connect(daemon.socket) as store:
        session = store.sessions.create(title="talk").id
        store.transcripts.append(session, role="r", content=LARGE)
        digest = only(store.transcripts.read(session)).transcript.content_digest
        assert sweep(store) == 0
        assert only(store.transcripts.read(session)).transcript.content == LARGE
        store.sessions.delete(session, cascade=True)
        assert sweep(store) == 1
        assert not store.blobs.exists(digest)
        assert problems(store) == []


def test_an_upload_is_swept_when_the_daemon_dies_before_the_append(directory: Directory) -> None:
    daemon = directory.serve(HOLDFAST_LEASE_S="1")
    with holdfast.connect(daemon.socket) as store:
        session = store.sessions.create(title="talk").id
        entry = Contents(store.in_workspace("default")._connection).stored({"role": "r", "content": LARGE})
        daemon.process.kill()
        daemon.process.wait()
        directory.serve(HOLDFAST_LEASE_S="1")
        assert sweep(store) == 1
        with pytest.raises(holdfast.FailedPrecondition, match=f"There is no blob {entry.transcript.content_digest}"):
            store.transcripts.append_many(session, [entry])
        store.transcripts.append(session, role="r", content=LARGE)
        assert only(store.transcripts.read(session)).transcript.content == LARGE
        assert problems(store) == []


def sweep(store: holdfast.Store) -> int:
    """Sweeps when the leases are over; returns the number of blobs deleted."""
    time.sleep(1.2)
    return list(store.run_job("sweep"))[-1].counts["blobs_deleted"]
