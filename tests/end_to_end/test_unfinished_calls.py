"""Calls whose requests never arrive do not keep other callers, or a supervisor's health check, from answers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from holdfast.v1 import blob_service_pb2
from tests.abuse import frames
from tests.abuse.frames import END_HEADERS, HEADERS, RawConnection, frame
from tests.end_to_end.daemons import Directory
from tests.support.api import Api

TIMEOUT_S = 5.0
CALLS = 250  # fewer than a connection may have in progress; two connections together could take all threads of streams
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@pytest.mark.parametrize(
    "method", ["/holdfast.v1.BlobService/Get", "/holdfast.v1.StoreService/Watch", "/grpc.health.v1.Health/Watch", REFLECTION]
)
def test_others_get_streams_and_health_answers(directory: Directory, method: str) -> None:
    daemon = directory.serve()
    block = frames.call_headers(method)
    unfinished = [RawConnection(daemon.socket) for _ in range(2)]
    for each in unfinished:
        each.send(b"".join(frame(HEADERS, END_HEADERS, 2 * number + 1, block) for number in range(CALLS)))
    with Api(daemon.socket) as api:
        digest = api.put(b"x").digest
        answers = api.blob.Get(blob_service_pb2.BlobServiceGetRequest(digest=digest), timeout=TIMEOUT_S)
        assert b"".join(each.chunk for each in answers) == b"x"
        health = health_pb2_grpc.HealthStub(api.channel)
        checked = health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert checked.status == health_pb2.HealthCheckResponse.SERVING
        wanted = reflection_pb2.ServerReflectionRequest(list_services="")
        listed = reflection_pb2_grpc.ServerReflectionStub(api.channel).ServerReflectionInfo(iter([wanted]), timeout=TIMEOUT_S)
        assert len(next(listed).list_services_response.service) > 4
    for each in unfinished:
        each.close()


def test_stalled_uploads_keep_nobody_from_uploading(directory: Directory) -> None:
    daemon = directory.serve("store", "s", "--memory-max-bytes", str(256 << 20))
    stop = threading.Event()

    def stalled() -> Iterator[blob_service_pb2.BlobServicePutRequest]:
        yield blob_service_pb2.BlobServicePutRequest(header=blob_service_pb2.BlobPutHeader())
        yield blob_service_pb2.BlobServicePutRequest(chunk=b"a" * 1000)
        stop.wait()

    with Api(daemon.socket) as greedy, Api(daemon.socket) as honest:
        uploads = [greedy.blob.Put.future(stalled()) for _ in range(20)]
        for _ in range(5):
            assert honest.put(os.urandom(1 << 20)).size_bytes == 1 << 20
        stop.set()
        for each in uploads:
            each.cancel()
