"""The client's retries and handshake, against a small gRPC server that fails on demand, which a real daemon does not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

import holdfast
from holdfast.contract.versions import API_VERSION
from holdfast.v1 import admin_service_pb2, admin_service_pb2_grpc, store_service_pb2, store_service_pb2_grpc
from tests.support.grpc_errors import fail


class Misbehaving(store_service_pb2_grpc.StoreServiceServicer, admin_service_pb2_grpc.AdminServiceServicer):
    """Answers Commit with the errors in `failures` in turn, then with success; records the requests."""

    def __init__(self) -> None:
        self.failures: list[tuple[grpc.StatusCode, str, float]] = []
        self.commits: list[store_service_pb2.StoreServiceCommitRequest] = []
        self.versions = (1, 1)
        self.lets_anybody_in = False
        self.metadata: dict[str, Any] = {}

    def GetStatus(self, request: Any, context: Any) -> admin_service_pb2.AdminServiceGetStatusResponse:
        self.metadata = dict(context.invocation_metadata())
        oldest, newest = self.versions
        if not self.lets_anybody_in and not oldest <= request.api_version <= newest:
            fail(context, grpc.StatusCode.FAILED_PRECONDITION, "API_VERSION_UNSUPPORTED", 0, min=oldest, max=newest)
        return admin_service_pb2.AdminServiceGetStatusResponse(min_api_version=oldest, max_api_version=newest, revision=3)

    def Commit(
        self, request: store_service_pb2.StoreServiceCommitRequest, context: Any
    ) -> store_service_pb2.StoreServiceCommitResponse:
        self.commits.append(request)
        if self.failures:
            code, reason, delay_s = self.failures.pop(0)
            fail(context, code, reason, delay_s, particular="yes")
        record = request.mutations[0].insert.record
        result = store_service_pb2.MutationResult(kind="task", id="TASK-001", version=1, record=record)
        return store_service_pb2.StoreServiceCommitResponse(revision=4, results=[result])


@pytest.fixture
def server() -> Iterator[tuple[Misbehaving, Path]]:
    servicer: Any = Misbehaving()  # type: ignore[abstract]  # what it does not implement is not called
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        path = Path(directory) / "odd %41 name?.sock"
        plain = Path(directory) / "s"
        running = grpc.server(futures.ThreadPoolExecutor(4))
        store_service_pb2_grpc.add_StoreServiceServicer_to_server(servicer, running)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(servicer, running)
        running.add_insecure_port(f"unix:{plain}")
        running.start()
        plain.rename(path)
        yield servicer, path
        running.stop(0).wait()


def test_retries_carry_the_same_request_id(server: tuple[Misbehaving, Path]) -> None:
    servicer, path = server
    servicer.failures = [
        (grpc.StatusCode.UNAVAILABLE, "STOPPING", 0),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.05),
        (grpc.StatusCode.UNAVAILABLE, "", 0),
        (grpc.StatusCode.CANCELLED, "", 0),  # a stopping grpcio server sends this for calls that it has not started
    ]
    with holdfast.connect(path) as store:
        assert store.tasks.create(title="t").title == "t"
        assert len(servicer.commits) == 5
        assert len({each.request_id for each in servicer.commits}) == 1
        store.tasks.create(title="t")
        assert len({each.request_id for each in servicer.commits}) == 2
        assert store.revision == 4
    assert servicer.metadata["holdfast-api"] == "1"


CODES = grpc.StatusCode
ERRORS: list[tuple[grpc.StatusCode, str, type[holdfast.HoldfastError]]] = [
    (CODES.INVALID_ARGUMENT, "VALUE_INVALID", holdfast.InvalidArgument),
    (CODES.INVALID_ARGUMENT, "TOO_LARGE", holdfast.TooLarge),
    (CODES.NOT_FOUND, "RECORD_NOT_FOUND", holdfast.NotFound),
    (CODES.NOT_FOUND, "WORKSPACE_NOT_FOUND", holdfast.WorkspaceNotFound),
    (CODES.ALREADY_EXISTS, "ID_TAKEN", holdfast.AlreadyExists),
    (CODES.ABORTED, "VERSION_MISMATCH", holdfast.VersionMismatch),
    (CODES.FAILED_PRECONDITION, "DEPENDENCY_CYCLE", holdfast.FailedPrecondition),
    (CODES.FAILED_PRECONDITION, "PARENT_NOT_FOUND", holdfast.ParentNotFound),
    (CODES.FAILED_PRECONDITION, "HAS_DEPENDENTS", holdfast.HasDependents),
    (CODES.FAILED_PRECONDITION, "API_VERSION_UNSUPPORTED", holdfast.VersionSkew),
    (CODES.OUT_OF_RANGE, "REVISION_IN_FUTURE", holdfast.OutOfRange),
    (CODES.OUT_OF_RANGE, "REVISION_COMPACTED", holdfast.Compacted),
    (CODES.RESOURCE_EXHAUSTED, "DISK_FULL", holdfast.DiskFull),
    (CODES.RESOURCE_EXHAUSTED, "QUEUE_FULL", holdfast.ResourceExhausted),
    (CODES.RESOURCE_EXHAUSTED, "", holdfast.TooLarge),
    (CODES.DATA_LOSS, "BLOB_DAMAGED", holdfast.DataLoss),
    (CODES.UNIMPLEMENTED, "", holdfast.Unimplemented),
    (CODES.CANCELLED, "CANCELLED", holdfast.Cancelled),
    (CODES.DEADLINE_EXCEEDED, "", holdfast.DeadlineExceeded),
    (CODES.PERMISSION_DENIED, "", holdfast.PermissionDenied),
    (CODES.INTERNAL, "", holdfast.InternalError),
    (CODES.UNKNOWN, "", holdfast.InternalError),
]


@pytest.mark.parametrize(("code", "reason", "error"), ERRORS)
def test_errors_are_exceptions_with_reason_and_metadata(
    server: tuple[Misbehaving, Path], code: grpc.StatusCode, reason: str, error: type[holdfast.HoldfastError]
) -> None:
    servicer, path = server
    servicer.failures = [(code, reason, 0)]
    with holdfast.connect(path) as store, pytest.raises(holdfast.HoldfastError, match="as told") as caught:
        store.tasks.create(title="t")
    assert type(caught.value) is error
    assert caught.value.reason == (reason or error.reason)
    assert caught.value.metadata == ({"particular": "yes"} if reason else {})
    assert len(servicer.commits) == 1, "the call must not be retried"


def test_when_none_answers_after_a_store_was_replaced_the_reason_is_raised(server: tuple[Misbehaving, Path]) -> None:
    servicer, path = server
    servicer.failures = [(grpc.StatusCode.UNAVAILABLE, "STORE_REPLACED", 0)] + [(grpc.StatusCode.UNAVAILABLE, "", 0)] * 1000
    with holdfast.connect(path, timeout_s=1.5) as store, pytest.raises(holdfast.Unavailable) as caught:
        store.tasks.create(title="t")
    assert caught.value.reason == "STORE_REPLACED"
    assert len(servicer.commits) > 1


def test_retries_end_with_the_time(server: tuple[Misbehaving, Path]) -> None:
    servicer, path = server
    servicer.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.05)] * 1000
    with holdfast.connect(path, timeout_s=0.3) as store, pytest.raises(holdfast.ResourceExhausted) as caught:
        store.tasks.create(title="t")
    assert caught.value.retry_delay_s == pytest.approx(0.05)
    assert 2 <= len(servicer.commits) <= 7


@pytest.mark.parametrize(
    ("versions", "advice"),
    [((API_VERSION + 1, API_VERSION + 2), "Upgrade the client"), ((0, 0), "Upgrade the daemon")],
    ids=["newer daemon", "older daemon"],
)
def test_version_skew_says_what_to_upgrade(server: tuple[Misbehaving, Path], versions: tuple[int, int], advice: str) -> None:
    servicer, path = server
    servicer.versions = versions
    with pytest.raises(holdfast.VersionSkew, match=advice) as caught:
        holdfast.connect(path)
    assert (caught.value.metadata["min"], caught.value.metadata["max"]) == tuple(map(str, versions))


def test_the_client_checks_the_version_of_a_daemon_that_does_not(server: tuple[Misbehaving, Path]) -> None:
    servicer, path = server
    servicer.versions, servicer.lets_anybody_in = (5, 6), True
    with pytest.raises(holdfast.VersionSkew, match="versions 5 to 6"):
        holdfast.connect(path)
