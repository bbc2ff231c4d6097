"""Watches and followed journals of a real daemon: nothing is missed or repeated, no call starves, no snapshot is held."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from holdfast.v1 import store_service_pb2
from tests.end_to_end.daemons import PATIENCE_S, Directory, eventually
from tests.support.api import Api, append, delete, insert, refusal_of, refused, update

Place = tuple[int, int]
BIG = "x" * 500_000


@pytest.fixture(scope="module")
def api(daemon: Any) -> Iterator[Api]:
    with Api(daemon.socket_path) as made:
        yield made


def place(change: Any) -> Place:
    return change.revision, change.ordinal


@pytest.fixture(scope="module")
def history(api: Api) -> list[Place]:
    """Commits with one change, with many, with more than a frame holds, and a cascade."""
    api.commit(insert("session", id="S"), append("S", "a"))
    for number in range(4):
        api.commit(insert("task", id=f"B{number}", title="big", description=BIG), append("S", f"{number}"))
    big = [insert("task", title=f"{number}", description=BIG) for number in range(15)]
    api.commit(*big)
    api.commit(*[update("task", id=f"B{number}", description=BIG + "y") for number in range(4)], *[append("S", "z")] * 600)
    api.commit(delete("session", "S", cascade=True))
    return [place(each) for each in api.changes(after_revision=0)]


def frames_after(api: Api, **fields: Any) -> list[store_service_pb2.StoreServiceWatchResponse]:
    return list(api.watch(replay_only=True, **fields))


def test_a_commit_may_span_frames_and_each_frame_fits(api: Api, history: list[Place]) -> None:
    frames = frames_after(api, after_revision=0)
    assert max(frame.ByteSize() for frame in frames) <= 3 * 2**20
    spread = [{each.revision for each in frame.changes} for frame in frames]
    assert any(one & other for one, other in itertools.pairwise(spread))
    assert history == sorted(set(history))
    assert len(history) == 2 + 8 + 15 + 604 + 2


def test_a_watch_resumed_after_each_revision_misses_and_repeats_nothing(api: Api, history: list[Place]) -> None:
    for revision in sorted({revision for revision, _ in history}):
        found = [place(each) for each in api.changes(after_revision=revision)]
        assert found == [each for each in history if each[0] > revision]


def test_a_watch_resumed_from_each_cursor_misses_and_repeats_nothing(api: Api, history: list[Place]) -> None:
    seen: list[Place] = []
    for frame in frames_after(api, after_revision=0):
        seen += [place(each) for each in frame.changes]
        assert all(each in seen for each in history if each[0] <= frame.revision)
        assert [place(each) for each in api.changes(cursor=frame.cursor)] == history[len(seen) :]
    assert seen == history


def test_a_stream_that_breaks_after_every_frame_gets_everything_once(api: Api, history: list[Place]) -> None:
    """Also between the frames of one commit."""
    seen: list[Place] = []
    fields: dict[str, Any] = {"after_revision": 0}
    while len(seen) < len(history):
        stream = api.watch(**fields)
        frame = next(frame for frame in stream if frame.changes)
        stream.cancel()
        seen += [place(each) for each in frame.changes]
        fields = {"cursor": frame.cursor}
    assert seen == history


def test_kinds_and_ids_choose(api: Api, history: list[Place]) -> None:
    assert {each.kind for each in api.changes(after_revision=0, kinds=["session"])} == {"session"}
    of_one = api.changes(after_revision=0, kinds=["task", "transcript"], ids=["B1", "S"])
    assert {(each.kind, each.id) for each in of_one} == {("task", "B1"), ("transcript", "S")}
    assert len(of_one) == 2 + 1 + 4 + 600 + 1


def test_another_workspaces_changes_are_not_seen_but_the_cursor_moves_on(api: Api, daemon: Any, history: list[Place]) -> None:
    with Api(daemon.socket_path) as other:
        assert other.changes(after_revision=0) == []  # a watch may wait for a workspace that does not exist yet
        revision = other.commit(insert("task", title="t")).revision
        frames = list(api.watch(replay_only=True, after_revision=history[-1][0]))
        assert [(len(frame.changes), frame.revision >= revision) for frame in frames] == [(0, True)]
        assert len(other.changes(after_revision=0)) == 1


class Following:
    """Reads a stream in a thread."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.frames: list[Any] = []
        self.error: grpc.RpcError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.frames.extend(self.stream)
        except grpc.RpcError as error:
            self.error = error

    def numbers(self) -> list[int]:
        return [each.number for frame in list(self.frames) for each in frame.entries]

    def join(self) -> grpc.RpcError | None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.error


