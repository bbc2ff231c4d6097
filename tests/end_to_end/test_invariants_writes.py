"""What an acknowledgement guarantees, when it is sent, and what happens to calls whose caller has left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from holdfast.v1 import store_service_pb2
from tests.end_to_end.daemons import PATIENCE_S, DaemonProcess, Directory, eventually
from tests.support.api import Api, append, insert, refusal_of, refused, update

SLOW_READ = " OR ".join(f"metadata.n:{-number}" for number in range(1, 60))


def sleeping(directory: Directory, point: str, *flags: str, seconds: float = 0.4) -> DaemonProcess:
    return directory.serve("store", "run/s.sock", *flags, HOLDFAST_FAILPOINTS=f"{point}=sleep:{seconds}")


def begin(api: Api, *mutations: store_service_pb2.Mutation, timeout_s: float = PATIENCE_S, **fields: Any) -> Any:
    request = store_service_pb2.StoreServiceCommitRequest(workspace=api.workspace, mutations=mutations, **fields)
    return api.store.Commit.future(request, timeout=timeout_s)


def titles(api: Api) -> list[str]:
    return [each.task.title for each in api.list("task").records]


def test_before_the_commit_nothing_is_acknowledged_or_visible(directory: Directory) -> None:
    with Api(sleeping(directory, "writer.before_commit").socket, "") as api:
        call = begin(api, insert("task", title="t"))
        time.sleep(0.2)
        assert not call.done()
        assert titles(api) == []
        assert call.result().revision == 1
        assert titles(api) == ["t"]


def test_what_is_committed_is_there_before_it_is_acknowledged(directory: Directory) -> None:
    with Api(sleeping(directory, "writer.after_commit").socket, "") as api:
        call = begin(api, insert("task", title="t"))
        assert eventually(lambda: titles(api) == ["t"])
        assert not call.done()
        assert call.result().revision == 1


@pytest.mark.parametrize(
    ("point", "survives"), [("writer.in_batch", False), ("writer.before_commit", False), ("writer.after_commit", True)]
)
def test_a_crash_between_commit_and_answer_and_the_same_request_again(directory: Directory, point: str, survives: bool) -> None:
    """Whether or not the commit was durable, the repeated request applies once and gets the answer of the first."""
    daemon = directory.serve(HOLDFAST_FAILPOINTS=f"{point}=kill@2")
    mutations = [insert("task", title="second"), append("S", "a", "b")]
    with Api(daemon.socket, "") as api:
        api.commit(insert("session", id="S"))
        with pytest.raises(grpc.RpcError) as caught:
            begin(api, *mutations, request_id="r", return_records=True).result()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    daemon.process.wait(PATIENCE_S)
    with Api(directory.serve().socket, "") as api:
        assert (titles(api) == ["second"]) is survives
        first = api.commit(*mutations, request_id="r", return_records=True)
        assert first.revision == 2
        assert api.commit(*mutations, request_id="r", return_records=True) == first
        assert titles(api) == ["second"]
        assert [each.number for each in api.entries("S")] == [1, 2]
        assert [each.revision for each in api.changes(after_revision=0)] == [1, 2, 2]
        assert api.problems() == []


def test_a_commit_whose_caller_left_the_queue_is_not_applied(directory: Directory) -> None:
    with Api(sleeping(directory, "writer.before_commit").socket, "") as api:
        first = begin(api, insert("task", title="first"))
        time.sleep(0.1)
        cancelled = begin(api, insert("task", title="cancelled"))
        late = begin(api, insert("task", title="late"), timeout_s=0.1)
        last = begin(api, insert("task", title="last"))
        time.sleep(0.15)
        cancelled.cancel()
        assert (first.result().revision, last.result().revision) == (1, 2)
        assert late.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert titles(api) == ["first", "last"]
        assert api.revision() == 2


def test_calls_without_a_deadline_are_given_one(directory: Directory) -> None:
    daemon = sleeping(directory, "writer.before_commit", "--default-timeout", "0.3", seconds=1.0)
    with Api(daemon.socket, "") as api:
        first = begin(api, insert("task", title="first"))
        time.sleep(0.2)
        request = store_service_pb2.StoreServiceCommitRequest(mutations=[insert("task", title="waits")])
        refusal = refused(lambda: api.store.Commit(request))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        first.result()
        assert titles(api) == ["first"]


@pytest.fixture
def busy_reader(directory: Directory) -> Iterator[Api]:
    """A daemon with one read connection and a store in which SLOW_READ takes long."""
    daemon = directory.serve("store", "run/s.sock", "--readers", "1")
    numbers = "[" + ",".join(map(str, range(8000))) + "]"
    with Api(daemon.socket, "") as api:
        for _ in range(10):
            api.commit(*[insert("task", title="t", metadata='{"n":' + numbers + "}")] * 30)
        api.commit(insert("session", id="S"))
        yield api


def begin_slow_read(api: Api, timeout_s: float) -> Any:
    call = api.store.Count.future(store_service_pb2.StoreServiceCountRequest(kind="task", filter=SLOW_READ), timeout=timeout_s)
    time.sleep(0.3)
    request = store_service_pb2.StoreServiceGetRequest(kind="session", id="S")
    with pytest.raises(grpc.RpcError) as caught:  # this read occupies the only connection
        api.store.Get(request, timeout=0.3)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert not call.done()
    return call


def time_of_a_get(api: Api) -> float:
    began = time.monotonic()
    assert api.get("session", "S").id == "S"
    return time.monotonic() - began


def test_a_read_whose_caller_has_gone_is_interrupted(busy_reader: Api) -> None:
    call = begin_slow_read(busy_reader, PATIENCE_S)
    call.cancel()
    assert time_of_a_get(busy_reader) < 0.2  # 100 ms and one call


def test_a_read_whose_deadline_has_passed_is_interrupted(busy_reader: Api) -> None:
    call = begin_slow_read(busy_reader, 1.0)
    with pytest.raises(grpc.RpcError):
        call.result()
    assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time_of_a_get(busy_reader) < 0.2


def test_calls_during_a_stop_are_refused_with_the_reason(directory: Directory) -> None:
    """Running commits are completed and acknowledged, streams end with an error, and the daemon exits with 0."""
    daemon = sleeping(directory, "writer.before_commit", "--grace", "5")
    with Api(daemon.socket, "") as api, Api(daemon.socket, "") as other:
        session = begin(api, insert("session", id="S"))
        session.result()
        watch = api.watch(after_revision=0, timeout_s=None)
        next(watch)
        follow = api.read("S", follow=True, timeout_s=None)
        next(follow)
        running = begin(api, insert("task", title="running"))
        time.sleep(0.2)
        daemon.process.terminate()
        assert eventually(lambda: "event=stopping" in daemon.log())
        late = begin(other, update("session", id="S", title="late"))
        with pytest.raises(grpc.RpcError) as caught:
            late.result()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert running.result().revision == 2
        for stream in (watch, follow):
            with pytest.raises(grpc.RpcError) as ended:
                list(stream)
            assert refusal_of(ended.value).reason == "STOPPING"
    assert daemon.wait(PATIENCE_S) == 0
    with Api(directory.serve().socket, "") as api:
        assert titles(api) == ["running"]
        assert api.get("session", "S").title == ""
