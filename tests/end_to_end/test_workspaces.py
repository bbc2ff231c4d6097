"""A store with many workspaces: its status stays small, connecting does not depend on them, and all are listed by page."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import grpc
import pytest

import holdfast
from holdfast.cli import main
from holdfast.v1 import admin_service_pb2 as pb
from tests.end_to_end.daemons import Directory
from tests.support.api import Api, refused
from tests.support.workspaces import make_workspaces

COUNT = 2_500  # their names take 0.5 MB
NAMES = [f"w{number:05}".ljust(199, "x") for number in range(COUNT)]


@pytest.fixture(scope="module")
def socket() -> Iterator[Path]:
    """The socket of a daemon whose store has these workspaces, made in another order."""
    with tempfile.TemporaryDirectory(prefix="hf-") as path:
        daemon = Directory(Path(path)).serve("store", "s")
        try:
            make_workspaces(daemon.socket, NAMES[::-1])
            yield daemon.socket
        finally:
            daemon.process.kill()
            daemon.process.wait()


@pytest.fixture
def api(socket: Path) -> Iterator[Api]:
    with Api(socket) as made:
        yield made


def command(socket: Path, *arguments: str) -> list[str]:
    """The lines that a command prints."""
    with redirect_stdout(io.StringIO()) as shown:
        assert main(["--socket", str(socket), *arguments]) == 0
    return shown.getvalue().splitlines()


def test_the_status_names_the_first_and_counts_all(api: Api) -> None:
    status = api.admin.GetStatus(pb.AdminServiceGetStatusRequest())
    assert list(status.workspaces) == NAMES[:100]
    assert status.workspace_count == COUNT
    assert status.ByteSize() < 64 * 1024


def test_a_brief_status_leaves_out_what_takes_longer(api: Api) -> None:
    whole = api.admin.GetStatus(pb.AdminServiceGetStatusRequest())
    brief = api.admin.GetStatus(pb.AdminServiceGetStatusRequest(brief=True))
    assert (list(brief.workspaces), brief.workspace_count) == ([], 0)
    assert (brief.revision, brief.store_id, brief.max_api_version) == (whole.revision, whole.store_id, whole.max_api_version)


def test_a_list_gives_each_once_in_order(api: Api) -> None:
    found: list[str] = []
    request = pb.AdminServiceListWorkspacesRequest(page_size=900)
    sizes = []
    while True:
        page = api.admin.ListWorkspaces(request)
        sizes.append(len(page.workspaces))
        found += [each.name for each in page.workspaces]
        if not (token := page.next_page_token):
            break
        request.page_token = token
    assert found == NAMES
    assert sizes == [900, 900, 700]
    assert len(api.admin.ListWorkspaces(pb.AdminServiceListWorkspacesRequest()).workspaces) == 100
    assert len(api.admin.ListWorkspaces(pb.AdminServiceListWorkspacesRequest(page_size=10**6)).workspaces) == 1000


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.AdminServiceListWorkspacesRequest(page_size=-1), "VALUE_INVALID"),
        (pb.AdminServiceListWorkspacesRequest(page_token="x"), "PAGE_TOKEN_INVALID"),
    ],
)
def test_a_wrong_list_is_refused(api: Api, request_: pb.AdminServiceListWorkspacesRequest, reason: str) -> None:
    refusal = refused(lambda: api.admin.ListWorkspaces(request_))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


def test_the_client_connects_and_lists_all(socket: Path) -> None:
    with holdfast.connect(socket) as store:
        assert list(store.workspaces()) == NAMES


def test_the_commands_say_how_many_more_there_are_and_list_all(socket: Path) -> None:
    line = next(each for each in command(socket, "status") if each.startswith("workspaces"))
    assert line.startswith(f"workspaces {NAMES[0]}, {NAMES[1]}, ")
    assert line.endswith(f"{NAMES[19]} and 2,480 more (`holdfast workspaces` lists all)")
    assert command(socket, "workspaces") == NAMES
    assert [json.loads(each)["name"] for each in command(socket, "workspaces", "--json")] == NAMES