@pytest.mark.parametrize("start", [0, 1, 7, 20, 25])
def test_a_follow_from_anywhere_replays_and_goes_live(api: Api, start: int) -> None:
    parent = api.insert("session")
    for number in range(10):
        api.append(parent, str(number), "x")
    following = Following(api.read(parent, start=start, follow=True))
    assert eventually(lambda: bool(following.frames))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: api.append(parent, "live", str(number)), range(10)))
    assert eventually(lambda: bool(following.numbers()) and following.numbers()[-1] == 40)
    assert following.numbers() == list(range(max(1, start), 41))
    following.stream.cancel()


def test_a_follow_with_an_end_or_a_limit_ends(api: Api) -> None:
    parent = api.insert("session")
    followings = [
        Following(api.read(parent, follow=True, **fields)) for fields in ({"end": 3}, {"limit": 2}, {"start": 2, "limit": 2})
    ]
    for text in "abcde":
        api.append(parent, text)
    assert [each.join() for each in followings] == [None, None, None]
    assert [each.numbers() for each in followings] == [[1, 2, 3], [1, 2], [2, 3]]


def test_the_refusal_of_a_compacted_revision_names_the_oldest_one(directory: Directory) -> None:
    with Api(directory.serve().socket) as api:
        for _ in range(5):
            api.commit(insert("task", title="t"))
        assert api.run_job("compact", revision="3")["oldest_revision"] == 3
        for fields in ({"after_revision": 0}, {"after_revision": 2}, {"cursor": "2.0"}):
            refusal = refused(lambda fields=fields: api.watch(**fields))
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.OUT_OF_RANGE, "REVISION_COMPACTED")
            assert refusal.metadata == {"oldest_revision": "3"}
            assert "3" in refusal.message
        assert [each.revision for each in api.changes(after_revision=3)] == [4, 5]
        assert api.run_job("compact", revision="1")["oldest_revision"] == 3
        assert api.run_job("compact", revision="99")["oldest_revision"] == 5
        assert refused(lambda: api.watch(after_revision=6)).reason == "REVISION_IN_FUTURE"


def test_streams_do_not_starve_short_calls_and_one_too_many_is_told(directory: Directory) -> None:
    """One connection may have half of the streams; the next is told, and another connection gets one."""
    daemon = directory.serve("store", "run/s.sock", "--stream-threads", "12", "--unary-threads", "2")
    with Api(daemon.socket) as api:
        parent = api.insert("session")
        streams = [Following(api.read(parent, follow=True, timeout_s=None)) for _ in range(6)]
        assert eventually(lambda: all(each.frames for each in streams))
        for _ in range(20):
            began = time.monotonic()
            api.append(parent, "x")
            assert time.monotonic() - began < 2
        refusal = refused(lambda: api.watch(after_revision=0))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
        assert refusal.metadata["limit"] == "12"
        assert refusal.retry_delay_s is not None
        assert refusal.retry_delay_s > 0
        with Api(daemon.socket, api.workspace) as other:
            assert can_read(other, parent)
        streams[0].stream.cancel()
        assert eventually(lambda: can_read(api, parent))
        assert eventually(lambda: streams[1].numbers() == list(range(1, 21)))


def can_read(api: Api, parent: str) -> bool:
    try:
        return bool(api.entries(parent))
    except grpc.RpcError as error:
        return refusal_of(error).reason != "TOO_MANY_STREAMS"


def test_a_slow_reader_holds_no_snapshot(directory: Directory) -> None:
    """While the reader is slow, log checkpoints can copy the whole log, repeatedly."""
    daemon = directory.serve("store", "run/s.sock", "--checkpoint-interval", "3600")
    with Api(daemon.socket) as api, Api(daemon.socket, api.workspace) as slow:
        parent = api.insert("session")
        for _ in range(30):
            api.append(parent, BIG, BIG)
        dawdling = slow.read(parent, timeout_s=None), slow.watch(after_revision=0, timeout_s=None)
        first = [next(each) for each in dawdling]
        for _ in range(3):
            api.append(parent, "more")
            assert eventually(lambda: is_complete(api.run_job("checkpoint")))
        entries = len(first[0].entries) + sum(len(frame.entries) for frame in dawdling[0])
        assert entries >= 60
        dawdling[1].cancel()


def is_complete(counts: dict[str, int]) -> bool:
    return counts["pages_in_log"] == counts["pages_copied"]
