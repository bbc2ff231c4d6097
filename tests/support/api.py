"""A daemon's raw stubs, and shorthand for requests that many tests send. It does not use the client library."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from holdfast.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    blob_service_pb2,
    blob_service_pb2_grpc,
    entry_pb2,
    journal_service_pb2,
    journal_service_pb2_grpc,
    record_pb2,
    store_service_pb2,
    store_service_pb2_grpc,
)

MAX_MESSAGE_BYTES = 64 * 2**20  # large, so that the daemon refuses large messages and not the client
TIMEOUT_S = 30.0


class Api:
    """The four services over one connection, in a workspace used by one test."""

    def __init__(self, socket: Path, workspace: str | None = None, **options: Any) -> None:
        limits = {"grpc.max_send_message_length": MAX_MESSAGE_BYTES, "grpc.use_local_subchannel_pool": 1}
        self.channel = grpc.insecure_channel(f"unix:{socket}", list((limits | options).items()))
        self.workspace = f"test-{uuid.uuid4().hex}" if workspace is None else workspace
        self.store = store_service_pb2_grpc.StoreServiceStub(self.channel)
        self.journal = journal_service_pb2_grpc.JournalServiceStub(self.channel)
        self.blob = blob_service_pb2_grpc.BlobServiceStub(self.channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(self.channel)

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def commit(self, *mutations: store_service_pb2.Mutation, **fields: Any) -> store_service_pb2.StoreServiceCommitResponse:
        fields = {"workspace": self.workspace} | fields
        request = store_service_pb2.StoreServiceCommitRequest(mutations=mutations, **fields)
        return self.store.Commit(request, timeout=TIMEOUT_S)

    def insert(self, kind: str, **fields: Any) -> str:
        """Inserts a record and returns its id."""
        return self.commit(insert(kind, **fields)).results[0].id

    def get(self, kind: str, id: str, **fields: Any) -> Any:
        """Returns the kind's message."""
        fields = {"workspace": self.workspace} | fields
        record = self.store.Get(store_service_pb2.StoreServiceGetRequest(kind=kind, id=id, **fields), timeout=TIMEOUT_S).record
        return getattr(record, kind)

    def list(self, kind: str, **fields: Any) -> store_service_pb2.StoreServiceListResponse:
        fields = {"workspace": self.workspace} | fields
        return self.store.List(store_service_pb2.StoreServiceListRequest(kind=kind, **fields), timeout=TIMEOUT_S)

    def count(self, kind: str, **fields: Any) -> int:
        fields = {"workspace": self.workspace} | fields
        return self.store.Count(store_service_pb2.StoreServiceCountRequest(kind=kind, **fields), timeout=TIMEOUT_S).count

    def append(self, parent_id: str, *contents: str, **fields: Any) -> journal_service_pb2.JournalServiceAppendResponse:
        fields = {"workspace": self.workspace, "parent_kind": "session"} | fields
        request = journal_service_pb2.JournalServiceAppendRequest(parent_id=parent_id, entries=map(entry, contents), **fields)
        return self.journal.Append(request, timeout=TIMEOUT_S)

    def read(self, parent_id: str, *, timeout_s: float | None = TIMEOUT_S, **fields: Any) -> Any:
        """Opens the stream of a Read."""
        fields = {"workspace": self.workspace, "parent_kind": "session"} | fields
        return self.journal.Read(journal_service_pb2.JournalServiceReadRequest(parent_id=parent_id, **fields), timeout=timeout_s)

    def entries(self, parent_id: str, **fields: Any) -> list[entry_pb2.Entry]:
        return [each for frame in self.read(parent_id, **fields) for each in frame.entries]

    def watch(self, *, timeout_s: float | None = TIMEOUT_S, **fields: Any) -> Any:
        """Opens the stream of a Watch."""
        fields = {"workspace": self.workspace} | fields
        return self.store.Watch(store_service_pb2.StoreServiceWatchRequest(**fields), timeout=timeout_s)

    def changes(self, **fields: Any) -> list[store_service_pb2.Change]:
        """Returns the changes that a Watch replays."""
        return [each for frame in self.watch(replay_only=True, **fields) for each in frame.changes]

    def revision(self) -> int:
        return self.store.Commit(store_service_pb2.StoreServiceCommitRequest(), timeout=TIMEOUT_S).revision

    def put(self, *chunks: bytes, **header: Any) -> blob_service_pb2.BlobServicePutResponse:
        return self.put_stream(chunks, **header)

    def put_stream(self, chunks: Iterable[bytes], **header: Any) -> blob_service_pb2.BlobServicePutResponse:
        return self.blob.Put(put_frames(chunks, **header), timeout=120)

    def run_job(self, job: str, **options: str) -> dict[str, int]:
        """Runs a job and returns its counts."""
        request = admin_service_pb2.AdminServiceRunJobRequest(job=job, options=options)
        return dict(list(self.admin.RunJob(request, timeout=TIMEOUT_S))[-1].counts)

    def problems(self, timeout_s: float = TIMEOUT_S) -> list[str]:
        """Runs verify and returns the problems it finds. It reads the whole store."""
        frames = self.admin.Verify(admin_service_pb2.AdminServiceVerifyRequest(read_blobs=True), timeout=timeout_s)
        return [f"{each.reason} {each.subject} {each.detail}" for frame in frames for each in frame.problems]


