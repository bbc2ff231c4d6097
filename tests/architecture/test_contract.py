"""The contract compared with the last landed one: nothing is removed, and every addition states its API version."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

import holdfastd
from holdfast.contract.kinds import KINDS
from holdfast.contract.versions import API_VERSION, OLDEST_API_VERSION
from holdfast.v1 import (
    admin_service_pb2,
    blob_service_pb2,
    entry_pb2,
    journal_service_pb2,
    options_pb2,
    record_pb2,
    store_service_pb2,
)
from tests.foreign.tools import buf, no_history

LANDED = Path(__file__).parents[2] / "proto/landed/contract.json"

# Without options.proto: its messages occur in no request or answer.
MODULES = (admin_service_pb2, blob_service_pb2, entry_pb2, journal_service_pb2, record_pb2, store_service_pb2)
BREAKING = {
    "a field is gone": ("journal_service.proto", "  bool follow = 10;\n", ""),
    "a field has another number": ("journal_service.proto", "bool follow = 10;", "bool follow = 12;"),
    "a field has another type": ("record.proto", "  int64 occurrences = 15;", "  string occurrences = 15;"),
    "a field has another name": ("record.proto", "  int64 occurrences = 15;", "  int64 sightings = 15;"),
    "a method is gone": ("blob_service.proto", "  rpc Stat(BlobServiceStatRequest) returns (BlobServiceStatResponse);\n", ""),
    "a stream is a single answer": (
        "store_service.proto",
        "returns (stream StoreServiceWatchResponse)",
        "returns (StoreServiceWatchResponse)",
    ),
}


def files_now() -> list[FileDescriptorProto]:
    """This tree's contract, from the generated code."""
    found = []
    for module in MODULES:
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        found.append(file)
    return found


@pytest.fixture(scope="module")
def landed() -> list[FileDescriptorProto]:
    return landed_files()


def landed_files() -> list[FileDescriptorProto]:
    """The contract of the latest landed version."""
    image = json_format.Parse(LANDED.read_text(), FileDescriptorSet(), ignore_unknown_fields=True)
    return [each for each in image.file if each.name in {module.DESCRIPTOR.name for module in MODULES}]


def versions(files: list[FileDescriptorProto]) -> dict[str, dict[str, int]]:
    """The API version of every method (by service) and field (by message); 1 where none is stated."""
    found = {}
    for file in files:
        for service in file.service:
            found[service.name] = {each.name: each.options.Extensions[options_pb2.since] or 1 for each in service.method}
        for message in file.message_type:
            found.update(_fields(message, ""))
    return found


def _fields(message: DescriptorProto, outer: str) -> Iterator[tuple[str, dict[str, int]]]:
    name = f"{outer}{message.name}"
    yield name, {each.name: each.options.Extensions[options_pb2.rules].since or 1 for each in message.field}
    for each in message.nested_type:
        yield from _fields(each, f"{name}.")


def newest(files: list[FileDescriptorProto]) -> int:
    return max(since for members in versions(files).values() for since in members.values())


def additions(before: list[FileDescriptorProto], after: list[FileDescriptorProto]) -> dict[str, int]:
    """The methods and fields added to existing services and messages, each with the version that it states.

    Fields of a new message are left out: a request can contain one only through a new field or in a new method.
    """
    old, services = versions(before), {service.name for file in after for service in file.service}
    return {
        f"{owner}.{name}": since
        for owner, members in versions(after).items()
        if owner in old or owner in services
        for name, since in members.items()
        if name not in old.get(owner, {})
    }


def test_client_and_daemon_speak_the_newest_version_of_the_contract() -> None:
    assert newest(files_now()) == API_VERSION == holdfastd.MAX_API_VERSION
    assert holdfastd.MIN_API_VERSION == OLDEST_API_VERSION == 1


def test_what_was_added_since_a_version_landed_states_a_newer_version(landed: list[FileDescriptorProto]) -> None:
    late = {name: since for name, since in additions(landed, files_now()).items() if since <= newest(landed)}
    assert late == {}, f"add `since = {newest(landed) + 1}` to each of these"
    assert API_VERSION - newest(landed) in (0, 1), "the version may rise by at most one between two landings"


def test_version_2_is_what_came_with_scan_and_kinds_since() -> None:
    second = {
        f"{owner}.{name}" for owner, members in versions(files_now()).items() for name, since in members.items() if since == 2
    }
    kinds = {f"Record.{name}" for name in KINDS}
    assert second - kinds == {"StoreService.Scan", "Entry.event", "JournalServiceListRequest.descending"}


def test_an_addition_without_a_version_would_be_noticed() -> None:
    before, after = files_now(), files_now()
    store = next(each for each in after if each.name.endswith("store_service.proto"))
    request = next(each for each in store.message_type if each.name == "StoreServiceGetRequest")
    request.field.add(name="surprise", number=99)
    store.message_type.add(name="Novelty").field.add(name="free", number=1)
    store.service[0].method.add(name="Guess").options.Extensions[options_pb2.since] = 3
    store.service.add(name="OtherService").method.add(name="Do")
    assert additions(before, after) == {
        "StoreServiceGetRequest.surprise": 1,
        "StoreService.Guess": 3,
        "OtherService.Do": 1,
    }


@pytest.mark.foreign
@pytest.mark.parametrize("change", BREAKING)
def test_a_breaking_change_is_refused(root: Path, tmp_path: Path, change: str) -> None:
    file, text, replacement = BREAKING[change]
    shutil.copytree(root / "proto", tmp_path / "proto")
    path = tmp_path / "proto/holdfast/v1" / file
    assert path.read_text().count(text) == 1
    check = [buf(), "breaking", tmp_path / "proto", "--against", tmp_path / "proto/landed/contract.json"]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0
    path.write_text(path.read_text().replace(text, replacement))
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 100 and file in done.stdout, done.stdout + done.stderr


@pytest.mark.foreign
def test_the_landed_contract_is_that_of_its_commit(root: Path, tmp_path: Path) -> None:
    commit = (root / "proto/landed/commit").read_text().strip()
    packed = subprocess.run(["git", "-C", root, "archive", commit, "proto"], capture_output=True, check=False)
    if packed.returncode != 0:
        no_history(commit, packed.stderr.decode())
    subprocess.run(["tar", "-x", "-C", tmp_path], input=packed.stdout, check=True)
    image = tmp_path / "contract.json"
    subprocess.run([buf(), "build", tmp_path / "proto", "--exclude-source-info", "--output", image], check=True)
    assert image.read_bytes() == (root / "proto/landed/contract.json").read_bytes()


def test_make_check_compares_with_what_landed(root: Path) -> None:
    makefile = (root / "Makefile").read_text()
    (prerequisites,) = [line.split("##")[0] for line in makefile.splitlines() if line.startswith("check:")]
    assert "proto-breaking" in prerequisites
