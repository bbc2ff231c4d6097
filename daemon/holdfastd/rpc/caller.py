"""A gRPC caller as a `Call`: its deadline, and whether it still waits for the answer."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from holdfastd import MAX_API_VERSION
from holdfastd.model.budget import Claim
from holdfastd.model.call import Call, Peer

_ENDLESS_S = 1e9  # grpcio reports a missing deadline as one in the far future; a lock's timeout cannot be that long


class GrpcCall(Call):
    """A `Call` over a gRPC context. Registers with gRPC for the end of the call only when `on_end` is used, as that costs time.

    `default_timeout_s`: the deadline of a call that has none; None for a stream, which may last.
    """

    def __init__(
        self,
        context: grpc.ServicerContext,
        peer: Peer,
        default_timeout_s: float | None,
        claim: Claim | None = None,
        api_version: int = MAX_API_VERSION,
    ) -> None:
        remaining_s = context.time_remaining()
        endless = remaining_s is None or remaining_s > _ENDLESS_S
        super().__init__(default_timeout_s if endless else remaining_s, peer, claim, api_version)
        self._context = context
        self._registered = False

    def is_active(self) -> bool:
        return self._context.is_active() and super().is_active()

    def on_end(self, callback: Callable[[], None]) -> None:
        super().on_end(callback)
        if not self._registered:
            self._registered = True
            if not self._context.add_callback(self.end):
                self.end()

    def check(self) -> None:
        if not self._context.is_active():
            self.end()
        super().check()
