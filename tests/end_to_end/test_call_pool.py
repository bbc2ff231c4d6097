"""The two paths of a short call through grpcio, message first and grpcio's own; the answers must be the same.

With a new version of grpcio `test_which_thread_runs_what` fails until the version is added to `TESTED_VERSIONS`. Add it when
all other tests here pass with it on both paths. Until then the daemon uses grpcio's own path, at half the speed.
"""

from __future__ import annotations

import queue
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from holdfast.v1 import store_service_pb2 as pb
from holdfastd.model.call import Peer
from holdfastd.rpc import outstanding
from holdfastd.rpc.message_first import TESTED_VERSIONS, MessageFirst
from holdfastd.rpc.pool import CallPool
from holdfastd.rpc.request_sizes import QUICK_BYTES
from tests.end_to_end.served_calls import PATIENCE_S, SERVICE, THREADS, Served, eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=[grpc.__version__, "0"], ids=["message first", "grpcio's own way"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        made = Served(Path(directory), request.param)
        yield made
        made.close()


@pytest.fixture
def quick() -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        made = Served(Path(directory))
        yield made
        made.close()


def test_which_thread_runs_what(quick: Served) -> None:
    assert grpc.__version__ in TESTED_VERSIONS
    assert quick.get("any").startswith("call_")
    assert "_serve" in quick.allocate()  # grpcio's thread, without a switch to the pool
    assert quick.allocate(workspace="w" * QUICK_BYTES).startswith("call_")


def test_the_grpcio_that_ci_installs_is_on_the_list() -> None:
    (installed,) = re.findall(r"^grpcio==(.+)$", (ROOT / "packaging/constraints.txt").read_text(), re.MULTILINE)
    assert installed in TESTED_VERSIONS


def test_a_grpcio_that_is_not_on_the_list_takes_its_own_way_and_status_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        served = Served(Path(directory), "1.99.0")
        assert served.allocate().startswith("call_")
        assert "grpcio 1.99.0" in "".join(served.gate.warnings())
        assert [each.message for each in caplog.records] == ["grpcio_not_tested"]
        served.close()


def test_a_defect_in_the_permits_does_not_switch_the_path_off(quick: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(call: object) -> bool:
        raise IndexError

    for name in ("ask", "done"):
        with monkeypatch.context() as patched:
            patched.setattr(quick.gate.message_first.receipts, name, defect)
            assert "_serve" in quick.allocate()
    assert quick.gate.warnings() == []


def test_a_call_beyond_those_that_its_process_may_have_is_refused(quick: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = quick.gate.message_first.outstanding._calls
    quick.allocate()
    assert eventually(lambda: not calls)
    with monkeypatch.context() as patched:
        patched.setattr(outstanding, "OUTSTANDING_MAX", 0)
        with pytest.raises(grpc.RpcError) as refused:
            quick.allocate()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert quick.allocate() and eventually(lambda: not calls)


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


def test_calls_that_find_all_threads_taken_wait_and_are_served(served: Served) -> None:
    held = [served.stub.Get.future(pb.StoreServiceGetRequest(id="hold"), timeout=PATIENCE_S) for _ in range(4 * THREADS)]
    assert eventually(lambda: served.gate.unary_pool.waiting() >= 3 * THREADS)  # one caller leaves a thread for others
    names = {each.name for each in threading.enumerate() if each.name.startswith("call_")}
    assert len(names) <= THREADS
    served.use_cases.hold.set()
    assert all(each.result(PATIENCE_S).record.id.startswith("call_") for each in held)


def test_a_slow_call_keeps_no_other_waiting_while_there_are_threads(served: Served) -> None:
    held = served.stub.Get.future(pb.StoreServiceGetRequest(id="hold"), timeout=PATIENCE_S)
    for _ in range(3):
        assert served.get("any").startswith("call_")
    served.use_cases.hold.set()
    assert held.result(PATIENCE_S)


def test_one_caller_leaves_threads_for_others() -> None:
    pool, hold, ran = CallPool(8, "shared", MessageFirst("0")), threading.Event(), queue.SimpleQueue[str]()
    greedy = Peer("greedy", 1, 1, 1)
    for _ in range(20):
        pool.run_for(greedy, hold.wait, PATIENCE_S)
    assert pool.waiting_of(greedy) == (16, 1)
    pool.run_for(Peer("of the same process", 1, 1, 1), ran.put, "other")
    assert ran.get(timeout=PATIENCE_S) == "other"
    hold.set()
    assert eventually(lambda: pool.waiting() == 0)
    pool.shutdown()


def test_a_process_of_many_connections_leaves_threads_for_others() -> None:
    pool, hold, ran = CallPool(8, "shared", MessageFirst("0")), threading.Event(), queue.SimpleQueue[str]()
    for number in range(20):
        pool.run_for(Peer(f"greedy {number}", 1, 1, 1), hold.wait, PATIENCE_S)
    assert pool.waiting_of(Peer("greedy 19", 1, 1, 1)) == (1, 14)
    pool.run_for(Peer("other", 2, 1, 1), ran.put, "other")
    assert ran.get(timeout=PATIENCE_S) == "other"
    hold.set()
    assert eventually(lambda: pool.waiting() == 0)
    pool.shutdown()


@pytest.mark.parametrize("alive", [0, 1])
def test_work_for_which_no_thread_starts_waits_for_one(alive: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, ran = CallPool(THREADS, "starting", MessageFirst("0")), queue.SimpleQueue[str]()
    hold = threading.Event()
    for _ in range(alive):
        pool.run(hold.wait, PATIENCE_S)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", unable)
        for _ in range(THREADS + 1):
            pool.run(ran.put, "waits")
    pool.run(ran.put, "after")
    hold.set()
    assert sorted(ran.get(timeout=PATIENCE_S) for _ in range(THREADS + 2)) == ["after", *["waits"] * (THREADS + 1)]
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


def test_a_closed_pool_lets_its_threads_go() -> None:
    pool = CallPool(THREADS, "closing", MessageFirst("0"))
    for _ in range(20):
        pool.submit(time.sleep, 0.001)
    pool.shutdown()
    assert eventually(lambda: not any(each.name.startswith("closing_") for each in threading.enumerate()))


def test_a_thread_survives_what_its_work_raises(caplog: pytest.LogCaptureFixture) -> None:
    pool, ran = CallPool(1, "surviving", MessageFirst("0")), queue.SimpleQueue[str]()
    for work in (sys.exit, lambda: 1 // 0, lambda: ran.put(threading.current_thread().name)):
        pool.run(work)
    assert ran.get(timeout=PATIENCE_S) == "surviving_0"
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == ["call_thread_failed"] * 2
    pool.shutdown()
