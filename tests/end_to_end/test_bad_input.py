"""Invalid requests: each is refused with a code, a reason and a helpful message, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from holdfast.v1 import (
    admin_service_pb2,
    blob_service_pb2,
    journal_service_pb2,
    record_pb2,
    store_service_pb2,
)
from holdfastd import MAX_API_VERSION
from tests.support.api import (
    TIMEOUT_S,
    Api,
    append,
    delete,
    entry,
    insert,
    put_frames,
    refused,
    update,
    upsert,
)

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
ABORTED = grpc.StatusCode.ABORTED
DIGEST = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def api(daemon: Any) -> Iterator[Api]:
    """A workspace with a construct C, a session S in it, tasks T1 <- T2, and three entries."""
    with Api(daemon.socket_path) as made:
        made.commit(
            insert("construct", id="C", name="c"),
            insert("session", id="S", construct_id="C"),
            insert("task", id="T1", title="t"),
            insert("task", id="T2", title="t", blocked_by=["T1"]),
            append("S", "a", "b", "c"),
            request_id="used",
        )
        yield made


@pytest.fixture(autouse=True)
def unchanged(api: Api) -> Iterator[None]:
    """Checks that a refused request changed nothing."""
    before = api.revision()
    yield
    assert api.revision() == before


@dataclass(frozen=True)
class Case:
    """A call that must be refused, with the expected refusal."""

    name: str
    call: Callable[[Api], Any]
    code: grpc.StatusCode
    reason: str
    says: str
    metadata: tuple[tuple[str, str], ...] = ()


def raw(method: str, data: bytes) -> Callable[[Api], Any]:
    """Sends a request as raw bytes that no generated code would produce."""
    return lambda api: api.channel.unary_unary(f"/holdfast.v1.{method}")(data, timeout=TIMEOUT_S)


def raw_commit(mutation: bytes) -> Callable[[Api], Any]:
    return raw("StoreService/Commit", b"\x22" + bytes([len(mutation)]) + mutation)


def metadata_call(version: str) -> Callable[[Api], Any]:
    request = store_service_pb2.StoreServiceCommitRequest()
    return lambda api: api.store.Commit(request, metadata=[("holdfast-api", version)], timeout=TIMEOUT_S)


def status_call(version: int) -> Callable[[Api], Any]:
    request = admin_service_pb2.AdminServiceGetStatusRequest(api_version=version)
    return lambda api: api.admin.GetStatus(request, timeout=TIMEOUT_S)


def link(**fields: str) -> store_service_pb2.Mutation:
    ends = {"type": "x", "from_kind": "task", "from_id": "T1", "to_kind": "task", "to_id": "T2"}
    return insert("link", **(ends | fields))


RECORDS = [
    Case("kind unknown in get", lambda a: a.get("robot", "x"), INVALID_ARGUMENT, "KIND_UNKNOWN", "task"),
    Case("kind unknown in list", lambda a: a.list("robot"), INVALID_ARGUMENT, "KIND_UNKNOWN", "task"),
    Case("kind unknown in count", lambda a: a.count(""), INVALID_ARGUMENT, "KIND_UNKNOWN", "task"),
    Case("kind unknown in watch", lambda a: a.watch(kinds=["robot"]), INVALID_ARGUMENT, "KIND_UNKNOWN", "task"),
    Case("kind unknown in delete", lambda a: a.commit(delete("robot", "x")), INVALID_ARGUMENT, "KIND_UNKNOWN", "task"),
    Case(
        "kind unknown in a record",
        lambda a: a.commit(store_service_pb2.Mutation(insert=store_service_pb2.Insert(record=record_pb2.Record(kind="robot")))),
        INVALID_ARGUMENT,
        "KIND_UNKNOWN",
        "task",
        (("mutation", "0"),),
    ),
    Case("kind from the future", raw_commit(b"\x0a\x06\x0a\x04\xfa\x06\x01x"), INVALID_ARGUMENT, "KIND_UNKNOWN", "task"),
    Case("operation unknown", raw_commit(b"\x9a\x06\x01x"), INVALID_ARGUMENT, "VALUE_INVALID", "mutations[0]"),
    Case("wrong type", raw_commit(b"\x0d\x01\x02\x03\x04"), INVALID_ARGUMENT, "VALUE_INVALID", "mutations[0]"),
    Case("id missing", lambda a: a.get("task", ""), INVALID_ARGUMENT, "FIELD_REQUIRED", "id"),
    Case("id too long", lambda a: a.get("task", "x" * 201), INVALID_ARGUMENT, "TOO_LARGE", "200"),
    Case(
        "id with a blank", lambda a: a.commit(insert("task", id="a b", title="t")), INVALID_ARGUMENT, "VALUE_INVALID", "task.id"
    ),
    Case("id with a line", lambda a: a.commit(delete("task", "a\nb")), INVALID_ARGUMENT, "VALUE_INVALID", "id"),
    Case(
        "id like an option", lambda a: a.commit(insert("task", id="-rf", title="t")), INVALID_ARGUMENT, "VALUE_INVALID", "hyphen"
    ),
    Case(
        "upserted id like an option",
        lambda a: a.commit(upsert("task", id="--json", title="t")),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "hyphen",
    ),
    Case("required", lambda a: a.commit(insert("task")), INVALID_ARGUMENT, "FIELD_REQUIRED", "task.title"),
    Case(
        "no such value",
        lambda a: a.commit(insert("task", title="t", status="sleeping")),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "running",
        (("field", "status"),),
    ),
    Case(
        "twice the same tag",
        lambda a: a.commit(insert("task", title="t", tags=["x", "x"])),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "tags",
    ),
    Case("an empty tag", lambda a: a.commit(insert("task", title="t", tags=[""])), INVALID_ARGUMENT, "VALUE_INVALID", "tags"),
    Case(
        "mask names no field",
        lambda a: a.commit(update("task", id="T1", title="x", mask=["titel"])),
        INVALID_ARGUMENT,
        "FIELD_UNKNOWN",
        "'titel'",
        (("field", "titel"), ("mutation", "0")),
    ),
    Case(
        "mask names what is the daemon's",
        lambda a: a.commit(update("task", id="T1", mask=["version"])),
        INVALID_ARGUMENT,
        "FIELD_UNKNOWN",
        "version",
    ),
    Case(
        "not json", lambda a: a.commit(insert("task", title="t", metadata="{x}")), INVALID_ARGUMENT, "VALUE_INVALID", "metadata"
    ),
    Case(
        "json with half a pair",
        lambda a: a.commit(insert("task", title="t", metadata='"\\ud83d"')),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "metadata",
    ),
    Case(
        "json with nul",
        lambda a: a.commit(insert("task", title="t", metadata='["\\u0000"]')),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "NUL",
    ),
    Case(
        "json with an infinite number",
        lambda a: a.commit(insert("task", title="t", metadata="1e999")),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "metadata",
    ),
    Case("nul in text", lambda a: a.commit(insert("task", title="a\0b")), INVALID_ARGUMENT, "VALUE_INVALID", "title holds a NUL"),
    Case("nul in a tag", lambda a: a.commit(insert("task", title="t", tags=["\0"])), INVALID_ARGUMENT, "VALUE_INVALID", "tags"),
    Case("nul in an entry", lambda a: a.append("S", "\0"), INVALID_ARGUMENT, "VALUE_INVALID", "content holds a NUL"),
    Case("nul in a workspace", lambda a: a.list("task", workspace="a\0"), INVALID_ARGUMENT, "VALUE_INVALID", "workspace"),
    Case(
        "actor too long", lambda a: a.commit(insert("task", title="t"), actor="x" * 201), INVALID_ARGUMENT, "TOO_LARGE", "actor"
    ),
    Case(
        "request id too long",
        lambda a: a.commit(insert("task", title="t"), request_id="x" * 201),
        INVALID_ARGUMENT,
        "TOO_LARGE",
        "request_id",
    ),
    Case(
        "version below zero",
        lambda a: a.commit(update("task", id="T1", title="x", expected=-1)),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "version",
    ),
    Case(
        "record not there",
        lambda a: a.get("task", "nobody"),
        NOT_FOUND,
        "RECORD_NOT_FOUND",
        "task nobody",
        (("kind", "task"), ("id", "nobody")),
    ),
    Case(
        "update of nothing", lambda a: a.commit(update("task", id="nobody", title="x")), NOT_FOUND, "RECORD_NOT_FOUND", "nobody"
    ),
    Case("delete of nothing", lambda a: a.commit(delete("task", "nobody")), NOT_FOUND, "RECORD_NOT_FOUND", "nobody"),
    Case("id taken", lambda a: a.commit(insert("task", id="T1", title="x")), grpc.StatusCode.ALREADY_EXISTS, "ID_TAKEN", "T1"),
    Case(
        "version mismatch",
        lambda a: a.commit(update("task", id="T1", title="x", expected=7)),
        ABORTED,
        "VERSION_MISMATCH",
        "Read it again",
        (("expected", "7"), ("actual", "1")),
    ),
    Case(
        "version mismatch in a delete", lambda a: a.commit(delete("task", "T2", version=7)), ABORTED, "VERSION_MISMATCH", "not 7"
    ),
    Case(
        "parent missing",
        lambda a: a.commit(insert("session", construct_id="D")),
        FAILED_PRECONDITION,
        "PARENT_NOT_FOUND",
        "construct D",
        (("field", "construct_id"),),
    ),
    Case(
        "dependency missing",
        lambda a: a.commit(insert("task", title="t", blocked_by=["T1", "T9"])),
        FAILED_PRECONDITION,
        "PARENT_NOT_FOUND",
        "T9",
    ),
    Case("link to nothing", lambda a: a.commit(link(to_id="T9")), FAILED_PRECONDITION, "PARENT_NOT_FOUND", "T9"),
    Case("link to no kind", lambda a: a.commit(link(to_kind="robot")), INVALID_ARGUMENT, "KIND_UNKNOWN", "robot"),
    Case("link without an end", lambda a: a.commit(link(to_id="")), INVALID_ARGUMENT, "FIELD_REQUIRED", "to_id"),
    Case(
        "waits for itself",
        lambda a: a.commit(insert("task", id="T3", title="t", blocked_by=["T3"])),
        FAILED_PRECONDITION,
        "DEPENDENCY_CYCLE",
        "T3",
    ),
    Case(
        "cycle",
        lambda a: a.commit(update("task", id="T1", blocked_by=["T2"])),
        FAILED_PRECONDITION,
        "DEPENDENCY_CYCLE",
        "blocked_by",
    ),
    Case(
        "cycle in two halves",
        lambda a: a.commit(
            insert("task", id="A", title="a"),
            insert("task", id="B", title="b", blocked_by=["A"]),
            update("task", id="A", blocked_by=["B"]),
        ),
        FAILED_PRECONDITION,
        "DEPENDENCY_CYCLE",
        "A",
    ),
    Case(
        "dependents",
        lambda a: a.commit(delete("session", "S")),
        FAILED_PRECONDITION,
        "HAS_DEPENDENTS",
        "3 transcript entries",
        (("transcript_entries", "3"),),
    ),
    Case(
        "dependents of a task",
        lambda a: a.commit(delete("task", "T1")),
        FAILED_PRECONDITION,
        "HAS_DEPENDENTS",
        "cascade",
        (("task", "1"),),
    ),
    Case(
        "fixed field",
        lambda a: a.commit(insert("construct", id="D", name="d"), update("session", id="S", construct_id="D")),
        INVALID_ARGUMENT,
        "FIELD_IMMUTABLE",
        "construct_id",
    ),
    Case(
        "request id reused",
        lambda a: a.commit(insert("task", title="other"), request_id="used"),
        INVALID_ARGUMENT,
        "REQUEST_ID_REUSED",
        "'used'",
    ),
    Case(
        "unknown blob",
        lambda a: a.commit(insert("artifact", name="a", content_digest=DIGEST)),
        FAILED_PRECONDITION,
        "BLOB_NOT_FOUND",
        "Put it first",
    ),
    Case(
        "too many mutations",
        lambda a: a.commit(*[insert("task", title="t")] * 1001),
        INVALID_ARGUMENT,
        "TOO_LARGE",
        "1,000",
        (("limit", "1000"),),
    ),
    Case(
        "the last of many is wrong",
        lambda a: a.commit(insert("task", title="t"), upsert("task", title="t")),
        INVALID_ARGUMENT,
        "FIELD_REQUIRED",
        "task.id",
        (("mutation", "1"),),
    ),
]


def allocate(api: Api, **fields: Any) -> Any:
    return api.store.AllocateId(
        store_service_pb2.StoreServiceAllocateIdRequest(workspace=api.workspace, **fields), timeout=TIMEOUT_S
    )


def list_entries(api: Api, **fields: Any) -> Any:
    fields = {"workspace": api.workspace} | fields
    return api.journal.List(journal_service_pb2.JournalServiceListRequest(**fields), timeout=TIMEOUT_S)


def batch_get(api: Api, id: str, **fields: Any) -> Any:
    keys = [store_service_pb2.RecordKey(kind="task", id=id)]
    return api.store.BatchGet(store_service_pb2.StoreServiceBatchGetRequest(keys=keys, **fields), timeout=TIMEOUT_S)


def scan(api: Api, kind: str, **fields: Any) -> Any:
    lists = [store_service_pb2.ScanList(kind=kind)]
    return list(api.store.Scan(store_service_pb2.StoreServiceScanRequest(lists=lists, **fields), timeout=TIMEOUT_S))


def append_entries(api: Api, *entries: Any, **fields: Any) -> Any:
    request = journal_service_pb2.JournalServiceAppendRequest(
        workspace=api.workspace, parent_kind="session", parent_id="S", entries=entries, **fields
    )
    return api.journal.Append(request, timeout=TIMEOUT_S)


READS = [
    Case(
        "filter malformed",
        lambda a: a.list("task", filter='status = "a" AND'),
        INVALID_ARGUMENT,
        "FILTER_INVALID",
        "character",
        (("position", "16"),),
    ),
    Case(
        "filter on no field",
        lambda a: a.list("task", filter='titel = "a"'),
        INVALID_ARGUMENT,
        "FIELD_UNKNOWN",
        "titel",
        (("position", "0"),),
    ),
    Case(
        "filter of a wrong type",
        lambda a: a.count("task", filter='version = "one"'),
        INVALID_ARGUMENT,
        "FILTER_INVALID",
        "version",
    ),
    Case("filter with nul", lambda a: a.list("task", filter='title = "\0"'), INVALID_ARGUMENT, "FILTER_INVALID", "character"),
    Case("order by no field", lambda a: a.list("task", order_by="titel"), INVALID_ARGUMENT, "ORDER_BY_INVALID", "titel"),
    Case("page token made up", lambda a: a.list("task", page_token="xyz"), INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", "Start again"),
    Case("page size", lambda a: a.list("task", page_size=-1), INVALID_ARGUMENT, "VALUE_INVALID", "page_size"),
    Case(
        "entries' page token made up",
        lambda a: list_entries(a, page_token="xyz"),
        INVALID_ARGUMENT,
        "PAGE_TOKEN_INVALID",
        "Start again",
    ),
    Case("journal unknown", lambda a: a.read("S", journal="events"), INVALID_ARGUMENT, "JOURNAL_UNKNOWN", "transcript"),
    Case("no journal of that kind", lambda a: a.read("C", parent_kind="construct"), INVALID_ARGUMENT, "VALUE_INVALID", "session"),
    Case("no parent kind", lambda a: a.read("C", parent_kind=""), INVALID_ARGUMENT, "VALUE_INVALID", "session"),
    Case("journal of nobody", lambda a: a.read("nobody"), NOT_FOUND, "RECORD_NOT_FOUND", "session nobody"),
    Case(
        "read backwards for ever",
        lambda a: a.read("S", descending=True, follow=True),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "follow",
    ),
    Case("append to nobody", lambda a: a.append("nobody", "x"), FAILED_PRECONDITION, "PARENT_NOT_FOUND", "session nobody"),
    Case(
        "append to what has no journal",
        lambda a: a.append("C", "x", parent_kind="construct"),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "session",
    ),
    Case(
        "append after another",
        lambda a: a.append("S", "x", expected_last_number=1),
        ABORTED,
        "VERSION_MISMATCH",
        "entry 3",
        (("actual", "3"), ("expected", "1")),
    ),
    Case(
        "entry without a value",
        lambda a: append_entries(a, entry("x"), type(entry("x"))()),
        INVALID_ARGUMENT,
        "JOURNAL_UNKNOWN",
        "Entry 1",
    ),
    Case("entry without a role", lambda a: append_entries(a, entry("x", role="")), INVALID_ARGUMENT, "FIELD_REQUIRED", "role"),
    Case(
        "entry with bad json",
        lambda a: append_entries(a, entry("x", metadata="}")),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "metadata",
    ),
    Case("too many entries", lambda a: append_entries(a, *[entry("x")] * 10_001), INVALID_ARGUMENT, "TOO_LARGE", "10,000"),
    Case(
        "too many keys",
        lambda a: a.store.BatchGet(
            store_service_pb2.StoreServiceBatchGetRequest(keys=[store_service_pb2.RecordKey(kind="task", id="x")] * 1001)
        ),
        INVALID_ARGUMENT,
        "TOO_LARGE",
        "1,000",
    ),
    Case("ids of no kind", lambda a: allocate(a, kind="robot"), INVALID_ARGUMENT, "KIND_UNKNOWN", "task"),
    Case("too many ids", lambda a: allocate(a, kind="task", count=1001), INVALID_ARGUMENT, "VALUE_INVALID", "1,000"),
    Case("fewer than no ids", lambda a: allocate(a, kind="task", count=-1), INVALID_ARGUMENT, "VALUE_INVALID", "count"),
    Case(
        "no such workspace to get from",
        lambda a: a.get("task", "T1", workspace="nowhere"),
        NOT_FOUND,
        "WORKSPACE_NOT_FOUND",
        "nowhere",
    ),
    Case("no such workspace to list", lambda a: a.list("task", workspace="nowhere"), NOT_FOUND, "WORKSPACE_NOT_FOUND", "nowhere"),
    Case(
        "no such workspace to count in",
        lambda a: a.count("task", workspace="nowhere"),
        NOT_FOUND,
        "WORKSPACE_NOT_FOUND",
        "nowhere",
    ),
    *[
        Case(f"no such workspace to {what}", call, NOT_FOUND, "WORKSPACE_NOT_FOUND", "nowhere")
        for what, call in {
            "get many from": lambda a: batch_get(a, "T1", workspace="nowhere"),
            "scan": lambda a: scan(a, "task", workspace="nowhere"),
            "list entries of": lambda a: list_entries(a, workspace="nowhere"),
            "list the audit of": lambda a: list_entries(a, workspace="nowhere", journal="audit"),
        }.items()
    ],
    Case("no such workspace to read in", lambda a: a.read("S", workspace="nowhere"), NOT_FOUND, "WORKSPACE_NOT_FOUND", "nowhere"),
    Case(
        "revision yet to come",
        lambda a: a.get("task", "T1", min_revision=10**9),
        OUT_OF_RANGE,
        "REVISION_IN_FUTURE",
        "1000000000",
    ),
    Case("watch from the future", lambda a: a.watch(after_revision=10**9), OUT_OF_RANGE, "REVISION_IN_FUTURE", "1000000000"),
    Case("watch from below zero", lambda a: a.watch(after_revision=-1), INVALID_ARGUMENT, "VALUE_INVALID", "after_revision"),
    Case("cursor made up", lambda a: a.watch(cursor="xyz"), INVALID_ARGUMENT, "VALUE_INVALID", "cursor"),
    Case("job unknown", lambda a: a.run_job("dance"), NOT_FOUND, "JOB_NOT_FOUND", "sweep"),
    Case("job with a bad option", lambda a: a.run_job("compact", revision="soon"), INVALID_ARGUMENT, "VALUE_INVALID", "revision"),
]

BLOBS = [
    Case(
        "blob without a header",
        lambda a: a.blob.Put(iter([blob_service_pb2.BlobServicePutRequest(chunk=b"x")])),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "header",
    ),
    Case("blob of nothing at all", lambda a: a.blob.Put(iter([])), INVALID_ARGUMENT, "VALUE_INVALID", "header"),
    Case(
        "two headers", lambda a: a.blob.Put(iter([*put_frames([]), *put_frames([])])), INVALID_ARGUMENT, "VALUE_INVALID", "chunk"
    ),
    Case("wrong digest", lambda a: a.put(b"x", digest=DIGEST), INVALID_ARGUMENT, "DIGEST_MISMATCH", DIGEST),
    Case("no digest", lambda a: a.put(b"x", digest="md5:1"), INVALID_ARGUMENT, "VALUE_INVALID", "sha256:"),
    Case(
        "truncated",
        lambda a: a.put(b"x" * 10, size_bytes=11),
        INVALID_ARGUMENT,
        "SIZE_MISMATCH",
        "10 bytes",
        (("actual", "10"), ("expected", "11")),
    ),
    Case("more than announced", lambda a: a.put(b"x" * 10, b"x" * 10, size_bytes=11), INVALID_ARGUMENT, "SIZE_MISMATCH", "11"),
    Case("size below zero", lambda a: a.put(b"x", size_bytes=-1), INVALID_ARGUMENT, "SIZE_MISMATCH", "-1"),
    Case(
        "delta without a base",
        lambda a: a.put(b"x", digest=DIGEST, size_bytes=9, base_digest=DIGEST, delta={"prefix_bytes": 1}),
        NOT_FOUND,
        "BASE_NOT_FOUND",
        "whole",
    ),
    Case(
        "unknown blob to read",
        lambda a: a.blob.Get(blob_service_pb2.BlobServiceGetRequest(digest=DIGEST)),
        NOT_FOUND,
        "BLOB_NOT_FOUND",
        DIGEST,
    ),
    Case(
        "unknown blob to look at",
        lambda a: a.blob.Stat(blob_service_pb2.BlobServiceStatRequest(digest=DIGEST)),
        NOT_FOUND,
        "BLOB_NOT_FOUND",
        DIGEST,
    ),
    Case(
        "no digest to read",
        lambda a: a.blob.Get(blob_service_pb2.BlobServiceGetRequest(digest="x")),
        INVALID_ARGUMENT,
        "VALUE_INVALID",
        "sha256:",
    ),
]

VERSIONS = [
    Case(
        "an older client",
        metadata_call("0"),
        FAILED_PRECONDITION,
        "API_VERSION_UNSUPPORTED",
        "upgrade the client",
        (("min", "1"), ("max", str(MAX_API_VERSION))),
    ),
    Case(
        "a newer client",
        metadata_call(str(MAX_API_VERSION + 1)),
        FAILED_PRECONDITION,
        "API_VERSION_UNSUPPORTED",
        "upgrade the daemon",
    ),
    Case("a much newer client", metadata_call("999"), FAILED_PRECONDITION, "API_VERSION_UNSUPPORTED", "upgrade the daemon"),
    Case("a version of many digits", metadata_call("9" * 1500), FAILED_PRECONDITION, "API_VERSION_UNSUPPORTED", "upgrade"),
    Case("no version at all", metadata_call("new"), FAILED_PRECONDITION, "API_VERSION_UNSUPPORTED", "1"),
    Case(
        "newer at the handshake",
        status_call(MAX_API_VERSION + 1),
        FAILED_PRECONDITION,
        "API_VERSION_UNSUPPORTED",
        "upgrade the daemon",
    ),
    Case("older at the handshake", status_call(-1), FAILED_PRECONDITION, "API_VERSION_UNSUPPORTED", "upgrade the client"),
]

BYTES = [
    Case("workspace", raw("StoreService/Commit", b"\x0a\x02\xff\xfe"), INVALID_ARGUMENT, "REQUEST_MALFORMED", "UTF-8"),
    Case("cut short", raw("StoreService/Commit", b"\x0a\x05ab"), INVALID_ARGUMENT, "REQUEST_MALFORMED", "cut short"),
    Case("title", raw_commit(b"\x0a\x08\x0a\x06\x7a\x04\x52\x02\xc3\x28"), INVALID_ARGUMENT, "REQUEST_MALFORMED", "UTF-8"),
    Case(
        "half a pair as bytes",
        raw_commit(b"\x0a\x09\x0a\x07\x7a\x05\x52\x03\xed\xa0\x80"),
        INVALID_ARGUMENT,
        "REQUEST_MALFORMED",
        "UTF-8",
    ),
    Case("in a filter", raw("StoreService/List", b"\x12\x04task\x1a\x01\xff"), INVALID_ARGUMENT, "REQUEST_MALFORMED", "UTF-8"),
    Case("in an append", raw("JournalService/Append", b"\x22\x01\x80"), INVALID_ARGUMENT, "REQUEST_MALFORMED", "UTF-8"),
]


@pytest.mark.parametrize("case", [*RECORDS, *READS, *BLOBS, *VERSIONS, *BYTES], ids=lambda case: case.name)
def test_refused(api: Api, case: Case) -> None:
    refusal = refused(lambda: case.call(api))
    assert (refusal.code, refusal.reason) == (case.code, case.reason), refusal.message
    assert case.says in refusal.message
    assert dict(case.metadata).items() <= refusal.metadata.items()
    assert len(refusal.message) < 2000


@pytest.mark.parametrize("method", ["Watch", "Read"])
def test_invalid_utf8_in_the_request_of_a_stream(api: Api, method: str) -> None:
    service = "JournalService" if method == "Read" else "StoreService"
    refusal = refused(lambda: api.channel.unary_stream(f"/holdfast.v1.{service}/{method}")(b"\x0a\x01\xff", timeout=TIMEOUT_S))
    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "REQUEST_MALFORMED")


def test_an_invalid_frame_in_an_upload(api: Api) -> None:
    refusal = refused(lambda: api.channel.stream_unary("/holdfast.v1.BlobService/Put")(iter([b"\x0a\x05\x0a\x03\xff\xff\xff"])))
    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "REQUEST_MALFORMED")


def test_an_empty_batch_is_no_error_and_uses_no_revision(api: Api) -> None:
    before = api.revision()
    answer = api.commit()
    assert (answer.revision, len(answer.results)) == (before, 0)
    nothing = api.append("S")
    assert (nothing.first_number, nothing.last_number, nothing.revision) == (0, 0, before)
    assert api.commit(workspace="never-written").revision == before
    assert refused(lambda: api.list("task", workspace="never-written")).reason == "WORKSPACE_NOT_FOUND"


@pytest.mark.parametrize(
    "changed", [{"filter": "version > 0"}, {"order_by": "title"}, {"kind": "session"}, {"workspace": "default"}]
)
def test_a_page_token_belongs_to_its_list(api: Api, changed: dict[str, str]) -> None:
    first = api.list("task", page_size=1)
    assert first.next_page_token
    fields: dict[str, Any] = {"kind": "task", "page_size": 1, "page_token": first.next_page_token} | changed
    refusal = refused(lambda: api.list(**fields))
    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    assert "another list" in refusal.message
    again = api.list("task", page_size=5, page_token=first.next_page_token)
    assert [each.id for each in again.records] == ["T2"]


def test_default_reads_as_empty(daemon: Any) -> None:
    with Api(daemon.socket_path, workspace="") as api:
        assert api.list("artifact").records == []
        assert api.count("artifact") == 0
        assert refused(lambda: api.get("artifact", "x")).reason == "RECORD_NOT_FOUND"


def test_reading_past_the_end_is_no_error(api: Api) -> None:
    for fields in ({"start": 99}, {"start": 99, "end": 100}, {"start": 3, "end": 1}):
        (frame,) = api.read("S", **fields)
        assert (len(frame.entries), frame.first_number, frame.last_number) == (0, 1, 3)


def test_a_client_without_a_version_is_accepted(api: Api) -> None:
    status = api.admin.GetStatus(admin_service_pb2.AdminServiceGetStatusRequest(), timeout=TIMEOUT_S)
    assert status.min_api_version <= 1 <= status.max_api_version
    assert metadata_call("1")(api).revision == status.revision
