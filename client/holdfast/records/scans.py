"""Reads several whole lists as of one revision."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.contract.messages import message_with
from holdfast.errors import HoldfastError
from holdfast.v1 import record_pb2, store_service_pb2
from holdfast.wire.connection import Connection
from holdfast.wire.pages import Gaps
from holdfast.wire.retry import Patience
from holdfast.wire.scope import Scope
from holdfast.wire.streams import Stream


class Scan(Stream[store_service_pb2.StoreServiceScanRequest, store_service_pb2.StoreServiceScanResponse]):
    """The lists of one Scan. After an outage it reads all of them again, because the store may have changed meanwhile."""

    def __init__(self, connection: Connection, request: store_service_pb2.StoreServiceScanRequest) -> None:
        super().__init__(connection, lambda stubs: stubs.store.Scan, lambda: request)
        self.call_timeout_s = connection.timeout_s
        self._count = len(request.lists)
        self._frames: list[store_service_pb2.StoreServiceScanResponse] = []

    def read(self) -> list[list[store_service_pb2.StoreServiceScanResponse]]:
        """Returns the frames of each list, in the order of the request."""
        for frame in self:
            self._frames.append(frame)
        lists: list[list[store_service_pb2.StoreServiceScanResponse]] = [[] for _ in range(self._count)]
        for frame in self._frames:
            lists[frame.list].append(frame)
        return lists

    def _recover(self, error: HoldfastError, patience: Patience) -> None:
        self._frames.clear()
        super()._recover(error, patience)


def scan_request(workspace: str, lists: Sequence[tuple[str, str]]) -> store_service_pb2.StoreServiceScanRequest:
    """Returns the request for (kind, filter) lists. Each list is in the order of creation."""
    return message_with(
        store_service_pb2.StoreServiceScanRequest,
        workspace=workspace,
        lists=[message_with(store_service_pb2.ScanList, kind=kind, filter=filter) for kind, filter in lists],
    )


def scan(scope: Scope, *lists: tuple[str, str], gaps: Gaps | None = None) -> list[list[record_pb2.Record]]:
    """Returns the records of (kind, filter) lists as of one revision, each list in the order of creation.

    `gaps` takes what could not be read.
    Raises NotFound when the workspace does not exist, ResourceExhausted when the lists exceed 256 MiB together.
    """
    found: list[list[record_pb2.Record]] = []
    gaps = gaps or Gaps()
    for frames in Scan(scope.connection, scan_request(scope.workspace, lists)).read():
        for frame in frames:
            gaps.note(frame.unreadable)
        found.append([record for frame in frames for record in frame.records])
    return found
