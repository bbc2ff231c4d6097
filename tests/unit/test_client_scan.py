"""A scan that an outage interrupts starts again. Frames from before the outage are of another revision and must be dropped."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import grpc

from holdfast.errors import HoldfastError, Unavailable
from holdfast.records.scans import Scan, scan_request
from holdfast.v1 import store_service_pb2 as pb
from holdfast.wire.connection import Connection
from holdfast.wire.retry import Patience


class Frames:
    """An open stream, which may end with an outage."""

    def __init__(self, frames: list[pb.StoreServiceScanResponse], fails: bool) -> None:
        self._frames, self._fails = frames, fails

    def __iter__(self) -> Iterator[pb.StoreServiceScanResponse]:
        yield from self._frames
        if self._fails:
            raise grpc.RpcError

    def cancel(self) -> None:
        """Does nothing: there is no server to cancel."""


class Flaky:
    """A connection whose first two streams are interrupted."""

    timeout_s = 5.0
    cancellation = None

    def __init__(self) -> None:
        self.revision = 0

    def patience(self) -> Patience:
        return Patience(self.timeout_s)

    def check_cancelled(self, request: object, patience: Patience) -> None:
        """Does nothing: nobody cancels."""

    def stubs(self) -> Any:
        return SimpleNamespace(store=SimpleNamespace(Scan=self.scan))

    def scan(self, request: pb.StoreServiceScanRequest, metadata: object, timeout: float) -> Frames:
        assert timeout == self.timeout_s
        self.revision += 1
        frames = [pb.StoreServiceScanResponse(list=number, revision=self.revision) for number in (0, 0, 1)]
        return Frames(frames[: self.revision], fails=self.revision < 3)

    def saw(self, revision: int) -> None:
        """Does nothing: this test does not use the revision."""

    def metadata_for(self, request: object) -> object:
        return ()

    def translated(self, failure: grpc.RpcError, request: object) -> HoldfastError:
        return Unavailable("away")

    def recover(self, error: HoldfastError, patience: object) -> None:
        """Does nothing: the connection is available again at once."""


def test_what_came_before_an_outage_is_dropped() -> None:
    scan = Scan(cast(Connection, Flaky()), scan_request("default", [("task", ""), ("session", "")]))
    assert [[frame.revision for frame in frames] for frames in scan.read()] == [[3, 3], [3]]
