"""A view's content is exact for lone surrogates, which its message cannot hold; such views behave as all others."""

from __future__ import annotations

import copy
import pickle

import pytest

import holdfast
from holdfast.values import views

TEXT = "before \udc80 and \ud800 after"
SHOWN = "before \ufffd and \ufffd after"


@pytest.fixture
def entry(store: holdfast.Store) -> views.TranscriptEntry:
    store.sessions.create(id="S", title="s")
    store.transcripts.append("S", role="note", content="plain")
    store.transcripts.append("S", role="note", content=TEXT, metadata={"a": 1})
    plain, found = list(store.transcripts.read("S"))
    assert type(plain) is views.TranscriptEntry
    return found


def test_every_read_gives_the_content_exactly(store: holdfast.Store, entry: views.TranscriptEntry) -> None:
    listed = [list(store.transcripts.list())[1], store.transcripts.page().items[1]]
    watched = list(store.transcripts.watch(since=0, replay_only=True))[1]
    for each in (entry, *listed, watched):
        assert isinstance(each, views.TranscriptEntry)
        assert (each.content, each.transcript.content, each["content"], each["transcript"]["content"]) == (TEXT,) * 4
        assert each.to_dict()["transcript"]["content"] == dict(each)["transcript"]["content"] == TEXT
        assert each.message.transcript.content == SHOWN
        assert each.metadata == each.transcript.metadata == {"a": 1}
    store.tasks.create(id="T", title="t")
    store.events.save("T", type="x", message=TEXT)
    assert [each.message for each in store.events.read("T")] == [TEXT]


def test_such_a_view_is_compared_copied_pickled_and_shown_as_others(entry: views.TranscriptEntry) -> None:
    same = pickle.loads(pickle.dumps(entry))
    for each in (same, copy.copy(entry), copy.deepcopy(entry)):
        assert each == entry == entry.message
        assert (each.content, each.transcript.content) == (TEXT, TEXT)
    assert repr(entry).startswith("TranscriptEntry(number=2")
    assert r"content='before \udc80 and \ud800 after'" in repr(entry)
    assert r"\udc80" in entry._repr_html_()
    part = entry.transcript
    assert (copy.copy(part).content, pickle.loads(pickle.dumps(part)).content) == (TEXT, TEXT)


def test_a_content_that_is_set_takes_its_place(store: holdfast.Store, entry: views.TranscriptEntry) -> None:
    store.transcripts.append_many("S", [entry])
    assert [each.content for each in store.transcripts.read("S", start=3)] == [TEXT]
    changed, by_part, by_message = (copy.copy(entry) for _ in range(3))
    changed.content = "other"
    by_part.transcript.content = "other"
    by_message.message.transcript.content = "other"
    for each in (changed, by_part, by_message):
        assert (each.content, each.transcript.content, each.to_dict()["transcript"]["content"]) == ("other",) * 3
        store.transcripts.append_many("S", [each])
    assert [each.content for each in store.transcripts.read("S", start=4)] == ["other"] * 3
    assert entry.content == TEXT


def test_the_content_of_a_phase_output_is_exact(store: holdfast.Store) -> None:
    store.tasks.create(id="T", title="t")
    store.phase_outputs.save(task_id="T", phase="build", content=TEXT)
    found = store.phase_outputs.get(task_id="T", phase="build")
    (listed,) = store.phase_outputs.for_task("T")
    for each in (found, listed, pickle.loads(pickle.dumps(found)), copy.copy(found)):
        assert isinstance(each, views.PhaseOutput)
        assert (each.content, each["content"], each.to_dict()["content"], each.message.content) == (TEXT, TEXT, TEXT, SHOWN)
    again = store.phase_outputs.save(found)
    assert (again.content, store.phase_outputs.text(again)) == (TEXT, TEXT)
