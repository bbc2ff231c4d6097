"""Which API version the client uses with which daemon, and its error for a call that the daemon is too old for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

import holdfast
from holdfast.contract.versions import API_VERSION, Need, need_of
from holdfast.v1 import admin_service_pb2 as admin_pb
from holdfast.v1 import admin_service_pb2_grpc, entry_pb2, record_pb2, store_service_pb2_grpc
from holdfast.v1 import journal_service_pb2 as journal_pb
from holdfast.v1 import store_service_pb2 as pb
from holdfast.wire.agreement import Agreement
from tests.support.grpc_errors import fail


class Daemon(store_service_pb2_grpc.StoreServiceServicer, admin_service_pb2_grpc.AdminServiceServicer):
    """Refuses unsupported versions in every call, as the daemon does; records the versions in the calls."""

    def __init__(self) -> None:
        self.versions = (1, API_VERSION)
        self.has_scan = True
        self.named: list[str] = []
        self.asked_briefly = False

    def _check(self, context: Any, *further: int) -> None:
        named = dict(context.invocation_metadata())["holdfast-api"]
        self.named.append(named)
        oldest, newest = self.versions
        if not all(oldest <= each <= newest for each in (int(named), *further)):
            fail(context, grpc.StatusCode.FAILED_PRECONDITION, "API_VERSION_UNSUPPORTED", 0, min=oldest, max=newest)

    def GetStatus(self, request: Any, context: Any) -> admin_pb.AdminServiceGetStatusResponse:
        self._check(context, *([request.api_version] if request.api_version else []))
        self.asked_briefly = request.brief
        return admin_pb.AdminServiceGetStatusResponse(min_api_version=self.versions[0], max_api_version=self.versions[1])

    def Get(self, request: Any, context: Any) -> pb.StoreServiceGetResponse:
        self._check(context)
        return pb.StoreServiceGetResponse(record=record_pb2.Record(kind="task", task=record_pb2.Task(id=request.id)))

    def Scan(self, request: Any, context: Any) -> Iterator[pb.StoreServiceScanResponse]:
        if not self.has_scan:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        self._check(context)
        if not request.lists:
            fail(context, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_REQUIRED", 0)
        yield from (pb.StoreServiceScanResponse(list=number, revision=1) for number in range(len(request.lists)))


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    servicer: Any = Daemon()  # type: ignore[abstract]  # what it does not implement is not called
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        running = grpc.server(futures.ThreadPoolExecutor(4))
        store_service_pb2_grpc.add_StoreServiceServicer_to_server(servicer, running)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(servicer, running)
        servicer.path = Path(directory) / "s"
        running.add_insecure_port(f"unix:{servicer.path}")
        running.start()
        yield servicer
        running.stop(0).wait()


@pytest.fixture
def store(daemon: Any) -> Iterator[holdfast.Store]:
    with holdfast.connect(daemon.path) as client:
        yield client


@pytest.mark.parametrize(("versions", "spoken"), [((1, 1), 1), ((1, 2), 2), ((1, 9), API_VERSION), ((2, 9), API_VERSION)])
def test_both_speak_the_newest_version_that_both_have(daemon: Any, versions: tuple[int, int], spoken: int) -> None:
    daemon.versions = versions
    with holdfast.connect(daemon.path) as store:
        daemon.named.clear()
        assert store.tasks.get("T").id == "T"
    assert daemon.named == [str(spoken)]
    assert daemon.asked_briefly is (spoken >= 3), "a status that does not depend on the size of the store"


@pytest.mark.parametrize(("versions", "behind"), [((API_VERSION + 1, API_VERSION + 9), "client"), ((0, 0), "daemon")])
def test_without_a_common_version_the_error_says_which_is_behind(daemon: Any, versions: tuple[int, int], behind: str) -> None:
    daemon.versions = versions
    with pytest.raises(holdfast.VersionSkew, match=f"Upgrade the {behind}"):
        holdfast.connect(daemon.path)


@pytest.mark.parametrize("wrong", ["", "²", "٣", "9" * 10, "9" * 5000, "-1", "1\n", "x"])
def test_a_version_that_is_no_short_decimal_number_changes_nothing(wrong: str) -> None:
    agreement = Agreement()
    before = agreement.spoken, agreement.metadata
    for reported in ({"min": "1", "max": wrong}, {"min": wrong, "max": "2"}):
        assert not agreement.settle(reported)
        assert (agreement.spoken, agreement.metadata) == before


def test_the_client_adapts_when_the_daemon_is_replaced_by_another_version(daemon: Any, store: holdfast.Store) -> None:
    daemon.versions, daemon.has_scan = (1, 1), False
    assert store.tasks.get("T").id == "T"
    with pytest.raises(
        holdfast.VersionSkew, match=r"^StoreService\.Scan needs version 2 of the API; the daemon has version 1\. "
    ):
        store.states.load_all()
    daemon.versions, daemon.has_scan = (1, 2), True
    assert store.states.load_all() == {}
    daemon.versions = (API_VERSION + 1, API_VERSION + 2)
    with pytest.raises(holdfast.VersionSkew, match="Upgrade the client"):
        store.tasks.get("T")


def test_a_call_is_sent_to_a_daemon_that_implements_more_than_its_version(daemon: Any) -> None:
    daemon.versions = (1, 1)
    with holdfast.connect(daemon.path) as store:
        assert store.states.load_all() == {}
        assert set(daemon.named[1:]) == {"1"}, "calls must use the version that the daemon reports"
        daemon.named.clear()
        assert store.states.load_all() == {}
        assert daemon.named == ["1"], "the client must look up the daemon's methods only once"


def test_a_method_that_is_not_there_is_named(daemon: Any, store: holdfast.Store) -> None:
    daemon.has_scan = False
    with pytest.raises(holdfast.Unimplemented, match=r"does not know the method StoreService\.Scan \(Method not found!\)"):
        store.states.load_all()
    with pytest.raises(holdfast.Unimplemented, match=r"does not know the method StoreService\.Count"):
        store.tasks.count()


NEEDS = [
    (pb.StoreServiceListRequest(kind="task"), Need(1, "StoreService.List")),
    (pb.StoreServiceScanRequest(), Need(2, "StoreService.Scan")),
    (pb.StoreServiceWatchRequest(kinds=["task", "event"]), Need(2, "StoreService.Watch", "event")),
    (journal_pb.JournalServiceListRequest(descending=True), Need(2, "JournalService.List", "descending")),
    (journal_pb.JournalServiceReadRequest(journal="event", descending=True), Need(2, "JournalService.Read", "event")),
    (pb.StoreServiceGetRequest(kind="task", id="event"), Need(1, "StoreService.Get")),
    (
        pb.StoreServiceCommitRequest(
            mutations=[pb.Mutation(append=pb.Append(entries=[entry_pb2.Entry(event=entry_pb2.Event())]))]
        ),
        Need(2, "StoreService.Commit", "event"),
    ),
    (admin_pb.AdminServiceRunJobRequest(job="sweep", options={"kind": "event"}), Need(1, "AdminService.RunJob")),
]


@pytest.mark.parametrize(("request_", "need"), NEEDS, ids=lambda each: str(each) if isinstance(each, Need) else "")
def test_what_a_request_needs(request_: Any, need: Need) -> None:
    assert need_of(request_) == need
