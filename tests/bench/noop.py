"""A server that answers the contract's messages and does nothing: the lower bound of every figure that goes through gRPC.

The same build of synchronous grpcio, with the daemon's number of threads and its switch interval. Run it as
`python -m tests.bench.noop SOCKET`; it ends at SIGTERM.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent import futures
from dataclasses import fields
from functools import cache
from itertools import count
from typing import Any

import grpc

from holdfast.v1 import admin_service_pb2, entry_pb2, record_pb2
from holdfast.v1.journal_service_pb2 import (
    JournalServiceAppendRequest,
    JournalServiceAppendResponse,
    JournalServiceReadRequest,
    JournalServiceReadResponse,
)
from holdfast.v1.store_service_pb2 import StoreServiceListRequest, StoreServiceListResponse
from holdfastd.daemon import SWITCH_INTERVAL_S
from holdfastd.settings import Settings
from tests.bench.entries import CONTENT, ROLE
from tests.bench.tasks import make_task

FIRST_FRAME, NEXT_FRAMES = 100, 2_000  # entries; the daemon's frame sizes

_numbers = count(1)


def append(request: JournalServiceAppendRequest, context: grpc.ServicerContext) -> JournalServiceAppendResponse:
    """The daemon's answer without its work."""
    number = next(_numbers)
    response = JournalServiceAppendResponse(first_number=number, last_number=number, revision=number)
    response.commit_time.seconds, response.commit_time.nanos = divmod(time.time_ns(), 10**9)
    return response


def read(request: JournalServiceReadRequest, context: grpc.ServicerContext) -> Iterator[JournalServiceReadResponse]:
    """Sends `limit` entries in frames that are built once."""
    left, size = request.limit, FIRST_FRAME
    while left > 0:
        yield _frame(min(size, left))
        left -= size
        size = NEXT_FRAMES


def list_tasks(request: StoreServiceListRequest, context: grpc.ServicerContext) -> StoreServiceListResponse:
    """A page of the size asked for: built once, encoded for each call."""
    return _page(request.page_size)


def get_status(
    request: admin_service_pb2.AdminServiceGetStatusRequest, context: grpc.ServicerContext
) -> admin_service_pb2.AdminServiceGetStatusResponse:
    """Shows that the server is up."""
    return admin_service_pb2.AdminServiceGetStatusResponse(min_api_version=1, max_api_version=1)


@cache
def _frame(size: int) -> JournalServiceReadResponse:
    frame = JournalServiceReadResponse(last_number=size, revision=size)
    for number in range(1, size + 1):
        entry = entry_pb2.Entry(number=number, revision=number, transcript=entry_pb2.Transcript(role=ROLE, content=CONTENT))
        entry.create_time.seconds, entry.create_time.nanos = divmod(time.time_ns(), 10**9)
        frame.entries.append(entry)
    return frame


@cache
def _page(size: int) -> StoreServiceListResponse:
    page = StoreServiceListResponse(revision=size)
    for number in range(1, size + 1):
        task = make_task(number, id=f"TASK-{number:05d}", version=1, status="running")
        for time_of in (task.create_time, task.update_time):
            time_of.seconds, time_of.nanos = divmod(time.time_ns(), 10**9)
        page.records.append(record_pb2.Record(kind="task", id=task.id, version=task.version, task=task))
    return page


def _handlers() -> list[grpc.GenericRpcHandler]:
    journal: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Append": grpc.unary_unary_rpc_method_handler(
            append, JournalServiceAppendRequest.FromString, JournalServiceAppendResponse.SerializeToString
        ),
        "Read": grpc.unary_stream_rpc_method_handler(
            read, JournalServiceReadRequest.FromString, JournalServiceReadResponse.SerializeToString
        ),
    }
    store: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "List": grpc.unary_unary_rpc_method_handler(
            list_tasks, StoreServiceListRequest.FromString, StoreServiceListResponse.SerializeToString
        )
    }
    admin: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "GetStatus": grpc.unary_unary_rpc_method_handler(
            get_status,
            admin_service_pb2.AdminServiceGetStatusRequest.FromString,
            admin_service_pb2.AdminServiceGetStatusResponse.SerializeToString,
        )
    }
    return [
        grpc.method_handlers_generic_handler("holdfast.v1.JournalService", journal),
        grpc.method_handlers_generic_handler("holdfast.v1.StoreService", store),
        grpc.method_handlers_generic_handler("holdfast.v1.AdminService", admin),
    ]


def _threads() -> int:
    (setting,) = (each for each in fields(Settings) if each.name == "unary_threads")
    default: Any = setting.default
    return int(default)


def main(socket_path: str) -> None:
    """Serves until SIGTERM."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    server = grpc.server(futures.ThreadPoolExecutor(_threads()), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(_handlers())
    server.add_insecure_port(f"unix:{socket_path}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1])