def put_frames(chunks: Iterable[bytes], **header: Any) -> Iterator[blob_service_pb2.BlobServicePutRequest]:
    yield blob_service_pb2.BlobServicePutRequest(header=blob_service_pb2.BlobPutHeader(**header))
    for chunk in chunks:
        yield blob_service_pb2.BlobServicePutRequest(chunk=chunk)


def record(kind: str, **fields: Any) -> record_pb2.Record:
    made = record_pb2.Record()
    getattr(made, kind).SetInParent()
    for name, value in fields.items():
        if isinstance(value, list | tuple):
            getattr(getattr(made, kind), name).extend(value)
        else:
            setattr(getattr(made, kind), name, value)
    return made


def entry(content: str, role: str = "prompt", **fields: Any) -> entry_pb2.Entry:
    return entry_pb2.Entry(transcript=entry_pb2.Transcript(role=role, content=content, **fields))


def insert(kind: str, **fields: Any) -> store_service_pb2.Mutation:
    return store_service_pb2.Mutation(insert=store_service_pb2.Insert(record=record(kind, **fields)))


def upsert(kind: str, **fields: Any) -> store_service_pb2.Mutation:
    return store_service_pb2.Mutation(upsert=store_service_pb2.Upsert(record=record(kind, **fields)))


def update(kind: str, *, expected: int = 0, mask: Iterable[str] = (), **fields: Any) -> store_service_pb2.Mutation:
    operation = store_service_pb2.Update(record=record(kind, **fields), version=expected)
    operation.update_mask.paths.extend(mask)
    return store_service_pb2.Mutation(update=operation)


def delete(kind: str, id: str, *, version: int = 0, cascade: bool = False) -> store_service_pb2.Mutation:
    return store_service_pb2.Mutation(delete=store_service_pb2.Delete(kind=kind, id=id, version=version, cascade=cascade))


def append(parent_id: str, *contents: str, parent_kind: str = "session", **fields: Any) -> store_service_pb2.Mutation:
    operation = store_service_pb2.Append(parent_kind=parent_kind, parent_id=parent_id, entries=map(entry, contents), **fields)
    return store_service_pb2.Mutation(append=operation)


@dataclass(frozen=True)
class Refusal:
    """What a failed call reported."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    retry_delay_s: float | None


def refusal_of(error: Any) -> Refusal:
    """Takes a gRPC error apart; it must have exactly one ErrorInfo of Holdfast."""
    status = rpc_status.from_call(error)
    assert status is not None, f"{error.code()} {error.details()} came without details"
    infos, delay = [], None
    for detail in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            infos.append(info)
        elif detail.Unpack(retry):
            delay = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    assert [each.domain for each in infos] == ["holdfast"]
    return Refusal(error.code(), error.details(), infos[0].reason, dict(infos[0].metadata), delay)


def refused(action: Callable[[], Any]) -> Refusal:
    """Runs an action that must be refused and returns the refusal; streams are read to their end."""
    with pytest.raises(grpc.RpcError) as caught:
        answer = action()
        if hasattr(answer, "__next__"):
            list(answer)
    return refusal_of(caught.value)
