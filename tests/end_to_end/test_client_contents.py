"""Checkpoints, artifacts and blobs over a real daemon: contents are read back unchanged."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.blobs import collection as blobs
from holdfast.v1 import blob_service_pb2
from holdfast.values.contexts import decode_context, encode_context

CONTEXTS: list[Any] = [
    b"",
    b"\0\xff" * 5000,
    "",
    "text with ä and 𝄞, \0 too",
    {"messages": [{"role": "user", "content": "hi"}], "n": [1, -1, 2**53 + 1, 2**64, -(2**200), 0.1, 1e300, True, None]},
    [],
    {},
    None,
    0,
    1.0,
    False,
    [[[]], {"": {}}],
    "null",
    "text with \ud800 and \0",
    "the halves of one character: \ud83d\ude00",
    {"tool\udfff": ["\udc80 bytes", "\0", "ä 𝄞", 2**64, {"deep": "\ud800"}]},
    "\ud800",
    ["\ud800"],
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def session_id(store: holdfast.Store) -> str:
    return store.sessions.create(title="a session").id


def same(one: Any, two: Any) -> bool:
    return bool(one == two) and type(one) is type(two)


@pytest.mark.parametrize("context", CONTEXTS, ids=[f"{number}" for number in range(len(CONTEXTS))])
def test_every_context_comes_back(store: holdfast.Store, session_id: str, context: Any) -> None:
    saved = store.checkpoints.save(session_id, context=context)
    fresh = store.in_workspace(store.workspace)
    assert same(fresh.checkpoints.load(saved.id), context)
    assert same(saved.load(), context)


@given(st.text(alphabet=st.characters(codec="utf-8")) | st.binary() | json_values)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_contexts_round_trip(context: Any) -> None:
    assert same(decode_context(*encode_context(context)), context)


@pytest.mark.parametrize(
    ("context", "error"),
    [
        ({1: "key"}, TypeError),
        ({"a": {2.5}}, TypeError),
        ([b"bytes"], TypeError),
        (object(), TypeError),
        ([float("nan")], holdfast.InvalidArgument),
        ({"a": [None, float("-inf")]}, holdfast.InvalidArgument),
        (["the halves of one character: \ud83d\ude00"], holdfast.InvalidArgument),
        ({"\udfff": float("nan")}, holdfast.InvalidArgument),
        ({"\udfff": {1: 2}}, TypeError),
    ],
)
def test_contexts_that_could_not_come_back_are_refused(context: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode_context(context)


def test_contexts_with_lone_surrogates_are_valid_json_or_typed_text() -> None:
    assert encode_context({"ä": "\ud800"}) == (b'{"\\u00e4":"\\ud800"}', "application/json")
    assert encode_context("\ud800") == (b"\xed\xa0\x80", "text/plain; charset=wtf-8")
    assert encode_context("ä") == ("ä".encode(), "text/plain; charset=utf-8")


def test_a_context_with_lone_surrogates_comes_back_as_a_delta_and_once_more(store: holdfast.Store, session_id: str) -> None:
    messages: list[Any] = [os.urandom(3000).hex()]
    for number in range(3):
        messages.append(f"{os.urandom(50).hex()} \ud800 {number}")
        for context in ({"messages": messages}, "\n".join(messages)):
            saved, again = (store.checkpoints.save(session_id, context=context) for _ in range(2))
            assert saved.context_digest == again.context_digest
            fresh = store.in_workspace(store.workspace).checkpoints
            assert same(fresh.load(saved.id), context) and same(fresh.load(again.id), context) and same(again.load(), context)


def test_a_detail_with_lone_surrogates_comes_back(store: holdfast.Store) -> None:
    for number, detail in enumerate(({"out": "\ud800\0"}, "\udcff")):
        store.logs.store(f"r{number}", workflow_id="w", workflow_version=1, status="ok", detail=detail)
        assert same(store.logs.detail(f"r{number}"), detail)


@pytest.mark.parametrize("text", ["a \ud800", "a \0"])
def test_the_refusal_of_a_text_says_where_it_can_go(store: holdfast.Store, session_id: str, text: str) -> None:
    task = store.tasks.create(title="t")
    construct = store.constructs.create(name="c", type="agent")
    attempts: list[tuple[str, Any]] = [
        ("title", lambda: store.tasks.create(title=text)),
        ("description", lambda: store.tasks.create(title="t", description=text)),
        ("metadata", lambda: store.tasks.create(title="t", metadata={"deep": [text]})),
        ("body", lambda: store.comments.create(task_id=task.id, author="a", body=text)),
        ("message", lambda: store.status_updates.create(task_id=task.id, actor="a", message=text)),
        ("body", lambda: store.plans.create(from_construct_id=construct.id, title="p", body=text)),
        ("tags", lambda: store.sessions.create(title="s", tags=[text])),
        ("metadata", lambda: store.transcripts.append(session_id, role="r", content="x", metadata={"deep": text})),
        ("metadata", lambda: store.checkpoints.save(session_id, context=1, metadata=[text])),
    ]
    for field, attempt in attempts:
        with pytest.raises(
            holdfast.InvalidArgument, match=rf"{field}\b.*\. Put such text into an artifact or an attachment"
        ) as got:
            attempt()
        assert got.value.metadata["field"] == field


def test_circles_are_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(holdfast.InvalidArgument):
        encode_context(circle)


def test_tuples_become_lists() -> None:
    assert decode_context(*encode_context((1, (2,)))) == [1, [2]]


def test_growing_contexts_are_sent_and_stored_as_deltas(store: holdfast.Store, session_id: str) -> None:
    messages: list[Any] = [os.urandom(3000).hex()]
    for number in range(20):
        messages.append({"role": "tool", "content": os.urandom(200).hex(), "step": number})
        saved = store.checkpoints.save(session_id, context={"messages": messages, "end": True}, name=f"step {number}")
    stat = store.blobs.stat(saved.context_digest)
    assert stat.codec == "delta" and stat.stored_bytes < 1500
    numbers = [each.number for each in store.checkpoints.list(session_id, order_by="number desc", page_size=7)]
    assert numbers == list(range(20, 0, -1))
    oldest = next(iter(store.checkpoints.list(session_id, order_by="number")))
    assert oldest.parent_id == "" and len(oldest.load()["messages"]) == 2
    assert saved.load()["messages"] == messages


def test_of_a_context_that_grew_only_the_middle_is_sent(
    store: holdfast.Store, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    class Counted(blobs._Frames):
        def __next__(self) -> blob_service_pb2.BlobServicePutRequest:
            frame = super().__next__()
            sent.append(frame.ByteSize())
            return frame

    monkeypatch.setattr(blobs, "_Frames", Counted)
    context = os.urandom(1_000_000)
    store.checkpoints.save(session_id, context=context)
    assert sum(sent) > 1_000_000
    for place in (len(context), 500_000):
        sent.clear()
        context = context[:place] + os.urandom(1_000) + context[place:]
        saved = store.checkpoints.save(session_id, context=context)
        assert 1_000 < sum(sent) < 1_500
        assert store.blobs.get(saved.context_digest) == context


def test_parents_and_latest(store: holdfast.Store, session_id: str) -> None:
    one = store.checkpoints.save(session_id, context=1, tags=["good"])
    two = store.checkpoints.save(session_id, context=2)
    assert (one.parent_id, two.parent_id) == ("", one.id)
    assert store.checkpoints.latest(session_id).id == two.id
    assert store.checkpoints.latest(session_id, tag="good").load() == 1
    assert store.checkpoints.save(session_id, context=3).parent_id == one.id, "the parent must be the checkpoint loaded last"
    assert store.checkpoints.save(session_id, context=4, parent=two).parent_id == two.id
    assert store.checkpoints.save(session_id, context=5, parent="").parent_id == ""
    other_client = store.in_workspace(store.workspace)
    assert other_client.checkpoints.save(session_id, context=6).parent_id == store.checkpoints.latest(session_id).parent_id != ""
    with pytest.raises(holdfast.NotFound, match="tag 'bad'"):
        store.checkpoints.latest(session_id, tag="bad")
    with pytest.raises(holdfast.ParentNotFound):
        store.checkpoints.save("ses_none", context=1)
    with pytest.raises(holdfast.ParentNotFound):
        store.checkpoints.save(session_id, context=1, parent="chk_none")


def test_a_parent_and_base_that_are_gone_are_looked_up_again(store: holdfast.Store, session_id: str) -> None:
    text = os.urandom(40_000).hex()
    one = store.checkpoints.save(session_id, context=text)
    two = store.checkpoints.save(session_id, context=text + "2")
    store.checkpoints.delete(two.id)
    three = store.checkpoints.save(session_id, context=text + "23")
    assert three.parent_id == one.id
    assert store.in_workspace(store.workspace).checkpoints.load(three.id) == text + "23"


def test_an_unknown_base_means_sending_the_whole(store: holdfast.Store, session_id: str) -> None:
    from holdfast.blobs.session_memory import Content
    from holdfast.blobs.uploads import upload_context
    from holdfast.contract.digests import hash_content

    never_sent = os.urandom(50_000)
    data = never_sent + b"more"
    content = upload_context(store.blobs, data, Content(hash_content(never_sent).digest, never_sent), "checkpoint")
    assert store.blobs.get(content.digest) == data


def test_handles_are_values(store: holdfast.Store, session_id: str) -> None:
    saved = store.checkpoints.save(session_id, context="c", name="n", tags=["t"], metadata={"a": 1})
    assert saved == store.checkpoints.get(saved.id)
    assert (saved.name, list(saved.tags), holdfast.json_value(saved.metadata), saved.context_size_bytes) == (
        "n",
        ["t"],
        {"a": 1},
        1,
    )
    renamed = store.checkpoints.update(saved.id, name="m")
    assert renamed.name == "m" and renamed.version == 2 and saved.id in repr(renamed)
    renamed.message.name = "o"
    assert store.checkpoints.update(renamed).name == "o"
    with pytest.raises(AttributeError):
        _ = saved.nonsense


def test_artifacts_from_bytes_paths_and_files(store: holdfast.Store, tmp_path: Path) -> None:
    construct = store.constructs.create(name="c")
    path = tmp_path / "login.diff"
    path.write_bytes(os.urandom(3_000_000))
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        made = store.artifacts.put(
            construct_id=construct.id, type="diff", source=source, name="login.diff", content_type="text/x-diff"
        )
        assert (made.name, made.content_type, made.content_size_bytes) == ("login.diff", "text/x-diff", 3_000_000)
        with store.artifacts.open(made.id) as file:
            assert file.read() == path.read_bytes()
    named = store.artifacts.put(construct_id=construct.id, source=path.with_name("login.diff"))
    assert named.name == "login.diff"
    assert store.artifacts.put(source=b"{}", name="a.json", construct_id=construct.id).content_type == "application/json"
    with pytest.raises(holdfast.InvalidArgument):
        store.artifacts.put(source=b"nameless", construct_id=construct.id)
    with pytest.raises(FileNotFoundError):
        store.artifacts.put(source=tmp_path / "none", construct_id=construct.id)
    with pytest.raises(TypeError, match="binary mode"):
        store.artifacts.put(source=io.StringIO("x"), name="x")  # type: ignore[arg-type]


def test_blobs_are_seekable_files(store: holdfast.Store) -> None:
    data = os.urandom(5_000_000)
    put = store.blobs.put(data)
    assert put.digest == f"sha256:{hashlib.sha256(data).hexdigest()}" and put.size_bytes == len(data)
    assert store.blobs.put(io.BytesIO(data)).existed
    with store.blobs.open(put.digest) as file:
        assert file.read(10) == data[:10]
        file.seek(-7, io.SEEK_END)
        assert file.read() == data[-7:] and file.read() == b""
        file.seek(1_234_567)
        assert file.read(2_000_000) == data[1_234_567:3_234_567]
        file.seek(10_000_000)
        assert file.read() == b""
    assert store.blobs.get(put.digest, offset=4, length=3) == data[4:7]
    assert store.blobs.get(put.digest, offset=4_999_999) == data[-1:]
    assert store.blobs.get(store.blobs.put(b"").digest) == b""
    missing = "sha256:" + "0" * 64
    assert not store.blobs.exists(missing)
    for call in (store.blobs.get, store.blobs.open, store.blobs.stat):
        with pytest.raises(holdfast.NotFound):
            call(missing)


class Broken(io.RawIOBase):
    """A file whose reads fail in the middle."""

    def __init__(self) -> None:
        self._left = 2

    def read(self, size: int = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise OSError("the disk is gone")
        return b"x" * 1000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_the_source_is_the_callers(store: holdfast.Store) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        store.blobs.put(Broken())


def test_verify_tells_how_many_references_and_blobs_it_checked(store: holdfast.Store) -> None:
    def counts() -> dict[str, int]:
        *_, last = store.verify()
        return dict(last.counts)

    before = counts()
    construct = store.constructs.create(name="c")
    for number in range(3):
        store.artifacts.put(
            construct_id=construct.id, type="log", name=f"{number}", source=f"{store.workspace} {number % 2}".encode()
        )
    after = counts()
    assert (after["references"] - before["references"], after["blobs"] - before["blobs"]) == (3, 2)
    assert after["problems"] == before["problems"]
