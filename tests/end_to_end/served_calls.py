"""A gRPC server without a store, for tests of the two paths of a short call through grpcio."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc

from holdfast.v1 import store_service_pb2 as pb
from holdfast.v1 import store_service_pb2_grpc
from holdfastd.errors import Exhausted, NotFound, Stopping
from holdfastd.model.call import OWN, Call, Peer
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.handlers import service_handler
from holdfastd.rpc.message_first import MessageFirst
from holdfastd.rpc.peers import Peers
from holdfastd.service.pending import NeverWaits, Pending

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

    def allocate_id(self, request: pb.StoreServiceAllocateIdRequest, call: Call) -> Any:
        if request.actor == "busy":
            raise Exhausted("Too many.", retry_delay_s=1.5)
        return pb.StoreServiceAllocateIdResponse(ids=[threading.current_thread().name])

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


class AnyPeer(Peers):
    """Admits every connection: this server has no front door."""

    def of(self, context: grpc.ServicerContext) -> Peer:
        return OWN


class Served:
    """The server and a client. `version` is the version of grpcio that the server believes to run with."""

    def __init__(self, directory: Path, version: str = grpc.__version__) -> None:
        self.use_cases = UseCases()
        self.gate = Gate(THREADS, 2, 1_000, AnyPeer(), MessageFirst(version))
        self.server = grpc.server(self.gate.stream_pool)
        names = dict.fromkeys(each.name for each in SERVICE.methods)
        cases = names | {
            "Get": self.use_cases.get,
            "AllocateId": NeverWaits(self.use_cases.allocate_id),
            "Commit": NeverWaits(self.use_cases.commit),
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
