"""Makes many workspaces, as any caller can."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from holdfast.v1 import store_service_pb2 as pb
from tests.support.api import Api, insert

AT_ONCE = 400  # a connection may have 512 calls in progress


def make_workspaces(socket: Path, names: Iterable[str]) -> None:
    """Writes a task into each of these workspaces, which makes it."""
    left = iter(names)
    with Api(socket) as api:
        while some := list(islice(_requests(left), AT_ONCE)):
            for each in [api.store.Commit.future(request, timeout=60) for request in some]:
                each.result()


def _requests(names: Iterator[str]) -> Iterator[pb.StoreServiceCommitRequest]:
    for name in names:
        yield pb.StoreServiceCommitRequest(workspace=name, mutations=[insert("task", title="t")])
