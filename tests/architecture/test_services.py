"""The daemon implements every method of the contract, and at least one test calls it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from tests.conftest import DaemonProcess

FILES = ["store_service", "journal_service", "blob_service", "admin_service"]
# Valid outcomes of an empty request: success, a refusal, or a stream that waits. UNIMPLEMENTED and INTERNAL are errors.
FORESEEN = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
COLLECTION = r"\.(constructs|sessions|checkpoints|artifacts|links|tasks)\."
# How tests call a method through the client rather than a stub.
CLIENT_WORDS = {
    "StoreService.Get": rf"{COLLECTION}get\(",
    "StoreService.BatchGet": rf"{COLLECTION}batch_get\(",
    "StoreService.List": rf"{COLLECTION}list\(",
    "StoreService.Scan": r"\.states\.load\w*\(",
    "StoreService.Count": rf"{COLLECTION}count\(",
    "StoreService.Commit": rf"{COLLECTION}(create|update|save|delete)\(|\.transaction\(",
    "StoreService.Watch": r"\bstore\.watch\(",
    "StoreService.AllocateId": rf"{COLLECTION}next_id\(",
    "JournalService.Append": r"\.transcripts\.(append|append_many|writer)\(",
    "JournalService.Read": r"\.transcripts\.(read|follow)\(",
    "JournalService.List": r"\.transcripts\.list\(",
    "BlobService.Put": r"\.blobs\.put\w*\(",
    "BlobService.Get": r"\.blobs\.(get|read|open)\w*\(",
    "BlobService.Stat": r"\.blobs\.stat\(",
    "AdminService.GetStatus": r"\bstore\.(get_)?status\(",
    "AdminService.RunJob": r"\bstore\.(run_job|sweep)\(",
    "AdminService.ListWorkspaces": r"\bstore\.workspaces\(",
    "AdminService.Load": r"\bstore\.load\(",
    "AdminService.Verify": r"\bstore\.verify\(",
}


def services() -> dict[str, ServiceDescriptor]:
    found = {}
    for name in FILES:
        module = importlib.import_module(f"holdfast.v1.{name}_pb2")
        found.update(module.DESCRIPTOR.services_by_name)
    return found


METHODS = [f"{service.name}.{method.name}" for service in services().values() for method in service.methods]


@pytest.fixture(scope="module")
def channel(daemon: DaemonProcess) -> Iterator[grpc.Channel]:
    """A connection to a real daemon that knows only the contract."""
    with grpc.insecure_channel(f"unix:{daemon.socket_path}") as connection:
        yield connection


def call_with_empty_request(channel: grpc.Channel, name: str) -> grpc.StatusCode:
    """Calls a method with an empty request and reads its answer for half a second."""
    service, method = name.split(".")
    descriptor = services()[service].methods_by_name[method]
    ways = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    invoke = ways[descriptor.client_streaming, descriptor.server_streaming](
        f"/{descriptor.containing_service.full_name}/{method}"
    )
    request: Any = iter([b""]) if descriptor.client_streaming else b""
    try:
        answer = invoke(request, timeout=0.5)
        if descriptor.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def test_sources(root: Path) -> str:
    """The source of all tests, and the commands of the grpcurl document."""
    paths = [each for each in (root / "tests").rglob("*") if each.suffix in (".py", ".js") and "architecture" not in each.parts]
    return "\n".join(each.read_text() for each in [*paths, root / "docs/grpcurl.md"])


def test_every_proto_file_with_a_service_is_looked_at(root: Path) -> None:
    with_service = {
        path.stem for path in (root / "proto").rglob("*.proto") if re.search(r"^service ", path.read_text(), re.MULTILINE)
    }
    assert with_service == set(FILES)
    assert descriptor_pool.Default().FindServiceByName("holdfast.v1.StoreService").full_name == "holdfast.v1.StoreService"


@pytest.mark.parametrize("method", METHODS)
def test_the_daemon_implements_it(channel: grpc.Channel, method: str) -> None:
    assert call_with_empty_request(channel, method) in FORESEEN


def test_a_method_that_is_not_there_would_be_noticed(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/holdfast.v1.StoreService/Nothing")(b"", timeout=5)
    assert caught.value.code() not in FORESEEN


@pytest.mark.parametrize("method", METHODS)
def test_a_test_calls_it(method: str, test_sources: str) -> None:
    service, name = method.split(".")
    noun = service.removesuffix("Service").lower()
    # A stub's variable is named after its service: `store.Get(…)`, `journal_stub.Read(…)`, `call(store, "Get", …)`.
    stub = rf"\b{noun}s?(_\w+)?(\.|, \"){name}\b"
    full_name = rf"holdfast\.v1\.{service}[./]{name}\b"
    patterns = [stub, full_name, CLIENT_WORDS[method]]
    assert any(re.search(each, test_sources) for each in patterns), f"nothing in tests/ matches {patterns}"
