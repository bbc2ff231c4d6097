"""Server streams that survive a restart of the daemon: after an outage they are opened again at the position reached.

The owner's `next_request` makes the request for that position. The owner must advance the position before it hands out the
content of a frame.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from holdfast.errors import HoldfastError
from holdfast.wire import forks
from holdfast.wire.channel import Stubs
from holdfast.wire.connection import Connection
from holdfast.wire.retry import Patience

Request = TypeVar("Request", bound=Message)
Frame = TypeVar("Frame", bound=Message)
Received = TypeVar("Received", covariant=True)

STEADY_S = 1.0


class _Call(Protocol[Received]):
    """An open server stream. A protocol, because gRPC's stubs name the type differently from version to version."""

    def __iter__(self) -> Iterator[Received]: ...

    def cancel(self) -> object: ...


class Stream(Generic[Request, Frame]):
    """The frames of a server stream, across any number of calls.

    One thread iterates; any thread may `close`, which ends the iteration. An outage longer than the connection's `timeout_s`
    raises Unavailable. Any other error from the daemon is raised unchanged.
    """

    call_timeout_s: float | None = None  # of one call; None: no limit

    def __init__(
        self,
        connection: Connection,
        method: Callable[[Stubs], grpc.UnaryStreamMultiCallable[Request, Frame]],
        next_request: Callable[[], Request],
    ) -> None:
        self._connection = connection
        self._method = method
        self._next_request = next_request
        self._generation = forks.generation
        self._lock = threading.Lock()
        self._call: _Call[Frame] | None = None
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        patience = self._connection.patience()
        while (request := self._open(patience)) is not None:
            began = time.monotonic()
            try:
                assert self._call is not None
                for frame in self._call:
                    patience.restart()
                    self._connection.saw(getattr(frame, "revision", 0))
                    yield frame
                    if self._closed:
                        return
                return
            except grpc.RpcError as failure:
                error = self._connection.translated(failure, request)
            finally:
                self._cancel()
            self._check_process()
            if self._closed:
                return
            self._connection.check_cancelled(request, patience)
            if time.monotonic() - began > STEADY_S:
                patience.restart()
            self._recover(error, patience)

    def close(self) -> None:
        """Ends the stream, even while another thread waits for a frame."""
        self._closed = True
        self._cancel()

    def _open(self, patience: Patience) -> Request | None:
        """Begins a call and returns its request; None when the stream is closed. Raises Cancelled."""
        self._check_process()
        request = self._next_request()
        self._connection.check_cancelled(request, patience)
        patience.begun = True
        stubs, metadata = self._connection.stubs(), self._connection.metadata_for(request)
        with self._lock:
            if self._closed:
                return None
            forks.calls.count_stream(1)
            self._call = call = self._method(stubs)(request, metadata=metadata, timeout=self.call_timeout_s)
            if (cancellation := self._connection.cancellation) is not None:
                cancellation.add(call, call.cancel)
            return request

    def _recover(self, error: HoldfastError, patience: Patience) -> None:
        self._connection.recover(error, patience)

    def _check_process(self) -> None:
        if self._generation != forks.generation:
            raise RuntimeError("The stream belongs to the process before the fork; open another one here.")

    def _cancel(self) -> None:
        if self._generation == forks.generation:
            with self._lock:
                call, self._call = self._call, None
            if call is not None:
                forks.calls.count_stream(-1)
                call.cancel()
                if (cancellation := self._connection.cancellation) is not None:
                    cancellation.remove(call)


class SingleStream(Stream[Request, Frame]):
    """A stream that cannot be resumed, such as a job's progress: an outage after its first frame is raised."""

    _begun = False

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            self._begun = True
            yield frame

    def _recover(self, error: HoldfastError, patience: Patience) -> None:
        if self._begun:
            raise error
        super()._recover(error, patience)
