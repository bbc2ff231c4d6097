"""Short calls through grpcio by both paths, the daemon's fast one and grpcio's own: the answers must be the same.

When `test_which_thread_runs_what` fails with a new grpcio, grpcio has changed what `holdfastd.rpc.pool` relies on. The daemon
still works, at half the speed.
"""

from __future__ import annotations

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from holdfast.v1 import store_service_pb2 as pb
from holdfast.v1 import store_service_pb2_grpc
from holdfastd.errors import Exhausted, NotFound, Stopping
from holdfastd.model.call import Call
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.handlers import service_handler
from holdfastd.rpc.pool import KNOWS_GRPCIO, SMALL_REQUEST_BYTES, CallPool
from holdfastd.service.pending import Pending, never_waits

PATIENCE_S = 10.0
SERVICE = pb.DESCRIPTOR.services_by_name["StoreService"]
THREADS = 3


class UseCases:
    """Replaces the store; the answers contain the name of the thread that ran the call."""

    def __init__(self) -> None:
        self.posted: list[Callable[[Any], None]] = []
        self.calls: list[Call] = []
        self.hold = threading.Event()

    def get(self, request: pb.StoreServiceGetRequest, call: Call) -> pb.StoreServiceGetResponse:
        if request.id == "hold":
            assert self.hold.wait(PATIENCE_S)
        if request.id == "defect":
            raise ZeroDivisionError
        if request.id == "nobody":
            raise NotFound("There is nobody.", reason="RECORD_NOT_FOUND", kind="task", id="nobody")
        return pb.StoreServiceGetResponse(record={"id": threading.current_thread().name})

    @never_waits
    def allocate_id(self, request: pb.StoreServiceAllocateIdRequest, call: Call) -> Any:
        if request.actor == "busy":
            raise Exhausted("Too many.", retry_delay_s=1.5)
        return pb.StoreServiceAllocateIdResponse(ids=[threading.current_thread().name])

    @never_waits
    def commit(self, request: pb.StoreServiceCommitRequest, call: Call) -> Any:
        def post(command: object, call: Call, tell: Callable[[Any], None]) -> None:
            if request.actor == "stopping":
                raise Stopping("Stopping.")
            self.calls.append(call)
            self.posted.append(tell)

        def answer(revision: int) -> pb.StoreServiceCommitResponse:
            return pb.StoreServiceCommitResponse(revision=1 // revision)

        return Pending(SimpleNamespace(post=post), None, call, answer)  # type: ignore[arg-type]

    def finish(self, outcome: int) -> None:
        """Completes the oldest pending commit."""
        assert eventually(lambda: bool(self.posted))
        self.posted.pop(0)(SimpleNamespace(outcome=lambda: outcome))


def eventually(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE_S
    while not (done := condition()) and time.monotonic() < give_up:
        time.sleep(0.002)
    return done


class Served:
    def __init__(self, directory: Path, receive_first: bool) -> None:
        self.use_cases = UseCases()
        self.gate = Gate(THREADS, 2, 1_000)
        self.gate.unary_pool = CallPool(THREADS, "call", receive_first)
        self.server = grpc.server(self.gate.stream_pool)
        names = dict.fromkeys(each.name for each in SERVICE.methods)
        cases = names | {
            "Get": self.use_cases.get,
            "AllocateId": self.use_cases.allocate_id,
            "Commit": self.use_cases.commit,
        }
        self.server.add_generic_rpc_handlers([service_handler(SERVICE, cases, self.gate, 5.0)])  # type: ignore[arg-type]
        self.server.add_insecure_port(f"unix:{directory}/s")
        self.server.start()
        self.channel = grpc.insecure_channel(f"unix:{directory}/s")
        self.stub: Any = store_service_pb2_grpc.StoreServiceStub(self.channel)

    def get(self, id: str) -> str:
        return str(self.stub.Get(pb.StoreServiceGetRequest(id=id), timeout=PATIENCE_S).record.id)

    def allocate(self, **fields: Any) -> str:
        return str(self.stub.AllocateId(pb.StoreServiceAllocateIdRequest(**fields), timeout=PATIENCE_S).ids[0])

    def commit(self, actor: str = "") -> Future[Any]:
        future: Future[Any] = self.stub.Commit.future(pb.StoreServiceCommitRequest(actor=actor), timeout=PATIENCE_S)
        return future

    def close(self) -> None:
        self.use_cases.hold.set()
        self.channel.close()
        self.server.stop(None).wait(PATIENCE_S)
        self.gate.close()


@pytest.fixture(params=[True, False], ids=["message first", "grpcio's own way"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        made = Served(Path(directory), request.param)
        yield made
        made.close()


@pytest.fixture
def quick() -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        made = Served(Path(directory), True)
        yield made
        made.close()


def test_which_thread_runs_what(quick: Served) -> None:
    assert KNOWS_GRPCIO
    assert quick.get("any").startswith("call_")
    assert "_serve" in quick.allocate()  # grpcio's thread, without a switch to the pool
    assert quick.allocate(workspace="w" * SMALL_REQUEST_BYTES).startswith("call_")


def test_an_error_has_its_code_and_details(served: Served) -> None:
    for call, code, message in (
        (lambda: served.get("nobody"), grpc.StatusCode.NOT_FOUND, "There is nobody."),
        (lambda: served.allocate(actor="busy"), grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many."),
        (lambda: served.commit("stopping").result(), grpc.StatusCode.UNAVAILABLE, "Stopping."),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert (caught.value.code(), caught.value.details()) == (code, message)  # type: ignore[attr-defined]
        assert "grpc-status-details-bin" in dict(caught.value.trailing_metadata())  # type: ignore[attr-defined]
    assert eventually(lambda: served.gate.active_calls() == 0)


def test_an_unexpected_error_is_internal_and_affects_one_call(served: Served) -> None:
    commit = served.commit()
    served.use_cases.finish(0)  # a division by zero
    for call in (lambda: served.get("defect"), commit.result):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.INTERNAL  # type: ignore[attr-defined]
    assert served.get("any")
    assert eventually(lambda: served.gate.active_calls() == 0)


def test_a_pending_answer_holds_no_thread(served: Served) -> None:
    waiting = [served.commit() for _ in range(5 * THREADS)]
    assert eventually(lambda: len(served.use_cases.posted) == 5 * THREADS)
    assert served.get("any")
    assert eventually(lambda: served.gate.active_calls() == 5 * THREADS)
    for _ in waiting:
        served.use_cases.finish(1)
    assert [each.result(PATIENCE_S).revision for each in waiting] == [1] * 5 * THREADS
    assert eventually(lambda: served.gate.active_calls() == 0)


def test_a_cancelled_call_is_noticed_and_its_answer_is_dropped(served: Served) -> None:
    gone = served.commit()
    assert eventually(lambda: bool(served.use_cases.calls))
    assert served.use_cases.calls[0].is_active()
    gone.cancel()
    assert eventually(lambda: not served.use_cases.calls[0].is_active())
    served.use_cases.finish(1)
    assert eventually(lambda: served.gate.active_calls() == 0)
    assert served.get("any")


def test_a_call_without_a_message_is_refused(served: Served) -> None:
    for method in ("Get", "AllocateId"):
        call = served.channel.stream_unary(f"/{SERVICE.full_name}/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            call(iter(()), timeout=PATIENCE_S)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
        assert "exactly one request message" in caught.value.details()  # type: ignore[attr-defined]


def test_bytes_that_are_no_request_are_refused(served: Served) -> None:
    for method in ("Get", "AllocateId"):
        with pytest.raises(grpc.RpcError) as caught:
            served.channel.unary_unary(f"/{SERVICE.full_name}/{method}")(b"\xff\xff", timeout=PATIENCE_S)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]


def test_calls_wait_while_all_threads_are_busy(served: Served) -> None:
    held = [served.stub.Get.future(pb.StoreServiceGetRequest(id="hold"), timeout=PATIENCE_S) for _ in range(4 * THREADS)]
    assert eventually(lambda: served.gate.unary_pool.waiting() == 3 * THREADS)
    names = {each.name for each in threading.enumerate() if each.name.startswith("call_")}
    assert len(names) <= THREADS
    served.use_cases.hold.set()
    assert all(each.result(PATIENCE_S).record.id.startswith("call_") for each in held)


def test_a_slow_call_does_not_block_others_while_threads_are_free(served: Served) -> None:
    held = served.stub.Get.future(pb.StoreServiceGetRequest(id="hold"), timeout=PATIENCE_S)
    for _ in range(3):
        assert served.get("any").startswith("call_")
    served.use_cases.hold.set()
    assert held.result(PATIENCE_S)


@pytest.mark.parametrize("alive", [0, 1])
def test_a_thread_that_cannot_be_started_fails_at_most_its_own_call(alive: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, ran = CallPool(THREADS, "starting"), queue.SimpleQueue[str]()
    hold = threading.Event()
    for _ in range(alive):
        pool.run(hold.wait, PATIENCE_S)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", unable)
        for _ in range(THREADS + 1):
            if alive:
                pool.run(ran.put, "waits")
            else:
                with pytest.raises(RuntimeError):
                    pool.run(ran.put, "never")
    pool.run(ran.put, "after")
    hold.set()
    assert [ran.get(timeout=PATIENCE_S) for _ in range(alive * (THREADS + 1) + 1)].count("after") == 1
    assert ran.empty()
    pool.shutdown()


def unable(*_: object) -> None:
    raise RuntimeError("can't start new thread")


def test_a_failure_in_the_serving_thread_ends_only_one_call(quick: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(quick.gate.unary_pool, "run", unable)
        with pytest.raises(grpc.RpcError) as caught:
            quick.get("any")
        assert caught.value.code() == grpc.StatusCode.INTERNAL  # type: ignore[attr-defined]
    assert quick.get("any").startswith("call_")


def test_a_closed_pool_ends_its_threads() -> None:
    pool = CallPool(THREADS, "closing")
    for _ in range(20):
        pool.submit(time.sleep, 0.001)
    pool.shutdown()
    assert eventually(lambda: not any(each.name.startswith("closing_") for each in threading.enumerate()))
