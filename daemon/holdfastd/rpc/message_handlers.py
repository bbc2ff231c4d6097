"""What `message_first.py` and the handlers of calls know of each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import grpc

from holdfastd.errors import HoldfastError
from holdfastd.model.budget import Claim


class Sender(Protocol):
    """Sends the answer of one short call. Use it once, from any thread; neither method blocks."""

    def send(self, answer: bytes | None) -> None:
        """Sends an encoded answer with OK; None ends the call with the status that was set in its context."""

    def abort(self) -> None:
        """Ends the call when its context or `send` failed. Does not raise."""


class Admits(Protocol):
    """What every handler of this path does before the message of a call is received."""

    def admit(self, context: grpc.ServicerContext) -> Claim:
        """The claim on memory of a call whose message is not received yet. Raises the HoldfastError that refuses the call."""

    def refuse(self, error: HoldfastError, context: grpc.ServicerContext, sender: Sender) -> None:
        """Answers one call with an error, without its message. Does not raise."""


class Receiver(Admits, Protocol):
    """A handler of short calls that `message_first.py` can receive."""

    never_waits: bool

    def receive(self, data: bytes, context: grpc.ServicerContext, sender: Sender, claim: Claim) -> None:
        """Answers one call through `sender`, now or later, and releases its claim then. Does not raise."""


class StreamReceiver(ABC):
    """A handler of server streams whose requests `message_first.py` can receive; grpcio calls it as any handler of streams."""

    @abstractmethod
    def admit(self, context: grpc.ServicerContext) -> Claim:
        """As `Admits.admit`."""

    @abstractmethod
    def refuse(self, error: HoldfastError, context: grpc.ServicerContext, sender: Sender) -> None:
        """As `Admits.refuse`."""

    @abstractmethod
    def __call__(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """The answers. `request` may be the HoldfastError with which to end the call."""
